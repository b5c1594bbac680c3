"""What is exported, corrected in another program and read again: the masks are the same, but for the correction."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import roifile
import torch
from pycocotools import mask as coco_mask
from scipy import ndimage

from gains.data.sources.coco import Coco
from gains.data.sources.drawings import Drawings
from gains.errors import InputError
from gains.images.files import write_image
from gains.masks import InstanceCrops
from gains.prediction.result import Prediction
from helpers.sources import dense, only

SHAPE = (60, 47)


def predicted() -> tuple[Prediction, npt.NDArray[np.bool_]]:
    """Torn and holed masks that overlap, of two categories."""
    noise = np.random.default_rng(5).normal(size=(6, *SHAPE))
    masks: npt.NDArray[np.bool_] = ndimage.gaussian_filter(noise, (0, 3, 3)) > 0.1
    masks[0] = False
    masks[0, 59, 46] = masks[0, 10, 10] = masks[0, 11, 11] = True
    crops = InstanceCrops.from_dense(torch.from_numpy(masks))
    return Prediction(crops, np.linspace(0.9, 0.4, 6), np.arange(6) % 2 + 1, ["nucleus", "cell"]), masks


def exported(folder: Path, kind: str) -> npt.NDArray[np.bool_]:
    """An image, and its instances in one format beside it."""
    prediction, masks = predicted()
    pixels = np.random.default_rng(1).integers(0, 255, SHAPE, dtype=np.uint8)
    write_image(folder / "plate.1.png", pixels)
    prediction.save(folder, "plate.1", [kind], pixels)
    return masks


def sorted_masks(masks: Any) -> list[bytes]:
    return sorted(np.asarray(mask, dtype=bool).tobytes() for mask in masks)


@pytest.mark.parametrize("kind", ["geojson", "imagej", "label_layers"])
def test_what_is_exported_is_read_again(tmp_path: Path, kind: str) -> None:
    masks = exported(tmp_path, kind)
    source = Drawings(tmp_path)
    record = only(source)
    assert record.name == "plate.1"
    assert sorted_masks(dense(record)) == sorted_masks(masks)
    if kind != "label_layers":
        assert [each.category for each in record.instances] == ["nucleus", "cell"] * 3


def test_predictions_json_is_read_again(tmp_path: Path) -> None:
    masks = exported(tmp_path, "coco")
    (tmp_path / "plate.1.coco.json").rename(tmp_path / "predictions.json")
    content = json.loads((tmp_path / "predictions.json").read_text())
    content["images"][0]["file_name"] = "plate.1.png"
    content["annotations"].pop(2)
    (tmp_path / "predictions.json").write_text(json.dumps(content))
    record = only(Coco(tmp_path / "predictions.json"))
    assert sorted_masks(dense(record)) == sorted_masks(np.delete(masks, 2, axis=0))


def test_geojson_corrected_in_another_program(tmp_path: Path) -> None:
    masks = exported(tmp_path, "geojson")
    file = tmp_path / "plate.1.geojson"
    content = json.loads(file.read_text())
    content["features"].pop(1)
    drawn = {"type": "Polygon", "coordinates": [[[4.2, 3.0], [20.0, 3.5], [12.0, 30.1], [4.2, 3.0]]]}
    content["features"].append({"type": "Feature", "geometry": drawn, "properties": {"objectType": "annotation"}})
    file.write_text(json.dumps(content))
    record = only(Drawings(tmp_path, category="new"))
    assert sorted_masks(dense(record)[:-1]) == sorted_masks(np.delete(masks, 1, axis=0))
    assert record.instances[-1].category == "new"
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    (ax, ay), (bx, by), (cx, cy) = drawn["coordinates"][0][:3]  # type: ignore[index]
    sides = [(px - qx) * (y - qy) - (py - qy) * (x - qx) for px, py, qx, qy in
             ((bx, by, ax, ay), (cx, cy, bx, by), (ax, ay, cx, cy))]  # fmt: skip
    np.testing.assert_array_equal(dense(record)[-1], (np.array(sides) >= 0).all(axis=0))


def test_rois_drawn_in_imagej(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    polygon = roifile.ImagejRoi.frompoints(np.array([[3, 4], [13, 4], [13, 9], [3, 9]]), name="0004-0008")
    rectangle = roifile.ImagejRoi()
    rectangle.roitype, rectangle.name = roifile.ROI_TYPE.RECT, "box"
    rectangle.left, rectangle.top, rectangle.right, rectangle.bottom = 40, 50, 60, 70
    with zipfile.ZipFile(tmp_path / "a_RoiSet.zip", "w") as archive:
        for roi in (polygon, rectangle):
            archive.writestr(f"{roi.name}.roi", roi.tobytes())
    first, second = dense(only(Drawings(tmp_path)))
    assert first.sum() == 50
    assert first[4:9, 3:13].all()
    assert second.sum() == 10 * 7
    assert second[50:, 40:].all()


def test_labelme_shapes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    shapes = [
        {"label": "cell", "shape_type": "polygon", "points": [[1, 2], [9, 2], [9, 8], [1, 8]], "group_id": 3},
        {"label": "cell", "shape_type": "rectangle", "points": [[30, 40], [20, 35]], "group_id": 3},
        {"label": "debris", "points": [[5, 5], [15, 5], [15, 15], [5, 15]], "group_id": None},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    record = only(Drawings(tmp_path))
    assert [each.category for each in record.instances] == ["cell", "debris"]
    assert [int(coco_mask.area(each.mask)) for each in record.instances] == [48 + 50, 100]


BAD: dict[str, tuple[str, str]] = {
    "line": ('[{"geometry": {"type": "LineString", "coordinates": [[1, 1], [2, 2]]}}]', "feature 1 is a LineString"),
    "text": ('[{"geometry": {"type": "Polygon", "coordinates": [[["a", 1], [2, 2], [3, 1]]]}}]', "no list of points"),
    "nan": ('[{"geometry": {"type": "Polygon", "coordinates": [[[NaN, 1], [2, 2], [3, 1]]]}}]', "no number"),
    "far": ('[{"geometry": {"type": "Polygon", "coordinates": [[[1e9, 1], [2, 2], [3, 1]]]}}]', "far outside"),
    "outside": ('[{"geometry": {"type": "Polygon", "coordinates": [[[90, 1], [99, 2], [93, 9]]]}}]', "covers no pixel"),
    "two points": ('[{"geometry": {"type": "Polygon", "coordinates": [[[9, 1], [9, 2]]]}}]', "three points"),
    "no features": ('{"type": "FeatureCollection"}', "no list of features"),
    "no json": ("{", "is no JSON file"),
    "empty entry": ("[null]", "feature 1 is a None"),
}


@pytest.mark.parametrize("defect", BAD)
def test_unsound_file_is_named(tmp_path: Path, defect: str) -> None:
    text, message = BAD[defect]
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        list(Drawings(tmp_path))
    assert "a.geojson" in str(caught.value)


def test_every_image_has_one_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no file of drawn objects"):
        Drawings(tmp_path)
    (tmp_path / "a.geojson").write_text("[]")
    with pytest.raises(InputError, match=r"a\.geojson has no image"):
        Drawings(tmp_path)
    for name in "ab":
        write_image(tmp_path / f"{name}.png", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"b\.png has no file of drawn objects"):
        Drawings(tmp_path)
    (tmp_path / "b.png").unlink()
    (tmp_path / "a.json").write_text('{"shapes": []}')
    with pytest.raises(InputError, match=r"several files \(a\.geojson, a\.json\)"):
        Drawings(tmp_path)
