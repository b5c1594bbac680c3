"""Downloads from a server on this machine that can break off, resume, change its file and refuse."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from gains.config import compose
from gains.download import fetch, file_name
from gains.errors import InputError
from gains.tasks.prepare import run

CONTENT = bytes(range(256)) * 4096


class Server(ThreadingHTTPServer):
    """Serves ``content`` under any name; ``break_after`` bytes it drops the connection, once."""

    content = CONTENT
    etag = '"v1"'
    break_after: int | None = None
    shift = 0
    ignores_if_range = False
    ranges: list[str | None]
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/missing.zip":
            self.send_error(404)
            return
        content, start, wanted = self.server.content, 0, self.headers.get("Range")
        self.server.ranges.append(wanted)
        if wanted and (self.headers.get("If-Range") == self.server.etag or self.server.ignores_if_range):
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) + self.server.shift
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", self.server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.server.break_after
        self.server.break_after = None
        self.wfile.write(content[start:end])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/data.zip"


def test_local_path_is_left_alone(tmp_path: Path) -> None:
    assert fetch("some/where.zip", tmp_path / "downloads") == "some/where.zip"
    assert fetch(None, tmp_path / "downloads") is None
    assert not list(tmp_path.iterdir())


def test_download_is_whole_and_used_again(tmp_path: Path, server: Server, url: str) -> None:
    checksum = hashlib.sha256(CONTENT).hexdigest()
    path = fetch(url, tmp_path, checksum)
    assert path is not None
    assert Path(path).read_bytes() == CONTENT
    assert path.endswith("-data.zip")
    assert fetch(url, tmp_path, checksum.upper()) == path
    assert server.ranges == [None]
    assert [file.name for file in tmp_path.iterdir()] == [file_name(url)]


def test_broken_download_is_kept_and_resumed(tmp_path: Path, server: Server, url: str) -> None:
    server.break_after = 300_000
    with pytest.raises(InputError, match=r"\d+ bytes are kept .* dataset\.source=PATH"):
        fetch(url, tmp_path)
    arrived = (tmp_path / (file_name(url) + ".partial")).stat().st_size
    assert 200_000 < arrived <= 300_000
    assert not (tmp_path / file_name(url)).exists()
    path = fetch(url, tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={arrived}-"]
    assert [file.name for file in tmp_path.iterdir()] == [file_name(url)]


def test_file_that_changed_meanwhile_is_loaded_anew(tmp_path: Path, server: Server, url: str) -> None:
    server.break_after = 300_000
    with pytest.raises(InputError):
        fetch(url, tmp_path)
    server.content, server.etag = CONTENT[::-1], '"v2"'
    path = fetch(url, tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("fault", ["another part", "another file"])
def test_part_that_does_not_fit_is_never_joined(tmp_path: Path, server: Server, url: str, fault: str) -> None:
    server.break_after = 300_000
    with pytest.raises(InputError):
        fetch(url, tmp_path)
    if fault == "another part":
        server.shift = -1000
    else:
        server.content, server.etag, server.ignores_if_range = CONTENT[::-1], '"v2"', True
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(url, tmp_path)
    path = fetch(url, tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == server.content


def test_partial_file_longer_than_the_whole_is_loaded_anew(tmp_path: Path, server: Server, url: str) -> None:
    partial = tmp_path / (file_name(url) + ".partial")
    partial.write_bytes(CONTENT + b"more")
    partial.with_name(partial.name + ".etag").write_text(server.etag)
    path = fetch(url, tmp_path)
    assert path is not None
    assert Path(path).read_bytes() == CONTENT


def test_wrong_checksum_is_said_and_nothing_stays(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=f"sha256 {hashlib.sha256(CONTENT).hexdigest()}, not {'0' * 64}"):
        fetch(url, tmp_path, "0" * 64)
    assert not [file for file in tmp_path.iterdir() if not file.name.endswith(".etag")]
    assert fetch(url, tmp_path, hashlib.sha256(CONTENT).hexdigest())


def test_refusal_names_the_address(tmp_path: Path, url: str) -> None:
    missing = url.replace("data", "missing")
    with pytest.raises(InputError, match=rf"{missing} answered 404 .* dataset\.source=PATH"):
        fetch(missing, tmp_path)


def test_unreachable_server_says_what_to_give_instead(tmp_path: Path, server: Server, url: str) -> None:
    port = server.server_port
    server.server_close()
    with pytest.raises(InputError, match=rf"{port}/data\.zip could not be downloaded .* dataset\.source=PATH"):
        fetch(url, tmp_path)


def test_two_addresses_with_one_name_do_not_meet() -> None:
    assert file_name("http://a.org/1/data.zip") != file_name("http://a.org/2/data.zip")
    assert file_name("http://a.org/get?id=1").endswith("-get")


def test_prepare_takes_an_address(tmp_path: Path, server: Server, url: str) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    png = cv2.imencode(".png", mask)[1].tobytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("images/sample.png", "masks/one.png"):
            archive.writestr(f"sample/{name}", png)
    server.content = (tmp_path / "a.zip").read_bytes()
    overrides = ["dataset=kaggle2018", f"dataset.source={url}", f"dataset.root={tmp_path / 'root'}"]
    run(compose("prepare", *overrides, f"downloads={tmp_path / 'downloads'}", "dataset.ratios=[1,0,0]"))
    assert [file.name for file in (tmp_path / "root" / "images").iterdir()] == ["sample.png"]
    assert [file.name for file in (tmp_path / "downloads").iterdir()] == [file_name(url)]
