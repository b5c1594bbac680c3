import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gains.config import compose
from gains.tasks.tracking import set_mode, unreachable

KEY = "k" * 40


class Server(BaseHTTPRequestHandler):
    """Knows one key."""

    def do_POST(self) -> None:
        wanted = base64.b64encode(f"api:{KEY}".encode()).decode()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if self.headers["Authorization"] == f"Basic {wanted}" else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    http = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_a_server_that_takes_the_key_is_used(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert unreachable(server) is None
    monkeypatch.delenv("WANDB_API_KEY")
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    assert unreachable(server) is None


def test_without_key_or_with_a_wrong_one_it_is_not(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no key" in str(unreachable(server))
    monkeypatch.setenv("WANDB_API_KEY", "wrong")
    assert "refuses the key (401)" in str(unreachable(server))


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "cannot be reached" in str(unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.2))


def test_a_run_goes_on_offline_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    config = compose("train", "logger.mode=online")
    (note,) = set_mode(config)
    assert config.logger.mode == "offline"
    assert "cannot be reached" in note
    assert "goes on offline" in note


@pytest.mark.parametrize("words", [["logger.mode=offline"], ["logger.mode=disabled"], ["logger=csv"]])
def test_nobody_is_asked_otherwise(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gains.tasks.tracking.unreachable", lambda _: pytest.fail("asked"))
    assert set_mode(compose("train", *words)) == []


def test_names_differ_by_seed_and_share_a_group() -> None:
    first, second = (compose("train", f"seed={seed}").logger.loggers.wandb for seed in (1, 2))
    assert first.name != second.name
    assert first.group == second.group
