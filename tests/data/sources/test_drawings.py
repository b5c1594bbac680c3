"""What is exported, corrected in another program and read again: the masks are the same, but for the correction."""

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import roifile
import tifffile
import torch
from pycocotools import mask as coco_mask
from scipy import ndimage
from skimage.draw import disk

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


def test_a_folder_of_results_is_read_beside_all_else_that_predict_leaves_in_it(tmp_path: Path) -> None:
    masks = exported(tmp_path, "geojson")
    for name in ("settings.json", "predictions.json", "measurements.csv", "report.html", "plate.1.overlay.png"):
        (tmp_path / name).write_text("{}")
    assert sorted_masks(dense(only(Drawings(tmp_path)))) == sorted_masks(masks)


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
    corners = [[4.2, 3.0], [20.0, 3.5], [12.0, 30.1]]
    drawn = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    content["features"].append({"type": "Feature", "geometry": drawn, "properties": {"objectType": "annotation"}})
    file.write_text(json.dumps(content))
    record = only(Drawings(tmp_path, category="new"))
    assert sorted_masks(dense(record)[:-1]) == sorted_masks(np.delete(masks, 1, axis=0))
    assert record.instances[-1].category == "new"
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    (ax, ay), (bx, by), (cx, cy) = corners
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


def labelme_mask(mask: npt.NDArray[np.bool_], left: int, top: int) -> dict[str, Any]:
    corners = [[left, top], [left + mask.shape[1] - 1, top + mask.shape[0] - 1]]
    packed = base64.b64encode(imagecodecs.png_encode(mask.astype(np.uint8) * 255)).decode()
    return {"label": "cell", "shape_type": "mask", "points": corners, "mask": packed}


def test_labelme_circles_and_masks(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    mask = np.random.default_rng(2).random((11, 8)) < 0.5
    circle = {"label": "cell", "shape_type": "circle", "points": [[20.3, 31.1], [26.9, 27.4]]}
    shapes = [circle, labelme_mask(mask, 30, 55), labelme_mask(mask, -3, 4)]
    (tmp_path / "a.json").write_text(json.dumps({"shapes": shapes}))
    round_, low, left = dense(only(Drawings(tmp_path)))
    expected = np.zeros(SHAPE, bool)
    expected[disk((31.1 - 0.5, 20.3 - 0.5), np.hypot(6.6, 3.7), shape=SHAPE)] = True
    np.testing.assert_array_equal(round_, expected)
    np.testing.assert_array_equal(low[55:, 30:38], mask[:5])
    np.testing.assert_array_equal(left[4:15, :5], mask[:, 3:])
    assert (low.sum(), left.sum()) == (mask[:5].sum(), mask[:, 3:].sum())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape_type": "point", "points": [[3, 4]]}, "shape 1 is a point"),
        ({"shape_type": "line", "points": [[3, 4], [9, 9]]}, "shape 1 is a line"),
        ({"shape_type": "linestrip", "points": [[3, 4], [9, 9], [4, 9]]}, "shape 1 is a linestrip"),
        ({"shape_type": "points", "points": [[3, 4], [9, 9], [4, 9]]}, "shape 1 is a points"),
        ({"shape_type": "circle", "points": [[3, 4]]}, "a circle, which has two points"),
        ({"shape_type": "circle", "points": [[3, 4], [3, 1e9]]}, "far outside"),
        ({"shape_type": "circle", "points": [[3, 4], [3.1, 4]]}, "covers no pixel"),
        ({"points": [[1, 2], [4, 5]]}, "unreadable mask"),
        ({"mask": "?"}, "unreadable mask"),
        ({"mask": None}, "unreadable mask"),
        ({"points": [[1, 2]]}, "its corners"),
    ],
)
def test_labelme_shapes_that_are_no_areas(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    shape = labelme_mask(np.ones((3, 4), bool), 1, 1) | change
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [shape]}))
    with pytest.raises(InputError, match=said) as caught:
        list(Drawings(tmp_path))
    assert "a.json: shape 1" in str(caught.value)


