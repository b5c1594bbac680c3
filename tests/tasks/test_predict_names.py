"""What results of ``gains predict`` are called, whatever their images are called, and whose folder they lie in."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO

from gains.errors import InputError
from gains.export.formats import FORMATS
from gains.images.notes import Notes
from gains.locks import alone_in
from gains.prediction.inputs import find_images
from gains.tasks import predict
from helpers.blob_finder import draw_disks
from helpers.predicting import configured, write_images

ALL = list(FORMATS)


@pytest.mark.parametrize("name", ["x" * 250 + ".png", "Zelle \u7d30\u80de.png", b"caf\xe9.png"])
def test_long_and_odd_names(settings: dict[str, Any], images: Path, name: str | bytes) -> None:
    for path in images.iterdir():
        path.unlink()
    image, _ = draw_disks((60, 60), [(30.0, 30.0, 9.0)])
    written = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    try:
        (images / os.fsdecode(name)).write_bytes(written)
    except OSError:
        pytest.skip("this file system takes no such name")
    predict.run(configured(**settings, formats=ALL))
    output = Path(settings["output"])
    [labels] = output.glob("*.labels.tif")
    (output / "report.html").read_text(encoding="utf-8")
    assert tifffile.imread(labels).max() > 0
    assert len(COCO(output / "predictions.json").imgs) == 1


def test_pages_beside_a_file_of_their_name(settings: dict[str, Any], images: Path) -> None:
    stack = np.zeros((2, 64, 64), np.uint8)
    tifffile.imwrite(images / "m.tif", stack, photometric="minisblack")
    image, _ = draw_disks((60, 60), [(30.0, 30.0, 9.0)])
    cv2.imwrite(str(images / "m_p001.png"), image[:, :, ::-1])
    predict.run(configured(**settings))
    coco = COCO(Path(settings["output"]) / "predictions.json")
    assert len({entry["file_name"] for entry in coco.imgs.values()}) == len(coco.imgs) == 3 + 3
    pages = {entry.get("page"): entry["source"] for entry in coco.imgs.values() if "page" in entry}
    assert pages == {1: "m.tif", 2: "m.tif"}


def test_equal_names_in_folders_stay_apart(settings: dict[str, Any], images: Path) -> None:
    for folder in ("A", "B"):
        write_images(images / folder, 1)
    predict.run(configured(**{**settings, "input": f"{images}/*/*"}))
    coco = COCO(Path(settings["output"]) / "predictions.json")
    assert sorted(entry["file_name"] for entry in coco.imgs.values()) == ["A/plate0.png", "B/plate0.png"]


@pytest.mark.parametrize("pattern", ["{}", "{}/*", "{}/**/*"])
def test_results_beside_their_images_are_no_images(settings: dict[str, Any], images: Path, pattern: str) -> None:
    beside = {**settings, "input": pattern.format(images), "output": str(images)}
    for _ in range(2):
        predict.run(configured(**beside, formats=ALL))
    assert len(COCO(images / "predictions.json").imgs) == 3
    # Nor for a call that writes elsewhere, or that was stopped before the first image was done.
    predict.run(configured(**{**beside, "output": settings["output"]}))
    assert len(COCO(Path(settings["output"]) / "predictions.json").imgs) == 3
    for record in (images / ".records").iterdir():
        record.unlink()
    assert len(find_images(pattern.format(images), images, Notes())) == 3


def test_a_second_call_into_the_same_folder_is_refused(settings: dict[str, Any]) -> None:
    with (
        alone_in(Path(settings["output"]), "output"),
        pytest.raises(InputError, match="another call of gains is writing there"),
    ):
        predict.run(configured(**settings))
    predict.run(configured(**settings))
