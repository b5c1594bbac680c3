"""What a user can cause, as one line; anything else keeps its trace."""

import os
import re
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import torch
import wandb
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import MissingMandatoryValue

from gains.errors import InputError, InUse, RunFailed

MEMORY = "DefaultCPUAllocator: can't allocate memory"  # PyTorch's words on the CPU, where it has no error of its own

KILLED = re.compile(r"DataLoader worker .*(killed by signal|exited unexpectedly)")

FAILURE = "failure.txt"
"""In the folder of a run of several that failed: why."""


def one_of_many() -> bool:
    """Whether this run is one of several (``-m``), which are to go on whatever becomes of it."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def leave(error: Exception, reason: str | None) -> NoReturn:
    """End a run of several: its folder says why, and Hydra goes on with the others.

    Args:
        error: what happened.
        reason: it in one line; None for a fault of the program, whose trace is then kept.

    Raises:
        RunFailed: always; Hydra keeps it until the last run has ended and then exits with status 1.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    line = f"{folder}: {reason or repr(error)}"
    if isinstance(error, InUse):  # the folder is not this run's
        print(f"failed: {line}", file=sys.stderr)
    else:
        (folder / FAILURE).write_text(f"{reason}\n" if reason else "".join(traceback.format_exception(error)))
        print(f"failed: {line}; {folder / FAILURE}", file=sys.stderr)
    if wandb.run is not None:
        wandb.finish(exit_code=1)  # or the next run in this process would log into it
    raise RunFailed(line) from error


def explain(error: BaseException) -> str | None:
    """One line for an error that a setting, a file or the machine causes; None for a fault of the program.

    With ``GAINS_DEBUG=1`` in the environment it is always None, so that the trace is shown.
    """
    if os.environ.get("GAINS_DEBUG") == "1":
        return None
    # Hydra wraps what a constructor raises; a ValueError in there is about a setting.
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    if isinstance(cause, torch.OutOfMemoryError | MemoryError) or MEMORY in str(cause):
        return (
            "out of memory; lower batch_size, augmentation.short_sides, model.rois_per_image or num_workers "
            "(in predict: tile and batch_size)"
        )
    if isinstance(cause, MissingMandatoryValue):
        return f"{cause.full_key or 'a setting'}=... is missing"
    if KILLED.search(str(cause)):
        return "a data worker was killed, most often for want of memory; lower num_workers or batch_size"
    if isinstance(cause, OSError) and cause.filename is not None:
        return f"{cause.filename}: {cause.strerror}"
    in_constructor = isinstance(error, InstantiationException) and isinstance(cause, ValueError)
    # So is what names no part, or a value of a kind that the part cannot take; GAINS_DEBUG=1 tells it from our faults.
    misfit = isinstance(cause, ImportError | InstantiationException | TypeError | AttributeError)
    if isinstance(error, InstantiationException) and misfit:
        lines = str(error).strip().splitlines()
        named = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
        return ": ".join([*named, lines[0] if cause is error else str(cause).strip().splitlines()[0]])
    from_worker = isinstance(cause, OSError) and str(cause).startswith("Caught ")
    if in_constructor or from_worker or isinstance(cause, InputError | MisconfigurationException):
        text = str(cause).strip()
        # An error of a data worker comes back with the worker's trace in its message; the last line says what it was.
        return text.splitlines()[-1].partition(": ")[2] or text if text.startswith("Caught ") else text
    return None
