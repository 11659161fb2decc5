import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import squares
from elmgan.apps.web.archive import zipped
from elmgan.apps.web.upload import safe_name
from web_client import TINY, Client, served, tiff

IMAGE = tiff(squares(3))
HOSTILE = [
    "../../outside.tif",
    "/etc/outside.tif",
    "C:\\Windows\\outside.tif",
    "..\\..\\outside.tif",
    "<img src=x onerror=alert(1)>.tif",
    "'\"><script>alert(1)</script>.tif",
    "a/../../../outside.tif",
    "con.tif",
    "a\u202egnp.tif",
    "=cmd|'/c calc'!A1.tif",
    "%2e%2e%2foutside.tif",
    "x" * 1000 + ".tif",
    "/".join(["deep"] * 500) + "/a.tif",
    ".elmgan-lock",
    "counts.csv/a.tif",
]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with served(tmp_path) as client:
        yield client


@given(st.lists(st.text(max_size=40), max_size=8))
def test_names_stay_below_their_folder_and_are_all_different(names: list[str]) -> None:
    files: set[str] = set()
    folders: set[str] = set()
    for given_name in names:
        name = safe_name(given_name, files, folders)
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not name.startswith("/")
        assert not set("\\:\0\n") & set(name)
        assert name.casefold() not in files | folders
        files.add(name.casefold())
        folders |= {"/".join(parts[:k]).casefold() for k in range(1, len(parts))}
        assert not files & folders


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_leads_nowhere(client: Client, tmp_path: Path, name: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "private" not in path.parts}
    job = client.job({name: IMAGE, "b.tif": IMAGE})
    assert {path for path in tmp_path.rglob("*") if "private" not in path.parts} == before
    assert [path.name for path in (tmp_path / "private").iterdir()] == [job["job"]]
    with client.download(job["job"]) as archive:
        for entry in archive.infolist():
            assert not entry.filename.startswith("/")
            assert ".." not in Path(entry.filename).parts
            assert "\\" not in entry.filename
            assert not stat.S_ISLNK(entry.external_attr >> 16)
        report = archive.read("report.html").decode()
    assert "<img src=x" not in report
    assert "<script>alert" not in report


def test_two_users_do_not_see_each_other(client: Client) -> None:
    other = Client(client.app)
    job = client.job({"a.tif": IMAGE})["job"]
    assert [each["job"] for each in client.ask("GET", "/api/jobs").json()["jobs"]] == [job]
    assert other.ask("GET", "/api/jobs").json() == {"jobs": []}
    paths = [("GET", ""), ("POST", "/cancel"), ("DELETE", ""), ("GET", "/images/0"), ("GET", "/images/0/picture")]
    for method, path in paths:
        assert other.ask(method, f"/api/jobs/{job}{path}").status_code == 404
        assert client.app.request(method, f"/api/jobs/{job}{path}").status_code == 404  # without a session
    assert client.ask("GET", f"/api/jobs/{job}").status_code == 200
    assert client.app.get("/api/jobs", headers={"X-Elmgan-Session": "short"}).status_code == 400


def test_a_link_to_a_download_is_good_once(client: Client) -> None:
    job = client.job({"a.tif": IMAGE})["job"]
    href = client.ask("POST", f"/api/jobs/{job}/download", json={"part": "results"}).json()["href"]
    assert client.app.get(href).status_code == 200
    assert client.app.get(href).status_code == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1"])
def test_another_host_is_refused(client: Client, host: str) -> None:
    assert client.app.get("/api/about", headers={"host": host}).status_code == 421
    assert client.app.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_its_own_hosts_are_let_through(client: Client, host: str) -> None:
    assert client.app.get("/api/about", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client: Client, headers: dict[str, str]) -> None:
    assert client.ask("POST", "/api/count", headers=headers, files={"images": ("a.tif", IMAGE)}).status_code == 403
    assert client.ask("GET", "/api/about", headers={"origin": "http://127.0.0.1:8000"}).status_code == 200


def test_another_address_asks_for_a_token(tmp_path: Path) -> None:
    with served(tmp_path, token="right") as client:
        assert client.app.get("/").status_code == 200  # the page itself says nothing
        for wrong in ({}, {"x-elmgan-token": "wrong"}, {"authorization": "Bearer wrong"}, {"x-elmgan-token": "ä"}):
            asked = {name.encode(): value.encode("utf-8") for name, value in wrong.items()}
            answer = client.app.get("/api/about", headers=asked)
            assert answer.status_code == 401
            assert "open the link" in answer.json()["error"]
        for right in ({"x-elmgan-token": "right"}, {"authorization": "Bearer right"}):
            assert client.app.get("/api/about", headers=right).status_code == 200
        hosts = {"192.168.1.7:8000": 200, "evil.example": 421}
        for host, status in hosts.items():
            answer = client.app.get("/api/about", headers={"host": host, "x-elmgan-token": "right"})
            assert answer.status_code == status


