"""``gains score`` holds the masks of one image at a time, whatever files they come from."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from gains.formats import coco
from gains.formats.spool import Spool
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.metrics.sources.scored import filled
from helpers.scoring import rectangle_rle

IMAGES, EACH, TOGETHER = 40, 6, 4
SIZE = (30, 34)
CORNERS = [(x, y) for y in (2, 16) for x in (1, 12, 23)]


def annotations() -> list[dict[str, Any]]:
    masks = [rectangle_rle(x, y, 8, 9, SIZE) for x, y in CORNERS]
    return [
        {"image_id": image, "category_id": 1, "segmentation": mask, "score": 0.75}
        for image in range(IMAGES)
        for mask in masks
    ]


@pytest.fixture(params=["list", "coco", "labels"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A ground truth and predictions that are equal to it."""
    if request.param == "labels":
        labels = np.zeros(SIZE, np.uint16)
        for number, (x, y) in enumerate(CORNERS, 1):
            labels[y : y + 9, x : x + 8] = number
        for image in range(IMAGES):
            tifffile.imwrite(tmp_path / f"{image}.tif", labels)
        return tmp_path, tmp_path
    images = [{"id": image, "file_name": f"{image}.png", "height": 30, "width": 34} for image in range(IMAGES)]
    truth = {"images": images, "annotations": annotations(), "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps(truth if request.param == "coco" else annotations()))
    return tmp_path / "truth.json", tmp_path / "found.json"


@pytest.fixture
def few_objects() -> Iterator[None]:
    """Leaves out what was there before, which takes long to look through."""
    gc.freeze()
    yield
    gc.unfreeze()


def masks_held() -> int:
    """Encoded masks of this size that something refers to."""
    every = (each for each in gc.get_objects() if type(each) is dict and each.keys() == {"size", "counts"})
    return sum(list(each["size"]) == list(SIZE) for each in every)


@pytest.mark.usefixtures("few_objects")
def test_masks_of_one_image_are_held(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "TOGETHER", TOGETHER)
    held: dict[str, list[int]] = {"reading": [], "scoring": []}
    add, update = Spool.add, InstanceSegmentationEvaluator.update

    def adding(self: Spool, *arguments: Any) -> None:
        held["reading"].append(masks_held())
        add(self, *arguments)

    def updating(self: InstanceSegmentationEvaluator, *arguments: Any) -> None:
        held["scoring"].append(masks_held())
        update(self, *arguments)

    before = masks_held()
    monkeypatch.setattr(Spool, "add", adding)
    monkeypatch.setattr(InstanceSegmentationEvaluator, "update", updating)
    truth = read_ground_truth(files[0])
    evaluator = filled(truth, read_predictions(files[1], truth), 100, 0.5)
    assert {step: len(counts) for step, counts in held.items()} == {"reading": 2 * IMAGES * EACH, "scoring": IMAGES}
    assert max(held["reading"]) - before <= 3 * max(EACH, TOGETHER)
    assert max(held["scoring"]) - before == 2 * EACH
    assert evaluator.compute()["metrics"]["f1_75"] == 1
