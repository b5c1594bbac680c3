"""Whose a run folder is, from the command line."""

import json
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hydra.core import utils
from omegaconf import OmegaConf

from gains import cli
from gains.errors import InputError
from gains.locks import alone_in
from gains.tasks import folders, train
from gains.training.checkpoints import LAST
from helpers.drawing_network import prepare_noise
from helpers.training import SMALL, run_train


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_noise(tmp_path_factory.mktemp("data") / "noise", 6)


@pytest.fixture
def gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A command in an empty folder; returns its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAINS_RUN", "")

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gains", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


def test_starts_in_the_same_second_get_folders_of_their_own(
    gains: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Stopped":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(utils, "datetime", Stopped)
    monkeypatch.setattr(train, "run", lambda config: (folders.run_folder() / "here").touch())
    assert [gains("train") for _ in range(3)] == [0, 0, 0]
    names = [path.parent.name for path in tmp_path.glob("outputs/train/overlapping_cells_gains/*/here")]
    assert len(names) == 3
    assert all(name.startswith("2026-01-02_03-04-05_") for name in names)


@pytest.mark.parametrize(
    "refused",
    [
        ["train", "dataset.root=nowhere"],
        ["train", "split=vla"],
        ["train", "trainer.max_steps=3", "trainer.val_check_interval=no"],
        ["eval", "checkpoint=nowhere.ckpt"],
    ],
)
def test_a_refused_start_leaves_no_folder(
    gains: Callable[..., int], root: Path, tmp_path: Path, refused: list[str]
) -> None:
    command, *settings = refused
    data = [*SMALL, f"dataset.root={root}"] if command == "train" else []
    assert gains(command, *data, *settings) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_failed_job_of_a_sweep_keeps_its_folder_with_the_reason_and_the_others_run(
    gains: Callable[..., int], root: Path, tmp_path: Path
) -> None:
    settings = [*SMALL, f"dataset.root={root}", "trainer.max_steps=1", "hydra.sweep.dir=sweep"]
    assert gains("train", "-m", *settings, "split=vla,null,val") == 1
    assert "split=vla is unknown" in (tmp_path / "sweep/0/failure.txt").read_text()
    assert [(tmp_path / f"sweep/{job}/results.json").is_file() for job in range(3)] == [False, True, True]


def test_the_same_sweep_again_does_what_is_left(
    gains: Callable[..., int], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run was killed before its evaluation, another before its first checkpoint, a third is finished."""
    sweep = ["train", "-m", *SMALL, f"dataset.root={root}", "hydra.sweep.dir=sweep", "seed=1,2,3"]
    assert gains(*sweep) == 0
    whole = {name: (tmp_path / f"sweep/{name}/results.json").read_text() for name in range(3)}
    (tmp_path / "sweep/1/results.json").unlink()
    (tmp_path / "sweep/2/results.json").unlink()
    shutil.rmtree(tmp_path / "sweep/2/checkpoints")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep/0").rglob("*")}
    capsys.readouterr()
    assert gains(*sweep) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path}/sweep/0 is finished" in printed
    assert f"{tmp_path}/sweep/1/checkpoints/last.ckpt is already at step 2" in printed
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for name, results in whole.items():
        again = json.loads((tmp_path / f"sweep/{name}/results.json").read_text())
        assert again["metrics"] == json.loads(results)["metrics"]
    assert len((tmp_path / "sweep/2/metrics.csv").read_text().splitlines()) == len(
        (tmp_path / "sweep/1/metrics.csv").read_text().splitlines()
    )
    assert gains(*sweep, "model.optimizer.lr=0.001") == 1
    assert "holds config.yaml of another run" in (tmp_path / "sweep/0/failure.txt").read_text()


def test_a_run_that_is_going_on_is_left_alone(
    gains: Callable[..., int], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a command names its folder, is a sweep that was called twice, or wants to go on with the newest run."""
    monkeypatch.setattr(folders, "PATIENCE", 0)
    small = [*SMALL, f"dataset.root={root}", "trainer.max_steps=1"]
    assert gains("train", *small) == 0
    [run] = tmp_path.glob("outputs/train/*/*")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with alone_in(run, "hydra.run.dir"):
        assert gains("train", *small, f"hydra.run.dir={run}", f"checkpoint={run}/checkpoints/last.ckpt") == 2
        assert gains("train", "-m", *small, f"hydra.sweep.dir={run.parent}", f"hydra.sweep.subdir={run.name}") == 1
        assert gains("train", *small, "checkpoint=last") == 2
    assert list(tmp_path.glob("outputs/train/*/[!m]*")) == [run]  # beside multirun.yaml
    left = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and ".hydra" not in path.parts}
    assert left == {path: time for path, time in before.items() if ".hydra" not in path.parts}


def test_a_used_folder_is_refused_unless_the_run_goes_on_in_it(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_train(root, folder, "trainer.max_steps=1")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(InputError, match=r"run holds config.yaml of another run; .* checkpoint=.*last"):
        run_train(root, folder, "trainer.max_steps=2")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    last = folder / "checkpoints" / LAST
    other = tmp_path / "other"
    other.mkdir()
    (other / "metrics.csv").touch()
    with pytest.raises(InputError, match="other holds"):
        run_train(root, other, f"checkpoint={last}")
    run_train(root, folder, "trainer.max_steps=2", f"checkpoint={last}")


def test_of_two_that_begin_in_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    config = OmegaConf.create({"seed": 1})
    folders.check_unused(tmp_path)  # both find it unused
    folders.begin(config, tmp_path)
    with pytest.raises(InputError, match="just been taken by another run"):
        folders.begin(config, tmp_path)
