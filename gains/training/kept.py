"""Which checkpoint of a run: the one to go on from, and the one that stands for it."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from gains.comparison.collect import CONFIG
from gains.errors import InputError
from gains.models.checkpoint import read_checkpoint, store_operating_point
from gains.models.released import released
from gains.operating_point import OperatingPoint
from gains.training.checkpoints import LAST, OLDER

CHECKPOINTS = "checkpoints"
SLURM = "hpc_ckpt_*.ckpt"
"""What Lightning writes into a run's folder when SLURM takes the job away to start it again."""
SAVED = (f"{CHECKPOINTS}/{LAST}", f"{CHECKPOINTS}/{OLDER}", SLURM)


def after_restart(folder: Path) -> str | None:
    """The last checkpoint that a run had written before it was started again in its folder; None if it had none."""
    saved = [file for pattern in SAVED for file in folder.glob(pattern)]
    return _newest(saved) if saved else None


def resume_from(checkpoint: str | None, folder: Path, names: tuple[str, str] | None = None) -> str | None:
    """The checkpoint to go on from.

    Args:
        checkpoint: a path; ``last`` for the newest ``last.ckpt``, or what SLURM let save when it took a job away, of
            the runs beside this one; None to start anew.
        folder: of this run.
        names: of data set and model, which those runs must have where their ``config.yaml`` says; None for any.

    Raises:
        InputError: if there is none, or it is not a checkpoint of this application.
    """
    if checkpoint is None:
        return None
    if checkpoint != "last":
        if released(checkpoint):
            raise InputError(
                f"checkpoint={checkpoint} would go on with a stopped run, which a released model is not; "
                f"to start from its weights: model.weights={checkpoint}"
            )
        read_checkpoint(checkpoint)
        return checkpoint
    saved = [file for pattern in SAVED for file in folder.parent.glob(f"*/{pattern}")]
    saved = [file for file in saved if names is None or names_of(run_of(file)) in (None, names)]
    if not saved:
        of = "" if names is None else f" of {names[1]} on {names[0]}"
        raise InputError(f"checkpoint=last: no earlier run{of} under {folder.parent} has a {CHECKPOINTS}/{LAST}")
    return _newest(saved)


def _newest(saved: Sequence[Path]) -> str:
    """The newest of some checkpoints, all of it there."""
    newest = max(saved, key=lambda file: file.stat().st_mtime)
    if newest.parent.name != CHECKPOINTS:
        read_checkpoint(newest)
        return str(newest)
    return str(whole_last(newest.parent))


def run_of(checkpoint: str | Path) -> Path:
    """The folder of the run that wrote a checkpoint: the one above ``checkpoints``, or that of SLURM's checkpoint."""
    path = Path(checkpoint).resolve()
    return path.parent if path.match(SLURM) else path.parents[1]


def names_of(run: Path) -> tuple[str, str] | None:
    """Names of data set and model of a run; None where its ``config.yaml`` does not say."""
    try:
        config = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
        return str(config["dataset"]["name"]), str(config["model"]["name"])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None


def whole_last(checkpoints: Path) -> Path:
    """The last checkpoint of a run, or the one before where that is damaged or missing, which is then said.

    Raises:
        InputError: if neither can be read.
    """
    last, older = checkpoints / LAST, checkpoints / OLDER
    try:
        read_checkpoint(last)
    except InputError as error:
        if not older.is_file():
            raise
        print(f"{error}; going on from the one before, {older}")
        read_checkpoint(older)
        return older
    return last


def best_checkpoint(folder: Path) -> Path:
    """The run's best checkpoint by validation, or the last where no validation took place."""
    best = folder / CHECKPOINTS / "best.ckpt"
    return best if best.is_file() else folder / CHECKPOINTS / LAST


def best_of(folder: Path, resume: str | None, point: OperatingPoint, first: bool) -> Path:
    """The best checkpoint of a run that has ended, at the operating point that the run has now.

    An earlier part of a resumed run may have stored it at another. Where nothing was left to do in a new folder, it is
    that of the finished run, which stays as it is. Of several processes the ``first`` writes.
    """
    best = best_checkpoint(folder)
    if resume and not best.is_file():
        return best_checkpoint(run_of(resume))
    if resume and first and read_checkpoint(best).recipe.operating_point != point:
        store_operating_point(best, point)
    return best
