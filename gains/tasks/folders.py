"""A run's folder is its own: never shared with another run, and not left behind empty."""

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write

from gains.comparison.collect import CONFIG, CURVES, RESULTS, curve, is_finished
from gains.errors import InputError
from gains.files import explained
from gains.locks import PATIENCE, alone_in
from gains.tasks.environment import same_settings, write_environment
from gains.tasks.failures import FAILURE, one_of_many
from gains.tasks.processes import is_first
from gains.training.checkpoints import LAST

WRITTEN = (CONFIG, CURVES, RESULTS, "checkpoints")
"""What tells a folder in which a run has written."""


def alone(folder: Path) -> AbstractContextManager[None]:
    """Keep a folder to this run, whose first process speaks for the others.

    Raises:
        InUse: if another run is writing to it.
    """
    return alone_in(folder, "hydra.run.dir", PATIENCE) if is_first() else nullcontext()


def run_folder() -> Path:
    """The folder of the present run, which Hydra has made."""
    return Path(HydraConfig.get().runtime.output_dir)


def begun_before(folder: Path) -> bool:
    """Whether this is a run of several (``-m``) that an earlier call of the same command has begun in its folder."""
    return one_of_many() and same_settings(folder)


def earlier_objective(folder: Path) -> float | None:
    """What a run of several that an earlier call has finished is worth; None if it has not."""
    if not (begun_before(folder) and is_finished(folder)):
        return None
    print(f"{folder} is finished")
    return max((value for _, value in curve(folder / CURVES)), default=math.nan)


def check_unused(folder: Path, goes_on: bool = False) -> None:
    """Refuse a folder in which another run has written.

    Args:
        folder: of this run.
        goes_on: it goes on with what is there.

    Raises:
        InputError: if the folder is used.
    """
    if goes_on or not is_first():
        return
    used = [name for name in WRITTEN if (folder / name).exists()]
    if used:
        last = folder / "checkpoints" / LAST
        instead = f", or go on there with checkpoint={last}" if last.is_file() else ""
        raise InputError(f"hydra.run.dir={folder} holds {used[0]} of another run; choose another folder{instead}")


def go_on_in(folder: Path) -> Path:
    """Make the folder of an earlier run this one's, unless the command line names one, or it is one run of several.

    Args:
        folder: of the run that is gone on with.

    Returns:
        The folder of this run from now on.
    """
    hydra: Any = HydraConfig.get()
    named = any(word.startswith("hydra.run.dir=") for word in hydra.overrides.hydra)
    if named or one_of_many() or not folder.is_dir():
        return run_folder()
    remove_empty()
    with read_write(hydra):
        hydra.runtime.output_dir = str(folder)
    return folder


def begin(config: DictConfig, folder: Path, goes_on: bool = False, precision: str = "32-true") -> None:
    """Take the folder: write the configuration and the environment into it, once nothing stands against the run.

    Args:
        config: of the run.
        folder: of the run.
        goes_on: it has written there before.
        precision: that it computes with.

    Raises:
        InputError: if another run has taken the folder meanwhile, or it cannot be written to.
    """
    if not is_first():
        return
    with explained(folder / CONFIG):
        try:
            with (folder / CONFIG).open("w" if goes_on else "x") as file:
                file.write(OmegaConf.to_yaml(config, resolve=True))
        except FileExistsError:
            raise InputError(f"hydra.run.dir={folder} has just been taken by another run; choose another") from None
    (folder / FAILURE).unlink(missing_ok=True)  # of an earlier try
    write_environment(folder, precision)


def remove_empty() -> None:
    """After a refusal: no empty folder stays."""
    folder, here = run_folder(), Path.cwd()
    for place in (folder, *(parent for parent in folder.parents if here in parent.parents)):
        if place == here or not place.is_dir() or any(place.iterdir()):
            break
        place.rmdir()
