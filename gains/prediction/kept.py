"""Blocks of huge images that are done, kept in the folder of results until their image is: a second call skips them.

They are plain arrays (no pickle), for what lies in a folder of results may come from anybody.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from gains.files import replacing
from gains.masks import InstanceCrops
from gains.prediction.blocks import Part
from gains.prediction.stitching import Found, Pieces

FOLDER = ".blocks"


def part_path(output: Path, name: str, *what: Any) -> Path:
    """Where a block of an image is kept.

    Args:
        output: folder of results.
        name: of the image's results.
        what: whatever decides what is found in the block, apart from the settings that the folder is for.
    """
    return _folder(output, name) / f"{_digest(*what)}.npz"


def keep_part(path: Path, part: Part) -> None:
    """Write what was found in a block."""
    arrays = {f"found_{key}": value for key, value in _plain(part.found.masks).items()}
    arrays |= {f"open_{key}": value for key, value in _plain(part.open.masks).items()}
    arrays |= {f"found_{key}": getattr(part.found, key) for key in ("scores", "labels", "cut")}
    arrays |= {f"open_{key}": getattr(part.open, key) for key in ("scores", "labels", "tile")}
    numbers = np.array([*part.found.masks.size, part.capped, part.dim], np.int64)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, numbers=numbers, **arrays)


def kept_part(path: Path) -> Part | None:
    """What was found in a block; None if it is not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        height, width, capped, dim = arrays["numbers"].tolist()
        masks = {kind: _masks(arrays, kind, (height, width)) for kind in ("found", "open")}
        found = Found(masks["found"], *(arrays[f"found_{key}"] for key in ("scores", "labels", "cut")))
        rest = Pieces(masks["open"], *(arrays[f"open_{key}"] for key in ("scores", "labels", "tile")))
        return Part(found, rest, capped, bool(dim))
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def forget(output: Path, name: str | None = None) -> None:
    """Remove the kept blocks of an image, or of all."""
    shutil.rmtree(output / FOLDER if name is None else _folder(output, name), ignore_errors=True)
    if (output / FOLDER).is_dir() and not any((output / FOLDER).iterdir()):
        (output / FOLDER).rmdir()


def _folder(output: Path, name: str) -> Path:
    return output / FOLDER / _digest(name)


def _digest(*what: Any) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:24]


def _plain(masks: InstanceCrops) -> dict[str, Any]:
    """Masks as arrays, a bit for a pixel."""
    values = masks.values.numpy()
    return {"bits": np.packbits(values), "pixels": np.int64(len(values)), "boxes": masks.boxes.numpy()}


def _masks(arrays: Mapping[str, Any], kind: str, size: tuple[int, int]) -> InstanceCrops:
    values = np.unpackbits(arrays[f"{kind}_bits"], count=int(arrays[f"{kind}_pixels"]))
    return InstanceCrops(torch.from_numpy(values), torch.from_numpy(arrays[f"{kind}_boxes"]), size)