def test_uploads_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, files=2, file_bytes=len(IMAGE) + 10, upload_bytes=3 * len(IMAGE)) as client:
        many = client.send({f"{k}.tif": b"a" for k in range(3)})
        assert (many.status_code, many.json()["error"]) == (413, "an upload may have 2 files: send them in parts")
        large = client.send({"a.tif": IMAGE + bytes(20)})
        assert large.status_code == 413
        assert large.json()["error"].startswith("a.tif is larger than")
        whole = client.send({"a.tif": bytes(4 * len(IMAGE))})
        assert (whole.status_code, whole.json()["error"][:18]) == (413, "an upload may have")
        assert not list((tmp_path / "private").iterdir())
        assert client.job({"a.tif": IMAGE})["state"] == "done"


def test_uploads_that_are_kept_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, stored_bytes=int(2.5 * len(IMAGE))) as client:
        job = client.job({"a.tif": IMAGE})["job"]
        client.job({"a.tif": IMAGE})
        refused = client.send({"a.tif": IMAGE})
        assert (refused.status_code, "there is no room" in refused.json()["error"]) == (413, True)
        client.ask("DELETE", f"/api/jobs/{job}")
        assert client.job({"a.tif": IMAGE})["state"] == "done"


def test_jobs_that_wait_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, unfinished=0) as client:
        refused = client.send({"a.tif": IMAGE})
        assert (refused.status_code, "try again" in refused.json()["error"]) == (429, True)
    (tmp_path / "second").mkdir()
    with served(tmp_path / "second", of_session=0) as client:
        assert client.send({"a.tif": IMAGE}).status_code == 429


def test_planes_and_pixels_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, pixels=1000, planes=1) as client:
        job = client.job({"a.tif": IMAGE})
        assert "more than the 1000 that are allowed" in job["failures"][0]["error"]
        two = client.job({"a.tif": tiff(squares(1)[:20, :20]), "b.tif": tiff(squares(1)[:20, :20])})
        assert two["state"] == "failed"
        assert "more than 1 planes" in two["error"]


def test_an_image_that_says_it_is_huge_is_refused_before_it_is_unpacked(client: Client) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
    job = client.job({"bomb.png": bomb, "a.tif": IMAGE})
    assert [failure["image"] for failure in job["failures"]] == ["bomb.png"]
    assert [row["image"] for row in job["rows"]] == ["a.tif"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b""),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=images; filename=a\r\n\r\nhalf",
        ),
        ("multipart/form-data; boundary=x", b"nothing of the kind"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: " + b"b" * 100_000),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x"),
        ("multipart/form-data", b"--x"),
        ("application/json", b"{}"),
        ("", b"{}"),
    ],
)
def test_a_broken_upload_is_refused(client: Client, tmp_path: Path, kind: str, body: bytes) -> None:
    answer = client.ask("POST", "/api/count", headers={"content-type": kind}, content=body)
    assert answer.status_code in (400, 415), answer.text
    assert answer.json()["error"]
    assert not list((tmp_path / "private").iterdir())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scale": "50"}, "scale is 50; expected auto, or 0.1 to 10"),
        ({"diameter": "huge"}, "diameter is 'huge'; expected pixels"),
        ({"diameter": "-1"}, "diameter is '-1'; expected pixels"),
        ({"wait": "perhaps"}, "wait is 'perhaps'; expected true or false"),
        ({"path": "/etc/passwd"}, "there is no field 'path'"),
        ({"model": "/etc/passwd"}, "there is no model"),
        ({"model": "../tiny-model"}, "there is no model"),
    ],
)
def test_a_wrong_field_is_named(client: Client, fields: dict[str, str], said: str) -> None:
    answer = client.send({"a.tif": IMAGE}, **({"model": TINY} | fields))
    assert answer.status_code in (400, 404)
    assert said in answer.json()["error"]


def test_a_large_request_to_another_path_is_refused(client: Client) -> None:
    job = client.job({"a.tif": IMAGE})["job"]
    answer = client.ask("PUT", f"/api/jobs/{job}/counts", content=b" " * (5 << 20))
    assert answer.status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(6):
            yield b" " * (1 << 20)

    assert client.ask("PUT", f"/api/jobs/{job}/counts", content=pieces()).status_code == 413


def test_a_zip_is_made_piece_by_piece(tmp_path: Path) -> None:
    (tmp_path / "large.tif").write_bytes(bytes(3 << 20))
    files: list[tuple[str, Path | bytes]] = [
        ("a/large.tif", tmp_path / "large.tif"),
        ("text.csv", b"a,b\n"),
        ("gone.tif", tmp_path / "gone.tif"),
    ]
    pieces = list(zipped(files))
    assert len(pieces) > 3
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a/large.tif", "text.csv"]
        assert archive.getinfo("a/large.tif").file_size == 3 << 20
