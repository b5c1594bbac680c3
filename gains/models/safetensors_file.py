"""Weights in a safetensors file: tensors and text, nothing that could be run; the recipe is in its metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gains.errors import InputError
from gains.files import replacing

SUFFIX = ".safetensors"
ENTRY = "gains"
"""Of the metadata: the recipe as JSON."""


def write_safetensors(path: Path, weights: Mapping[str, Tensor], recipe: Mapping[str, Any]) -> None:
    """Write tensors by name, and the recipe that goes with them as plain data.

    Raises:
        InputError: if the disk is full or the folder cannot be written to.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with replacing(path) as temporary:
        # Not by save_file, whose files only their owner may read.
        temporary.write_bytes(save(tensors, {ENTRY: json.dumps(recipe, sort_keys=True)}))


def read_safetensors(path: Path, source: str) -> tuple[dict[str, Tensor], Any]:
    """Tensors by name as they are stored, and the recipe as plain data; None where the file has none.

    Args:
        path: the file.
        source: what it is called in messages.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(ENTRY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return tensors, None if text is None else json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError, KeyError) as error:
        raise InputError(f"{source} cannot be read: it is damaged or no safetensors file ({error})") from error
