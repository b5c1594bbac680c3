import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.sources.coco import Coco
from gains.errors import InputError
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.training.callbacks import coco_results, write_predictions
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
    assert (loaded.category_ids, loaded.labels[loaded.rows("a")].tolist()) == ([12], [1])


def test_text_ids_are_kept_and_come_back_in_predictions(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    text = json.loads(
        json.dumps(coco).replace(": 40", ': "c"').replace(": 12", ': "n"').replace('_id": 7', '_id": "x"')
    )
    text["images"][0]["id"] = "x"
    path = write_coco(tmp_path, text)
    prepare(Coco(path), tmp_path / "out", seed=1, ratios=(1, 0, 0))
    annotations = load_annotations(tmp_path / "out")
    number = annotations.images["a"]["id"]
    assert isinstance(number, int)
    boxes = torch.tensor([[2.0, 3, 12, 9], [0, 0, 1, 1]])
    rles, scores = annotations.masks("a"), torch.tensor([0.9, 0.8])
    labels = torch.from_numpy(annotations.labels[annotations.rows("a")]).long()
    found = {"boxes": boxes, "labels": labels, "scores": scores, "rles": rles}
    entries = coco_results(found, number, annotations.category_ids)
    write_predictions(tmp_path / "predictions.json", entries, annotations)
    written = json.loads((tmp_path / "predictions.json").read_text())
    assert {(entry["image_id"], entry["category_id"]) for entry in written} == {("x", "c"), ("x", "n")}
    for file in (path, tmp_path / "out" / "annotations.json"):
        truth = read_ground_truth(file)
        [predictions] = read_predictions(tmp_path / "predictions.json", truth).instances.values()
        [instances] = truth.instances.values()
        assert sorted(zip(predictions.labels, map(str, predictions.masks), strict=True)) == sorted(
            zip(instances.labels, map(str, instances.masks), strict=True)
        )


def test_missing_and_unfit_images_are_told_at_once(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    coco["images"] += [{**coco["images"][0], "id": 8 + index, "file_name": f"gone{index}.png"} for index in range(3)]
    coco["images"][0]["height"] += 1
    coco["annotations"].pop()
    path = write_coco(tmp_path, coco)
    with pytest.raises(InputError) as caught:
        prepare(Coco(path), tmp_path / "out", seed=1, ratios=(1, 0, 0))
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path} has 4 faults:"
    assert ["25x32" in line for line in lines] == [True, False, False, False]
    assert [f"gone{index}.png" in lines[index + 1] for index in range(3)] == [True] * 3
    assert not (tmp_path / "out").exists()


def test_images_that_share_a_file_are_named(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    name = coco["images"][0]["file_name"]
    coco["images"] += [{**coco["images"][0], "id": 30}, {**coco["images"][0], "id": 31, "file_name": "b.png"}]
    coco["images"] += [{**coco["images"][0], "id": 32, "file_name": "b.tif"}]
    path = write_coco(tmp_path, coco)
    with pytest.raises(InputError) as caught:
        Coco(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path} has 2 faults:"
    assert f"images 7, 30 are all called {name}" in lines[1]
    assert "images 31, 32 are all called b.png and b.tif" in lines[2]


def test_files_at_fault_beyond_ten_are_counted(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    coco["images"] += [{**coco["images"][0], "id": 8 + index, "file_name": f"gone{index}.png"} for index in range(30)]
    source = Coco(write_coco(tmp_path, coco))
    with pytest.raises(InputError, match="has 30 faults") as caught:
        list(source)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (12, "  ... and 20 more")


def test_repeated_annotations_are_said(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    source = Coco(write_coco(tmp_path / "once", coco))
    assert source.reading.notes.lines() == []
    coco["annotations"] += [{**entry, "id": 50 + index} for index, entry in enumerate(coco["annotations"])]
    [line] = Coco(write_coco(tmp_path / "twice", coco)).reading.notes.lines()
    assert "2 of its 4 annotations repeat another" in line


def test_some_crowd_regions_are_said(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    coco["annotations"][1]["iscrowd"] = 1
    [line] = Coco(write_coco(tmp_path / "some", coco)).reading.notes.lines()
    assert "1 of its 2 annotations are crowd regions" in line
