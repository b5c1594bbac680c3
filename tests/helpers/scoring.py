"""What tests of ``gains score`` share: settings, files, masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from gains.config import compose
from gains.rle import RLE, encode_crop


def config(folder: Path, *overrides: str) -> DictConfig:
    """Settings that write below a folder, with few resamplings."""
    return compose("score", f"output={folder / 'out'}", "bootstrap_samples=20", *overrides)


def save_json(path: Path, content: Any) -> str:
    """Write a file and give back its path."""
    path.write_text(json.dumps(content))
    return str(path)


def rectangle_rle(x: int, y: int, width: int, height: int, size: tuple[int, int] = (30, 30)) -> RLE:
    """A filled rectangle on an image of ``(height, width)``."""
    return encode_crop(np.ones((height, width), bool), (x, y, x + width, y + height), size)
