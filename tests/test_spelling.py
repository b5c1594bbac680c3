import inspect
from pathlib import Path

import pytest
import pytorch_lightning as pl

from gains import cli
from gains.errors import InputError
from gains.spelling import check_trainer, meant, trainer_arguments
from helpers.commands import gains


def test_arguments_of_the_trainer_are_those_that_lightning_takes() -> None:
    ours = {"logger", "callbacks", "plugins", "default_root_dir"}
    assert set(trainer_arguments()) == set(inspect.signature(pl.Trainer).parameters) - ours


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.limit_trian_batches=3"], "did you mean limit_train_batches"),
        (["batch_size=3", "+trainer.maxsteps=3"], "did you mean max_steps"),
        (["trainer.callbacks=[]"], "is set by this program"),
    ],
)
def test_unknown_arguments_of_the_trainer_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_trainer(words)


def test_nothing_is_suggested_where_nothing_is_alike() -> None:
    assert meant("zebra", ["model", "dataset"]) == "."
    assert meant("modell", ["model", "dataset"]) == "; did you mean model?"
    assert meant("lr", ["model", "model.optimizer.lr"]) == "; did you mean model.optimizer.lr?"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("evaluate checkpoint=x", "'evaluate' is no command; did you mean eval?"),
        ("prepare datset=coco", "datset is no setting of gains prepare; did you mean dataset?"),
        ("train model=condints", "model=condints is unknown; did you mean condinst?"),
        ("train model.optimiser.lr=1", "did you mean model.optimizer.lr?"),
        ("train model/sise=r50", "did you mean model/size?"),
        ("train max_steps=9", "did you mean trainer.max_steps?"),
        ("train hydra.run.dri=x", "did you mean hydra.run.dir?"),
        ("train ~loger", "did you mean logger?"),
        ("train trainer.max_step=3", "did you mean max_steps?"),
        ("train model=gains,htc", "model=gains,htc has several values; -m makes a run of each"),
        ("train +batch_size=3", "there is such a setting; without + it is set"),
        ("predict cells.tif", "'cells.tif' is no setting: settings are typed as key=value"),
        ("score bootstrap_samples=[1", "bootstrap_samples=[1 cannot be read"),
        ("train dataset.name=[a]", "dataset.name=[a] is a list; it must be one name"),
    ],
)
def test_a_typo_is_one_line_with_what_was_meant(
    words: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gains", *words.split()])
    monkeypatch.setattr("os.environ", {})
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert line in error
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1 or words.startswith("evaluate")


def test_of_several_runs_none_begins_where_one_is_mistyped(tmp_path: Path) -> None:
    error = gains(tmp_path, "train", "-m", "model=gains,hct", status=2)
    assert "model=hct is unknown; did you mean htc?" in error
    assert "Traceback" not in error
