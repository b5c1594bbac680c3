"""Every output format, read back by a library that had no part in writing it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import roifile
import shapely
import shapely.affinity
import shapely.geometry
import tifffile
import torch
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from gains.errors import InputError
from gains.export.coco import merge_coco
from gains.export.export import Export
from gains.export.formats import FORMATS, save
from gains.export.overlay import view
from gains.images.raster import ArrayRaster
from gains.masks import InstanceCrops
from gains.prediction.result import Prediction
from helpers.checked import first_page
from helpers.nested import nested

SIZE = (300, 140)  # higher than a band of a label image


def masks_of(count: int = 9) -> npt.NDArray[np.bool_]:
    """Torn and holed masks that overlap, among them a single pixel and two pixels that meet at a corner."""
    noise = np.random.default_rng(0).normal(size=(count, *SIZE))
    masks: npt.NDArray[np.bool_] = ndimage.gaussian_filter(noise, (0, 5, 5)) > 0.06
    masks[0] = masks[1] = False
    masks[0, 299, 139] = True
    masks[1, 10, 10] = masks[1, 11, 11] = True
    return masks


@pytest.fixture
def instances() -> Prediction:
    masks = masks_of()
    crops = InstanceCrops.from_dense(torch.from_numpy(masks))
    labels = np.arange(len(masks)) % 2 + 1
    return Prediction(crops, np.linspace(0.95, 0.5, len(masks)), labels, ["nucleus/dark", "cell"])


def written(instances: Prediction, folder: Path, kind: str) -> Path:
    image = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    [path] = instances.save(folder, "plate.1", [kind], image, pixel_size_um=0.5)
    assert path.name == f"plate.1{FORMATS[kind].suffix}"
    return path


def filled(shape: shapely.Geometry) -> npt.NDArray[np.bool_]:
    """The pixels whose centres a shape contains."""
    x, y = np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5)
    return np.asarray(shapely.contains_xy(shape, x, y))


def test_coco(instances: Prediction, tmp_path: Path) -> None:
    coco = COCO(written(instances, tmp_path, "coco"))
    assert coco.imgs[1] == {"id": 1, "file_name": "plate.1", "height": SIZE[0], "width": SIZE[1]}
    assert [coco.cats[label]["name"] for label in (1, 2)] == ["nucleus/dark", "cell"]
    for index, mask in enumerate(masks_of()):
        annotation = coco.anns[index + 1]
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert annotation["score"] == instances.scores[index]
        assert annotation["category_id"] == instances.labels[index]
        x, y, width, height = annotation["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()


def test_merged_coco(instances: Prediction, tmp_path: Path) -> None:
    paths = [instances.save(tmp_path, name, ["coco"])[0] for name in ("a", "b")]
    merge_coco([(path.name, path) for path in paths], tmp_path / "all.json")
    coco = COCO(tmp_path / "all.json")
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a", "b"]
    for image_id in (1, 2):
        found = coco.loadAnns(coco.getAnnIds(imgIds=image_id))
        np.testing.assert_array_equal([coco.annToMask(annotation) for annotation in found], masks_of())


def test_merged_coco_is_written_as_if_it_were_held_whole(tmp_path: Path) -> None:
    written: list[tuple[str, Path]] = []
    joined: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "ü"}]}
    joined["info"] = {"by": "me"}
    for number, count in enumerate((0, 2, 0, 3), 1):
        own = [{"id": place + 1, "image_id": 1, "score": 0.5 + place} for place in range(count)]
        content = {"info": {"by": "me"}, "images": [{"id": 1, "file_name": f"{number}.png"}], "annotations": own}
        written.append((str(number), tmp_path / f"{number}.json"))
        written[-1][1].write_text(json.dumps({**content, "categories": joined["categories"]}))
        joined["images"].append({"id": number, "file_name": f"{number}.png"})
        for annotation in own:
            joined["annotations"].append({**annotation, "id": len(joined["annotations"]) + 1, "image_id": number})
    merge_coco(written, tmp_path / "all.json")
    assert (tmp_path / "all.json").read_text() == json.dumps(joined)
    merge_coco([], tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == {"images": [], "annotations": [], "categories": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(f"{number}.json" for number in range(1, 5)), "all.json", "none.json"]
    )


def test_labels(instances: Prediction, tmp_path: Path) -> None:
    path = written(instances, tmp_path, "labels")
    labels = tifffile.imread(path)
    masks = masks_of()
    assert labels.dtype == np.uint16
    # Of the masks at a pixel the smallest is on top.
    by_area = np.argsort(masks.sum((1, 2)), kind="stable")
    np.testing.assert_array_equal(labels, np.where(masks.any(0), by_area[masks[by_area].argmax(0)] + 1, 0))
    with tifffile.TiffFile(path) as file:
        assert "resolved by area" in json.loads(first_page(file).description)["overlaps"]


def test_label_layers(instances: Prediction, tmp_path: Path) -> None:
    path = written(instances, tmp_path, "label_layers")
    layers = tifffile.imread(path)
    for index, mask in enumerate(masks_of()):
        pages = [page for page in layers if (page == index + 1).any()]
        assert len(pages) == 1
        np.testing.assert_array_equal(pages[0] == index + 1, mask)
    _, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)  # type: ignore[assignment]
    np.testing.assert_array_equal(np.stack(pages), layers)


@pytest.mark.parametrize("kind", ["labels", "label_layers"])
def test_label_images_know_the_size_of_a_pixel(instances: Prediction, tmp_path: Path, kind: str) -> None:
    (calibrated,) = instances.save(tmp_path, "calibrated", [kind], pixel_size_um=0.25)
    with Image.open(calibrated) as image:
        assert [float(per_inch) for per_inch in image.info["dpi"]] == pytest.approx([25400 / 0.25] * 2)
    (plain,) = instances.save(tmp_path, "plain", [kind])
    np.testing.assert_array_equal(tifffile.imread(plain), tifffile.imread(calibrated))
    with Image.open(plain) as image:
        assert "dpi" not in image.info


def test_label_layers_without_overlap_are_one_page(tmp_path: Path) -> None:
    masks = np.zeros((3, *SIZE), bool)
    masks[0, :9], masks[1, 9:20], masks[2, 290:] = True, True, True
    apart = Prediction(InstanceCrops.from_dense(torch.from_numpy(masks)), np.ones(3), np.ones(3, np.int64))
    [path] = apart.save(tmp_path, "apart", ["label_layers"])
    assert tifffile.imread(path).shape == SIZE


def test_more_than_65535_instances_need_32_bits(tmp_path: Path) -> None:
    count = 65536
    pixels = np.arange(count)
    boxes = torch.from_numpy(np.stack([pixels % 512, pixels // 512, pixels % 512 + 1, pixels // 512 + 1], axis=1))
    crops = InstanceCrops(torch.ones(count, dtype=torch.uint8), boxes, (128, 512))
    many = Prediction(crops, np.linspace(1, 0.5, count), np.ones(count, np.int64))
    [path] = many.save(tmp_path, "many", ["labels"])
    np.testing.assert_array_equal(tifffile.imread(path), np.arange(1, count + 1, dtype=np.uint32).reshape(128, 512))


def test_imagej(instances: Prediction, tmp_path: Path) -> None:
    rois = roifile.roiread(written(instances, tmp_path, "imagej"))
    for index, (roi, mask) in enumerate(zip(rois, masks_of(), strict=True)):  # type: ignore[arg-type]
        assert roi.name.startswith(f"{index + 1:05d}_{instances.categories[index % 2].replace('/', '-')}_")
        rings = roi.coordinates(multi=True)
        # ImageJ fills composite shapes by the even-odd rule: a ring inside another is a hole.
        area = shapely.Polygon()
        for ring in rings:
            area = area.symmetric_difference(shapely.Polygon(ring))
        np.testing.assert_array_equal(filled(area), mask)
        rows, columns = np.nonzero(mask)
        assert (roi.left, roi.top, roi.right, roi.bottom) == (
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        )


def test_geojson(instances: Prediction, tmp_path: Path) -> None:
    features = json.loads(written(instances, tmp_path, "geojson").read_text())["features"]
    for index, (feature, mask) in enumerate(zip(features, masks_of(), strict=True)):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == mask.sum()
        np.testing.assert_array_equal(filled(shape), mask)
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["classification"]["name"] == instances.categories[index % 2]
        assert properties["measurements"]["area_um2"] == mask.sum() / 4


def test_csv(instances: Prediction, tmp_path: Path) -> None:
    table = pd.read_csv(written(instances, tmp_path, "csv"), dtype={"overlap_ids": str}, keep_default_na=False)
    masks = masks_of()
    assert table.id.tolist() == list(range(1, len(masks) + 1))
    assert table.area.tolist() == masks.sum((1, 2)).tolist()
    assert table.area_um2.tolist() == (masks.sum((1, 2)) / 4).tolist()
    assert table.category.tolist()[:2] == ["nucleus/dark", "cell"]


def test_overlay_shows_instances_and_leaves_the_rest(tmp_path: Path) -> None:
    mask = np.zeros((420, 400), bool)
    mask[100:200, 50:300] = True
    image = np.random.default_rng(1).integers(0, 255, (420, 400, 3), dtype=np.uint8)
    one = Prediction(InstanceCrops.from_dense(torch.from_numpy(mask[None])), np.ones(1), np.ones(1, np.int64))
    [path] = one.save(tmp_path, "one", ["overlay"], image)
    drawn = cv2.imread(str(path))[:, :, ::-1]  # type: ignore[index]
    rest = ~mask
    rest[360:, 280:] = False  # where the scale bar is
    np.testing.assert_array_equal(drawn[rest], image[rest])
    assert (drawn[360:, 280:] != image[360:, 280:]).any()
    assert (drawn[mask] != image[mask]).any(axis=1).mean() > 0.9


def test_overlay_of_a_large_image_is_smaller_and_in_step(tmp_path: Path) -> None:
    mask = np.zeros((90, 10000), bool)
    mask[31:61, 5003:7001] = True
    image = np.where(mask, 200, 0).astype(np.uint8)
    masks = InstanceCrops.from_dense(torch.from_numpy(mask[None]))
    picture, shrunk = view(masks, ArrayRaster(image), 4096)
    assert picture.shape == (30, 3334, 3)
    np.testing.assert_array_equal(shrunk.dense()[0].numpy() > 0, picture[:, :, 0] == 200)


@pytest.mark.parametrize("kind", FORMATS)
def test_no_instances(kind: str, tmp_path: Path) -> None:
    none = Prediction(InstanceCrops.from_dense(torch.zeros(0, *SIZE)), np.zeros(0), np.zeros(0, np.int64))
    path = written(none, tmp_path, kind)
    if kind in ("labels", "label_layers", "category_labels"):
        assert tifffile.imread(path).shape == SIZE
        assert tifffile.imread(path).max() == 0
    elif kind == "coco":
        assert COCO(path).anns == {}
    elif kind == "geojson":
        assert json.loads(path.read_text())["features"] == []
    elif kind == "csv":
        assert len(pd.read_csv(path)) == 0
    elif kind == "imagej":
        assert path.read_bytes()[:2] == b"PK"
    else:
        with Image.open(path) as picture:
            assert picture.size == (2 * SIZE[1], 2 * SIZE[0])


def test_unknown_format(instances: Prediction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'pdf' is unknown; use any of coco, labels"):
        instances.save(tmp_path, "x", ["pdf"])


def test_overlay_needs_the_image(instances: Prediction, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the image"):
        save(Export(instances), tmp_path, "x", ["overlay"])


def test_a_nucleus_is_seen_in_its_cell(tmp_path: Path) -> None:
    [path] = nested().save(tmp_path, "a", ["labels"])
    labels = tifffile.imread(path)
    assert (labels == 2).sum() == 30
    # Every instance has a pixel, so the file says that none is missing.
    with tifffile.TiffFile(path) as file:
        assert json.loads(first_page(file).description)["without a pixel"] == "none"


def test_instances_without_a_pixel_are_named(tmp_path: Path) -> None:
    masks = np.zeros((3, 10, 12), bool)
    masks[0, 2:8, 2:10] = True
    masks[1, 2:8, 2:6] = masks[2, 2:8, 6:10] = True  # both halves of the first
    covered = Prediction(InstanceCrops.from_dense(torch.from_numpy(masks)), np.ones(3), np.ones(3, np.int64))
    [path] = covered.save(tmp_path, "a", ["labels"])
    assert set(np.unique(tifffile.imread(path))) == {0, 2, 3}
    with tifffile.TiffFile(path) as file:
        assert json.loads(first_page(file).description)["without a pixel"] == "1"


def test_rois_far_from_the_corner(tmp_path: Path) -> None:
    """Beyond what 16 bits hold."""
    boxes = torch.tensor([[69_990, 2, 69_994, 5], [20, 1, 25, 3]])
    crops = InstanceCrops(torch.ones(22, dtype=torch.uint8), boxes, (8, 70_000))
    wide = Prediction(crops, np.array([0.9, 0.8]), np.ones(2, np.int64))
    [path] = wide.save(tmp_path, "wide", ["imagej"])
    for roi, box in zip(roifile.roiread(path), boxes.tolist(), strict=True):  # type: ignore[arg-type]
        ring = np.asarray(roi.coordinates(multi=True)[0])
        assert [*ring.min(axis=0), *ring.max(axis=0)] == box


def test_a_page_per_category(tmp_path: Path) -> None:
    found = nested()
    [path] = found.save(tmp_path, "a", ["category_labels"])
    cells, nuclei = tifffile.imread(path)
    # The second cell is the smaller, so it is whole.
    np.testing.assert_array_equal(cells, np.where(found.mask(2), 3, np.where(found.mask(0), 1, 0)))
    np.testing.assert_array_equal(nuclei, np.where(found.mask(1), 2, 0))
    with tifffile.TiffFile(path) as file:
        note = json.loads(first_page(file).description)
    assert (note["pages"], note["without a pixel"]) == ("cell, nucleus", "none")


def test_an_outline_of_too_many_corners_for_a_polygon_roi(tmp_path: Path) -> None:
    mask = np.zeros((3, 40_000), bool)
    mask[0] = True
    mask[1:, ::2] = True
    one = Prediction(InstanceCrops.from_dense(torch.from_numpy(mask[None])), np.ones(1), np.ones(1, np.int64))
    [path] = one.save(tmp_path, "comb", ["imagej"])
    roi = roifile.roiread(path)
    roi = roi[0] if isinstance(roi, list) else roi
    [ring] = roi.coordinates(multi=True)
    assert shapely.Polygon(ring).area == mask.sum()
