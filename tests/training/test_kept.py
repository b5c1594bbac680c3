from pathlib import Path

import pytest

from gains.errors import InputError
from gains.training.kept import resume_from


@pytest.fixture
def content(blob_checkpoint: Path) -> bytes:
    return blob_checkpoint.read_bytes()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_last_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    last = write(tmp_path / "earlier/checkpoints/last.ckpt", content)
    assert resume_from("last", tmp_path / "now") == str(last)
    older = write(tmp_path / "earlier/checkpoints/last-older.ckpt", content)
    last.write_bytes(content[: len(content) // 2])
    assert resume_from("last", tmp_path / "now") == str(older)
    assert f"going on from the one before, {older}" in capsys.readouterr().out
    last.unlink()
    assert resume_from("last", tmp_path / "now") == str(older)


def test_nothing_to_go_on_from_is_said(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="no earlier run"):
        resume_from("last", tmp_path / "now")
    write(tmp_path / "earlier/checkpoints/last.ckpt", content[:100])
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read"):
        resume_from("last", tmp_path / "now")
