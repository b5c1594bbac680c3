import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.sources.coco import Coco
from gains.errors import InputError
from helpers.sources import SIZE, dense, only


def test_polygons_and_rle_become_the_same_masks(tmp_path: Path, write_coco: Any, masks: Any, pixels: Any) -> None:
    source = Coco(write_coco(tmp_path))
    record = only(source)
    assert record.name == "a"
    assert source.categories == ["nucleus", "cell"]
    assert [instance.category for instance in record.instances] == ["cell", "nucleus"]
    np.testing.assert_array_equal(dense(record), masks)
    np.testing.assert_array_equal(record.pixels, pixels)
    assert record.extra == {"stain": "DAPI"}
    assert [instance.extra for instance in record.instances] == [{"iscrowd": 0, "source": 3}, {}]


def test_several_polygons_are_one_mask(tmp_path: Path, write_coco: Any, coco: dict[str, Any], masks: Any) -> None:
    coco["annotations"] = coco["annotations"][:1]
    coco["annotations"][0]["segmentation"] = [[2, 3, 7, 3, 7, 9, 2, 9], [7, 3, 12, 3, 12, 9, 7, 9]]
    np.testing.assert_array_equal(dense(only(Coco(write_coco(tmp_path, coco)))), masks[:1])


def test_compressed_rle_is_kept(tmp_path: Path, write_coco: Any, coco: dict[str, Any], masks: Any) -> None:
    packed = coco_mask.encode(np.asfortranarray(masks[1]))
    coco["annotations"][1]["segmentation"] = {"size": list(SIZE), "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(dense(only(Coco(write_coco(tmp_path, coco)))), masks)


def test_images_may_lie_in_an_archive_and_a_sub_folder(tmp_path: Path, write_coco: Any, pixels: Any) -> None:
    path = write_coco(tmp_path)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "images" / "a.png", "deep/down/a.png")
    np.testing.assert_array_equal(only(Coco(path, tmp_path / "images.zip")).pixels, pixels)


def test_equal_stems_keep_their_folder_in_the_name(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    second = coco["images"][0] | {"id": 8, "file_name": "day2/a.png"}
    coco["images"] = [coco["images"][0] | {"file_name": "day1/a.png"}, second]
    path = write_coco(tmp_path, coco)
    for day in ("day1", "day2"):
        (tmp_path / "images" / day).mkdir()
        (tmp_path / "images" / day / "a.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    assert [record.name for record in Coco(path)] == ["day1_a", "day2_a"]


def test_real_file_agrees_with_pycocotools(shared: Path) -> None:
    folder = shared / "data/fixture/isbi"
    reference = COCO(folder / "annotations.json")
    for record, image in zip(Coco(folder), reference.dataset["images"], strict=True):
        expected = [reference.annToMask(entry) for entry in reference.imgToAnns[image["id"]]]
        np.testing.assert_array_equal(dense(record), expected)


Change = Callable[[dict[str, Any]], Any]
BAD: dict[str, tuple[Change, str]] = {
    "unknown image": (lambda c: c["annotations"][1].update(image_id=999), "annotation 2 has image_id 999"),
    "unknown category": (lambda c: c["annotations"][1].update(category_id=9), "annotation 2 has category_id 9"),
    "empty": (lambda c: c["annotations"][1].update(segmentation=[]), "annotation 2 has an empty segmentation"),
    "no mask": (lambda c: c["annotations"][1].pop("segmentation"), "annotation 2 has an empty segmentation"),
    "two points": (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, 9]]), "polygon of 4 numbers"),
    "odd": (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, 9, 1, 9, 4]]), "polygon of 7 numbers"),
    "nan": (lambda c: c["annotations"][1].update(segmentation=[[1, 1, 9, float("nan"), 1, 9]]), "no finite number"),
    "text": (lambda c: c["annotations"][1].update(segmentation="1 1 9 9"), "neither a list of polygons nor RLE"),
    "off the image": (
        lambda c: c["annotations"][1].update(segmentation=[[90, 90, 95, 90, 95, 95]]),
        "annotation 2 has a segmentation that covers no pixel",
    ),
    "other size": (lambda c: c["annotations"][1]["segmentation"].update(size=[9, 9]), "RLE of size"),
    "short runs": (lambda c: c["annotations"][1]["segmentation"].update(counts=[5, 5]), "annotation 2 has unreadable"),
    "broken text": (lambda c: c["annotations"][1]["segmentation"].update(counts="0"), "annotation 2 has unreadable"),
    "no height": (lambda c: c["images"][0].pop("height"), "image 7 needs height and width"),
    "same id": (lambda c: c["images"].append(dict(c["images"][0])), "image id 7 occurs twice"),
    "outside": (lambda c: c["images"][0].update(file_name="../a.png"), "lies outside"),
    "absolute": (lambda c: c["images"][0].update(file_name="/etc/a.png"), "lies outside"),
    "no list": (lambda c: c.pop("categories"), "has no list 'categories'"),
    "same category": (lambda c: c["categories"][0].update(name="nucleus"), "differ in id and in name"),
    "not there": (lambda c: c["images"][0].update(file_name="b.png"), "lists the image b.png"),
    "other shape": (lambda c: c["images"][0].update(height=32, width=24) or c["annotations"].clear(), "says 32x24"),
}


@pytest.mark.parametrize("defect", BAD)
def test_unsound_file_is_named(tmp_path: Path, write_coco: Any, coco: dict[str, Any], defect: str) -> None:
    change, message = BAD[defect]
    change(coco)
    path = write_coco(tmp_path, coco)
    with pytest.raises(InputError) as caught:
        list(Coco(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("{", "is no JSON file"), ("[]", "has no list 'images'")])
def test_file_that_is_not_coco(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        Coco(tmp_path / "a.json")


def test_folder_must_say_which_file(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(InputError, match="it has 2"):
        Coco(tmp_path)
    with pytest.raises(InputError, match=r"dataset\.source is not set"):
        Coco(None)


def test_prepared_folder_keeps_the_ids_of_its_source(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    path = write_coco(tmp_path, coco)
    prepared = prepare(Coco(path), tmp_path / "out", seed=1, ratios=(1, 0, 0), categories=["cell", "nucleus"])
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert written["categories"] == coco["categories"]
    assert [entry["id"] for entry in written["images"]] == [7]
    assert [(entry["image_id"], entry["category_id"]) for entry in written["annotations"]] == [(7, 40), (7, 12)]
    assert prepared.instances == {"cell": 1, "nucleus": 1}
    loaded = load_annotations(tmp_path / "out", ["nucleus"])
    assert (loaded.category_ids, [entry["label"] for entry in loaded.objects["a"]]) == ([12], [1])


def test_an_id_that_is_text_becomes_a_number_of_its_own(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    text = json.loads(json.dumps(coco).replace(": 40", ': "c"').replace('_id": 7', '_id": "x"'))
    text["images"][0]["id"] = "x"
    prepare(Coco(write_coco(tmp_path, text)), tmp_path / "out", seed=1, ratios=(1, 0, 0))
    written = COCO(tmp_path / "out" / "annotations.json")
    assert [entry["name"] for entry in written.loadCats(sorted(written.getCatIds()))] == ["nucleus", "cell"]
    assert all(isinstance(number, int) for number in (*written.getImgIds(), *written.getCatIds()))
    assert len(written.getAnnIds(imgIds=written.getImgIds())) == 2
