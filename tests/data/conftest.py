"""Two overlapping rectangles on a small image: what every format reader has to bring through unharmed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gains.images.files import write_image
from helpers.sources import SIZE, rectangle


@pytest.fixture
def masks() -> list[npt.NDArray[np.uint8]]:
    """Two masks that share 4 x 3 pixels."""
    return [rectangle(2, 3, 12, 9), rectangle(8, 6, 20, 20)]


@pytest.fixture
def pixels() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)


@pytest.fixture
def write_kaggle(masks: list[npt.NDArray[np.uint8]], pixels: npt.NDArray[np.uint8]) -> Any:
    def write(folder: Path, name: str = "sample") -> Path:
        (folder / name / "images").mkdir(parents=True)
        (folder / name / "masks").mkdir()
        write_image(folder / name / "images" / f"{name}.png", pixels)
        for index, mask in enumerate(masks):
            write_image(folder / name / "masks" / f"m{index}.png", mask * np.uint8(255))
        return folder

    return write


@pytest.fixture
def coco(masks: list[npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """A polygon and an uncompressed RLE on one image."""
    rectangles = [[2, 3, 12, 3, 12, 9, 2, 9]]
    runs = np.diff(np.nonzero(np.diff(np.pad(masks[1].ravel(order="F"), 1)))[0], prepend=0).tolist()
    runs.append(masks[1].size - sum(runs))
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1], "stain": "DAPI"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 40, "segmentation": rectangles, "iscrowd": 0, "source": 3},
            {"id": 2, "image_id": 7, "category_id": 12, "segmentation": {"size": list(SIZE), "counts": runs}},
        ],
        "categories": [{"id": 40, "name": "cell"}, {"id": 12, "name": "nucleus"}],
    }


@pytest.fixture
def write_coco(coco: dict[str, Any], pixels: npt.NDArray[np.uint8]) -> Any:
    def write(folder: Path, changed: dict[str, Any] | None = None) -> Path:
        (folder / "images").mkdir(parents=True)
        write_image(folder / "images" / "a.png", pixels)
        (folder / "annotations.json").write_text(json.dumps(changed or coco))
        return folder / "annotations.json"

    return write
