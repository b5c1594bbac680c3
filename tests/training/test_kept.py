import os
from pathlib import Path

import pytest

from gains.errors import InputError
from gains.training.kept import resume_from, run_of


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


@pytest.mark.parametrize("saved", ["checkpoints/last.ckpt", "hpc_ckpt_2.ckpt"])
def test_the_newest_run_of_these_names_is_found(tmp_path: Path, content: bytes, saved: str) -> None:
    runs = {"a": ("cells", "gains"), "b": ("cells", "gains"), "c": ("cells", "htc"), "d": ("nuclei", "gains")}
    for age, (name, (data, model)) in enumerate(runs.items()):
        path = write(tmp_path / name / saved, content)
        os.utime(path, (age, age))
        (tmp_path / name / "config.yaml").write_text(f"dataset: {{name: {data}}}\nmodel: {{name: {model}}}\n")
    assert resume_from("last", tmp_path / "now", ("cells", "gains")) == str(tmp_path / "b" / saved)
    assert resume_from("last", tmp_path / "now") == str(tmp_path / "d" / saved)
    assert run_of(tmp_path / "b" / saved) == tmp_path / "b"
    with pytest.raises(InputError, match="no earlier run of donet on cells"):
        resume_from("last", tmp_path / "now", ("cells", "donet"))
    (tmp_path / "d/config.yaml").write_text("[no configuration")
    assert resume_from("last", tmp_path / "now", ("cells", "htc")) == str(tmp_path / "d" / saved)


def test_what_slurm_saved_last_comes_before_an_older_last(tmp_path: Path, content: bytes) -> None:
    os.utime(write(tmp_path / "a/checkpoints/last.ckpt", content), (1, 1))
    slurm = write(tmp_path / "a/hpc_ckpt_1.ckpt", content)
    assert resume_from("last", tmp_path / "now") == str(slurm)
    os.utime(slurm, (0, 0))
    assert resume_from("last", tmp_path / "now") == str(tmp_path / "a/checkpoints/last.ckpt")
