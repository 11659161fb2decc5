import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Time says little on a machine that is shared. CI draws the same examples each time, elsewhere they are new ones.
settings.register_profile("elmgan", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.load_profile("elmgan")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled networks out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real data sets, each in its own; tests that need it are skipped where it is absent."""
    beside_the_checkout = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ELMGAN_SHARED_DATA", beside_the_checkout))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; name the folder in ELMGAN_SHARED_DATA")
    return folder