def test_layers_keep_their_categories_through_corrections(tmp_path: Path) -> None:
    masks = exported(tmp_path, "label_layers")
    file = tmp_path / "plate.1.layers.tif"
    source = Drawings(tmp_path)
    assert source.categories == ["cell", "nucleus"]
    named = zip(dense(only(source)), [each.category for each in only(source).instances], strict=True)
    assert sorted((name, mask.tobytes()) for mask, name in named) == sorted(
        (("cell", "nucleus")[index % 2 == 0], mask.tobytes()) for index, mask in enumerate(masks)
    )
    pages = tifffile.imread(file)
    with tifffile.TiffFile(file) as tiff:
        description = tiff.pages.first.description
    pages[pages == 3] = 0
    tifffile.imwrite(file, pages, photometric="minisblack", description=description, metadata=None)
    assert [each.category for each in only(Drawings(tmp_path)).instances].count("nucleus") == 2
    pages[0, :2, :2] = 70
    tifffile.imwrite(file, pages, photometric="minisblack", description=description, metadata=None)
    with pytest.raises(InputError, match="has the number 70, but says no category"):
        list(Drawings(tmp_path))
    tifffile.imwrite(file, pages.astype(np.float32), imagej=True)
    source = Drawings(tmp_path, category="thing")
    assert {each.category for each in only(source).instances} == set(source.categories) == {"thing"}
    assert "says no categories" in source.reading.notes.lines()[0]


def test_layers_of_one_category_take_new_numbers(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    labels = np.zeros(SHAPE, np.uint16)
    labels[3:9, 3:9], labels[20:29, 3:9] = 1, 5
    text = json.dumps({"categories": {"yeast": "1-3"}})
    tifffile.imwrite(tmp_path / "a.layers.tif", labels, description=text, metadata=None)
    assert [each.category for each in only(Drawings(tmp_path)).instances] == ["yeast", "yeast"]
    for damage in ("3-1", "x", "1-99999999999", "-4"):
        text = json.dumps({"categories": {"yeast": damage}})
        tifffile.imwrite(tmp_path / "a.layers.tif", labels, description=text, metadata=None)
        with pytest.raises(InputError, match=r"a\.layers\.tif has categories that are no ranges"):
            Drawings(tmp_path)


def test_what_qupath_says_besides(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    square = {"type": "Polygon", "coordinates": [[[4, 3], [20, 3], [20, 30], [4, 30], [4, 3]]]}
    cell = {"type": "Feature", "geometry": square, "nucleusGeometry": square, "properties": {"objectType": "cell"}}
    (tmp_path / "a.geojson").write_text(json.dumps([cell]))
    source = Drawings(tmp_path)
    assert len(only(source).instances) == 1
    assert "nuclei of QuPath's cells are left out" in source.reading.notes.lines()[0]
    above = {"type": "Feature", "geometry": {**square, "plane": {"c": -1, "z": 2, "t": 0}}}
    (tmp_path / "a.geojson").write_text(json.dumps([above, above]))
    assert len(only(Drawings(tmp_path)).instances) == 2
    (tmp_path / "a.geojson").write_text(json.dumps([cell, above]))
    with pytest.raises(InputError, match="on 2 planes of a stack"):
        Drawings(tmp_path)


SQUARE = {"type": "Polygon", "coordinates": [[[4, 3], [20, 3], [20, 30], [4, 30], [4, 3]]]}


@pytest.mark.parametrize(
    ("classification", "category"),
    [
        ({"name": "a"}, "a"),
        ({"names": ["a", "b"]}, "a: b"),
        ("a", "a"),
        ({"name": None}, "cell"),
        (None, "cell"),
        (7, "cell"),
    ],
)
def test_classes_as_versions_of_qupath_write_them(tmp_path: Path, classification: Any, category: str) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    plane = {"plane": {"z": None, "t": "first"}}  # no numbers: they say nothing
    feature = {"type": "Feature", "geometry": SQUARE | plane, "properties": {"classification": classification}}
    (tmp_path / "a.geojson").write_text(json.dumps(feature))  # one alone is no collection
    assert [each.category for each in only(Drawings(tmp_path)).instances] == [category]


def test_labelme_files_of_another_image_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    shapes = [{"label": "cell", "points": SQUARE["coordinates"][0]}]  # type: ignore[index]
    said = {"shapes": shapes, "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]}
    (tmp_path / "a.json").write_text(json.dumps(said))
    assert len(only(Drawings(tmp_path)).instances) == 1
    (tmp_path / "a.json").write_text(json.dumps(said | {"imageHeight": 640}))
    with pytest.raises(InputError, match=r"a\.json says 640x47"):
        list(Drawings(tmp_path))


def test_all_files_at_fault_are_told_at_once(tmp_path: Path) -> None:
    for name in "abc":
        write_image(tmp_path / f"{name}.png", np.zeros(SHAPE, np.uint8))
        (tmp_path / f"{name}.geojson").write_text("{")
    with pytest.raises(InputError, match="has 3 faults"):
        Drawings(tmp_path)
    for name in "abc":
        (tmp_path / f"{name}.geojson").unlink()
        (tmp_path / f"{name}x.geojson").write_text("[]")
    with pytest.raises(InputError, match="has 6 faults"):
        Drawings(tmp_path)


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
