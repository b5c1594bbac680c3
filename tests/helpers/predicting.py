"""A folder of drawn images and the settings that ``gains predict`` gets in tests."""

from pathlib import Path
from typing import Any

import cv2
from omegaconf import DictConfig, OmegaConf

from gains.config import compose
from helpers.blob_finder import draw_disks


def configured(**settings: Any) -> DictConfig:
    return OmegaConf.merge(  # type: ignore[return-value]
        compose("predict"),
        {"tile": 96, "accelerator": "cpu", "trust": ["helpers"], "formats": ["coco", "csv"], **settings},  # type: ignore[dict-item]
    )


def write_images(folder: Path, count: int = 3) -> None:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        disks = [(20.0 + 40 * column, 30.0, 9.0) for column in range(index + 2)]
        image, _ = draw_disks((90, 150), disks)
        cv2.imwrite(str(folder / f"plate{index}.png"), image[:, :, ::-1])
