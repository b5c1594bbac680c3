"""A checkpoint as it is given to others: half its size, without what only training needs."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gains.errors import InputError
from gains.models.checkpoint import PREFIX, Checkpoint, checksum
from gains.models.safetensors_file import write_safetensors


def halved(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels and matrices in half precision; norms, biases and counts, which weigh nothing, as they are.

    Raises:
        InputError: if a value is too large for half precision.
    """
    small = {
        name: value.half() if value.dim() > 1 and value.is_floating_point() else value
        for name, value in weights.items()
    }
    lost = [name for name, value in small.items() if not torch.isfinite(value).all()]
    if lost:
        raise InputError(f"{lost[0]} has values beyond those of half precision; the model cannot be released so")
    return small


def release(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint's weights in half precision and its recipe as a safetensors file.

    The names of the images that it was trained on stay in the recipe, so that it is not evaluated on them unnoticed.

    Raises:
        InputError: see :func:`halved`, :func:`gains.models.safetensors_file.write_safetensors`.
    """
    weights = {f"{PREFIX}{name}": value for name, value in halved(checkpoint.weights).items()}
    write_safetensors(path, weights, replace(checkpoint.recipe, checksum=checksum(weights)).to_plain())
