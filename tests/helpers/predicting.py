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


def content(output: Path) -> dict[str, bytes]:
    """All result files but those that hold the time."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and path.suffix not in (".html", ".zip")
    }


def holding(**settings: Any) -> str:
    """A program that predicts, and once the first image is saved waits to be ended: however slow whoever ends it is."""
    return f"""
import sys, time; sys.path[:0] = [{str(Path(__file__).parents[1])!r}]
from gains.prediction import units
from gains.tasks import predict
from omegaconf import OmegaConf
save = units.save_image
def save_and_wait(*given):
    save(*given)
    time.sleep(600)
units.save_image = save_and_wait
predict.run(OmegaConf.create({OmegaConf.to_container(configured(**settings))!r}))
"""
