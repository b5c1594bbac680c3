"""Which checkpoint of a run: the one to go on from, and the one that stands for it."""

from pathlib import Path

from gains.errors import InputError
from gains.models.checkpoint import read_checkpoint
from gains.models.released import released
from gains.training.checkpoints import LAST, OLDER


def after_restart(folder: Path) -> str | None:
    """The last checkpoint that a run had written before it was started again in its folder; None if it had none."""
    saved = any((folder / "checkpoints" / name).is_file() for name in (LAST, OLDER))
    return str(whole_last(folder / "checkpoints")) if saved else None


def resume_from(checkpoint: str | None, folder: Path) -> str | None:
    """The checkpoint to go on from.

    Args:
        checkpoint: a path; ``last`` for the newest ``last.ckpt`` among the runs beside this one; None to start anew.
        folder: of this run.

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
    runs = {file.parent for name in (LAST, OLDER) for file in folder.parent.glob(f"*/checkpoints/{name}")}
    if not runs:
        raise InputError(f"checkpoint=last: no earlier run under {folder.parent} has a checkpoints/{LAST}")
    newest = max(runs, key=lambda place: max(file.stat().st_mtime for file in place.glob("last*.ckpt")))
    return str(whole_last(newest))


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
    best = folder / "checkpoints" / "best.ckpt"
    return best if best.is_file() else folder / "checkpoints" / "last.ckpt"
