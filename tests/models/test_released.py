"""Models by name, version and URL, from tables and a server of the test's own."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from gains.errors import InputError
from gains.models import released as released_module
from gains.models.checkpoint import load_network
from gains.models.released import cache_folder, find_released, locate, released_models
from gains.prediction.predictor import load_model
from gains.tasks import models as task
from gains.training.kept import resume_from

SHA = "0" * 64


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, blob_checkpoint: Path) -> Iterator[str]:
    """Address of a server that has the checkpoint as ``blobs.ckpt``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(blob_checkpoint.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets other models be released."""

    def write(*entries: dict[str, Any]) -> None:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf/models.yaml").write_text(yaml.safe_dump({"models": list(entries)}))
        monkeypatch.setattr(released_module, "config_folder", lambda: tmp_path / "conf")

    return write


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "nuclei", "version": 1, "sha256": SHA, "card": "A card.", "file": "nuclei-1.safetensors"} | changes


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_this_version_lists_is_there_and_whole() -> None:
    for model in released_models():
        if model.file is not None:
            assert checksum(locate(str(model))) == model.sha256
            load_network(locate(str(model)))


def test_none_is_said_where_there_is_none(table: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    table()
    task.run({})  # type: ignore[arg-type]
    assert capsys.readouterr().out.startswith(
        "No trained model comes with this version. checkpoint= and model.weights="
    )
    with pytest.raises(
        InputError, match=r"checkpoint=nuclei does not exist.* no trained model comes with this version"
    ):
        locate("nuclei")


def test_the_newest_version_is_meant_unless_one_is_named(
    table: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    table(entry(version=10), entry(version=9), entry(name="cells", file=None, url="https://example.org/c"))
    assert str(find_released("nuclei")) == "nuclei@10"
    assert str(find_released("nuclei@9")) == "nuclei@9"
    assert find_released("nuclei@1") is None
    with pytest.raises(InputError, match=r"model\.weights=nuclei@1 does not exist.*nuclei@10, nuclei@9, cells@1; pass"):
        locate("nuclei@1", "model.weights")
    task.run({})  # type: ignore[arg-type]
    heads = [line.split()[0] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert heads == ["cells@1", "nuclei@10", "nuclei@9"]


def test_a_file_of_that_name_is_a_file(
    table: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(entry())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").write_bytes(b"")
    assert locate("nuclei") == Path("nuclei")
    assert locate("somewhere/best.ckpt") == Path("somewhere/best.ckpt")


def test_a_released_url_is_downloaded_once_and_predicts(
    table: Callable[..., None], site: str, blob_checkpoint: Path
) -> None:
    table(entry(file=None, url=f"{site}/blobs.ckpt", sha256=checksum(blob_checkpoint)))
    predictor = load_model("nuclei@1", "cpu", trust=["helpers"])
    assert predictor.recipe == load_network(blob_checkpoint, trust=["helpers"])[1]
    blob_checkpoint.unlink()
    assert locate("nuclei").parent == cache_folder()


def test_a_url_is_checked_against_its_checksum(site: str, blob_checkpoint: Path) -> None:
    address = f"{site}/blobs.ckpt"
    assert locate(f"{address}@sha256:{checksum(blob_checkpoint)}").read_bytes() == blob_checkpoint.read_bytes()
    assert locate(address).is_file()
    with pytest.raises(InputError, match=rf"gave a file with sha256 {checksum(blob_checkpoint)}, not {SHA}"):
        locate(f"{address}@sha256:{SHA}")
    assert not [path for path in cache_folder().iterdir() if path.suffix == ".ckpt"]
    with pytest.raises(InputError, match="a sha256 has 64 hexadecimal digits, this has 3"):
        locate(f"{address}@sha256:abc")


def test_without_a_network_one_line_says_what_to_give_instead(table: Callable[..., None]) -> None:
    table(entry(file=None, url="http://127.0.0.1:9/cells.safetensors"))
    for given in ("nuclei", "http://127.0.0.1:9/cells.safetensors"):
        with pytest.raises(
            InputError, match=r"9/cells\.safetensors could not be downloaded .*: checkpoint=PATH"
        ) as error:
            locate(given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Nuclei 2"}, "name is lower-case letters"),
        ({"name": "nuclei@2"}, "name is lower-case letters"),
        ({"version": 0}, "version a number from 1"),
        ({"version": "1"}, "version a number from 1"),
        ({"sha256": "abc"}, "needs sha256 as 64"),
        ({"url": "https://example.org/n"}, "either file or url"),
        ({"file": None}, "either file or url"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_wrong_entry_is_named(table: Callable[..., None], changes: dict[str, Any], message: str) -> None:
    table(entry(name="cells"), entry(**changes))
    with pytest.raises(InputError, match=rf"models\.yaml: entry 2: .*{message}"):
        released_models()


@pytest.mark.parametrize("given", ["nuclei", "nuclei@1", "https://example.org/n.ckpt", "weights/nuclei-1.safetensors"])
def test_a_released_model_is_no_run_to_go_on_with(table: Callable[..., None], tmp_path: Path, given: str) -> None:
    table(entry())
    with pytest.raises(InputError, match=rf"to start from its weights: model\.weights={given}"):
        resume_from(given, tmp_path)
