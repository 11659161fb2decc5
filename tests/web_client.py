"""A server in the process of a test, and what a test asks of it again and again."""

import io
import secrets
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fastapi.testclient import TestClient
from httpx2 import Response
from numpy.typing import NDArray

from bundles import write_tiny
from elmgan.apps.web.jobs import Jobs
from elmgan.apps.web.models import Models
from elmgan.apps.web.refusal import Limits
from elmgan.apps.web.service import Site, create_app

TINY = "tiny-model"


def tiff(image: NDArray, **options: Any) -> bytes:
    """An image as the bytes of a TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


class Client:
    """One user: a client of a server with a session of its own."""

    def __init__(self, app: TestClient) -> None:
        self.app = app
        self.headers = {"X-Elmgan-Session": secrets.token_hex(16)}

    def ask(self, method: str, path: str, **options: Any) -> Response:
        headers = self.headers | options.pop("headers", {})
        return self.app.request(method, path, headers=headers, **options)

    def send(self, images: Mapping[str, bytes], **fields: str) -> Response:
        files = [("images", (name, content)) for name, content in images.items()]
        return self.ask("POST", "/api/count", files=files, data={"model": TINY} | fields)

    def job(self, images: Mapping[str, bytes], **fields: str) -> dict[str, Any]:
        """Send images, and give the job when it is done."""
        sent = self.send(images, **fields)
        assert sent.status_code == 200, sent.text
        return self.done(sent.json()["job"])

    def done(self, job: str) -> dict[str, Any]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            status: dict[str, Any] = self.ask("GET", f"/api/jobs/{job}").json()
            if status["state"] not in ("waiting", "counting", "calibrating"):
                return status
            time.sleep(0.01)
        raise AssertionError("the job does not end")

    def download(self, job: str, part: str = "results", model: str | None = None) -> zipfile.ZipFile:
        link = self.ask("POST", f"/api/jobs/{job}/download", json={"part": part, "model": model})
        assert link.status_code == 200, link.text
        got = self.app.get(link.json()["href"])
        assert got.status_code == 200, got.text
        return zipfile.ZipFile(io.BytesIO(got.content))


@contextmanager
def served(folder: Path, *, models: Models | None = None, token: str | None = None, **limits: Any) -> Iterator[Client]:
    """A server whose private folder lies in ``folder``; it counts with the tiny model."""
    private = folder / "private"
    private.mkdir()
    if models is None:
        models = Models([write_tiny(folder)])
    jobs = Jobs(private, models, Limits(**limits))
    host = "127.0.0.1" if token is None else "0.0.0.0"
    with TestClient(create_app(Site(jobs, host, token)), base_url="http://127.0.0.1:8000") as app:
        yield Client(app)
    jobs.close()


def noise(shape: tuple[int, int] = (64, 64), seed: int = 0) -> NDArray[np.uint16]:
    """An image without a cell."""
    return np.random.default_rng(seed).normal(200, 10, shape).astype(np.uint16)
