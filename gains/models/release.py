"""A checkpoint as it is given to others: a quarter of its size, without what only training needs."""

from dataclasses import replace
from pathlib import Path

from gains.models.checkpoint import PREFIX, Checkpoint, checksum
from gains.models.packing import pack
from gains.models.safetensors_file import write_safetensors


def release(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint's weights in 8 bits (:func:`gains.models.packing.pack`) and its recipe as a safetensors file.

    The names of the images that it was trained on stay in the recipe, so that it is not evaluated on them unnoticed.

    Raises:
        InputError: see :func:`gains.models.packing.pack`, :func:`gains.models.safetensors_file.write_safetensors`.
    """
    weights = {f"{PREFIX}{name}": value for name, value in pack(checkpoint.weights).items()}
    write_safetensors(path, weights, replace(checkpoint.recipe, checksum=checksum(weights)).to_plain())
