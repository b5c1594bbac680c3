"""What a user can cause, as one line; anything else keeps its trace."""

import os

import torch
from hydra.errors import InstantiationException
from lightning_fabric.utilities.exceptions import MisconfigurationException

from gains.errors import InputError

MEMORY = "DefaultCPUAllocator: can't allocate memory"  # PyTorch's words on the CPU, where it has no error of its own


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
    in_constructor = isinstance(error, InstantiationException) and isinstance(cause, ValueError)
    if in_constructor or isinstance(cause, InputError | MisconfigurationException):
        text = str(cause).strip()
        # An error of a data worker comes back with the worker's trace in its message; the last line says what it was.
        return text.splitlines()[-1].partition(": ")[2] or text if text.startswith("Caught ") else text
    return None
