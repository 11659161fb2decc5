"""The README and the pages of docs/ do what they say: their commands and Python run, their options and links exist."""

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from roifile import ImagejRoi
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

import elmgan
from bundles import tiny_bundle
from elmgan import load
from elmgan.apps.cli import app
from elmgan.counting import Row
from elmgan.data.synthetic import write_data_set
from elmgan.models import write_bundle

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
TEXTS = [
    *PAGES,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "experiments/README.md")),
    *sorted(ROOT.glob("benchmarks/*/README.md")),
]
BUILT = {"commands.md", "experiments.md", "peers.md", "earlier.md"}
"""Pages that docs/hooks.py makes."""

RUN_ELSEWHERE = {"page.md", "bioimageio.md", "counter.md"}
"""Pages whose commands and Python take a server or a file of their own, and run in that one's tests."""

FASTER = ["--set", "optimisation.epochs=1", "--set", "optimisation.steps=1"]
SMALLER = ["--set", "architecture.width=4", "--set", "discriminator.width=4"]
COMMANDS = r"^\$ elmgan (.+)$"
IN_TEXT = r"`elmgan ((?:count|calibrate|train|evaluate|synth|info) [^`]*?)`"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands_of(page: Path) -> list[str]:
    """Commands that a page says to type, those of the README's text and of the list of tasks too, each once."""
    text = "" if page.name in RUN_ELSEWHERE else text_of(page)
    found = re.findall(COMMANDS, text, re.MULTILINE)
    if page.name in ("README.md", "tasks.md"):
        found += [command for command in re.findall(IN_TEXT, text) if command not in found and "FILE" not in command]
    if page.name == "tasks.md":
        others = {command for other in PAGES if other != page for command in commands_of(other)}
        found = [command for command in found if command not in others]
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands of the pages name."""
    folder = tmp_path_factory.mktemp("desk")
    write_data_set(folder / "my-data", 3, seed=1, size=(96, 96))
    write_data_set(folder / "my-counts", 20, seed=2, size=(64, 64))
    shutil.copytree(folder / "my-data" / "images", folder / "images")
    stack = np.stack([tifffile.imread(path) for path in sorted((folder / "images").iterdir())])
    channels = np.stack([stack, stack[::-1]], axis=1)
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    roi = ImagejRoi.frompoints([[9, 9], [60, 9], [60, 60], [9, 60]], name="left")
    roi.tofile(folder / "RoiSet.zip")
    (folder / "regions").mkdir()
    polygon = {"type": "Polygon", "coordinates": [[[9, 9], [60, 9], [60, 60], [9, 60], [9, 9]]]}
    for image in (folder / "images").iterdir():
        (folder / "regions" / image.with_suffix(".geojson").name).write_text(json.dumps(polygon))
    tifffile.imwrite(folder / "stack.tif", channels, ome=True, photometric="minisblack", metadata=metadata)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_in_their_order(
    page: Path, desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(desk, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    commands = commands_of(page)
    if not any(command.startswith("train") for command in commands):
        write_bundle(tmp_path / "my-run" / "model", tiny_bundle())
        names = [path.name for path in sorted((tmp_path / "images").iterdir())]
        rows = [f"{name},validation" for name in names]
        (tmp_path / "my-run" / "split.csv").write_text("\n".join(["image,side", *rows]))
    for command in commands:
        arguments = shlex.split(command)
        if arguments[0] == "train":
            shutil.rmtree("my-run", ignore_errors=True)
            arguments += FASTER + ([] if "--from" in arguments else SMALLER)
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, f"{command}: {done.output}"
    for named in re.findall(r"`((?:counted|my-run|checked)/[\w./-]+)`", text_of(page)):
        assert (tmp_path / named).exists() or named == "counted/failed.csv", named


def test_the_readme_shows_every_command_that_a_user_needs() -> None:
    shown = {command.split()[0] for command in commands_of(ROOT / "README.md")}
    assert shown >= {"count", "train", "calibrate", "evaluate", "synth", "info"}


WITH_PYTHON = [page for page in PAGES if "```python" in text_of(page) and page.name not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    image, model = np.zeros((96, 96), np.uint8), load("nuclei-small")
    image[30:50, 30:50] = image[60:80, 60:80] = 200
    images = dict.fromkeys(("image", "dapi", "gfp", "image_of_regions"), image)
    names = images | {"elmgan": elmgan, "model": model, "result": model.count(image)}
    for block in re.findall(r"```python\n(.+?)```", text_of(page), re.DOTALL):
        exec(block, dict(names))


def options_of(command: object, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command by its name, with its options."""
    if isinstance(command, TyperGroup):
        for inner, found in command.commands.items():
            yield from options_of(found, f"{name} {inner}".strip())
    elif isinstance(command, TyperCommand):
        yield name, {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}


def test_every_option_in_the_pages_is_there() -> None:
    known = dict(options_of(get_command(app)))
    anywhere = {option for options in known.values() for option in options} | {"--version"}
    checked = 0
    for page in TEXTS:
        text = text_of(page)
        for name, rest in re.findall(r"elmgan ((?:benchmark )?[a-z]+)((?: [^`\n]*|\n {8,}[^\n]*)*)", text):
            for option in re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)(?![\w.])", rest if name in known else ""):
                assert option in known[name], f"{page.name}: elmgan {name} {option}"
                checked += 1
        if page.parent.name == "docs":
            for option in re.findall(r"`(--[a-z-]+)[^`]*`", text):
                assert option in anywhere, f"{page.name}: {option}"
    assert checked > 50


def test_every_column_is_explained() -> None:
    explained = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", text_of(ROOT / "docs" / "columns.md"), re.M))
    )
    assert explained == list(Row.model_fields)


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for address in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = address.partition("#")
        if "://" in address or (path in BUILT and page.parent.name == "docs"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {address}"
        assert not anchor or anchor in anchors_of(target), f"{page.name}: {address}"


def test_every_page_is_in_the_site() -> None:
    named = set(re.findall(r"^ +- (?:[^:\n]+: )?([\w-]+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE))
    named |= set(re.findall(r"^  - ([\w-]+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE))
    assert named == {page.name for page in PAGES if page.parent.name == "docs"} | BUILT


def test_no_text_names_an_entry_of_a_package_index() -> None:
    """There is no elmgan there, and somebody else could take the name."""
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.rglob("src/elmgan/**/*.py"), ROOT / "Makefile"]
    assert len(texts) > 50
    named = re.compile(r"elmgan\[|pip install [^`\n]*\belmgan\b")
    found = [path.name for path in texts if named.search(text_of(path))]
    assert not [name for name in found if name != "read.py"]


def test_what_is_exact_is_exact_for_everything_that_is_installed() -> None:
    """Each requirement of pyproject.toml has its version in constraints.txt."""
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    wanted = sum(project["optional-dependencies"].values(), start=project["dependencies"])
    names = {re.split(r"[\[<>=; ]", requirement)[0].lower() for requirement in wanted} - {"elmgan"}
    exact = {line.partition("==")[0].lower() for line in text_of(ROOT / "constraints.txt").splitlines()}
    assert not names - exact
