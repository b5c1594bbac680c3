"""Reading ground truth and predictions, and what is said about bad ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask

from gains.errors import InputError
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.rle import decode_crop
from helpers.metric_scenes import rectangles

BOXES = [(0, 0, 8, 8), (5, 5, 12, 12)]


def rle(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def coco() -> dict[str, Any]:
    """Two images, two categories with ids 0 and 7, an annotation in each of the three forms."""
    first, second = rectangles(BOXES)
    polygon = [[0, 0, 8, 0, 8, 8, 0, 8]]
    runs = [0, 3, 400 - 3]
    return {
        "images": [
            {"id": 3, "file_name": "a/x.png", "height": 20, "width": 20},
            {"id": 5, "file_name": "a/y.1.png", "height": 20, "width": 20},
        ],
        "categories": [{"id": 7, "name": "nucleus"}, {"id": 0, "name": "cell"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 0, "segmentation": rle(first), "bbox": [0, 0, 8, 8], "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 7, "segmentation": rle(second), "iscrowd": 1},
            {"id": 4, "image_id": 5, "category_id": 0, "segmentation": polygon},
            {"id": 6, "image_id": 5, "category_id": 0, "segmentation": {"size": [20, 20], "counts": runs}},
        ],
    }


def results() -> list[dict[str, Any]]:
    return [{"image_id": 3, "category_id": 7, "segmentation": rle(rectangles(BOXES)[0]), "score": 0.25}]


def save(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_coco_ground_truth_in_all_three_forms(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    assert truth.categories == {1: "cell", 2: "nucleus"}
    assert (truth.instances[3].labels, truth.instances[3].iscrowd) == ([1, 2], [0, 1])
    assert truth.instances[3].boxes == [[0, 0, 8, 8], [5, 5, 12, 12]]
    assert [decode_crop(mask)[0].sum() for mask in truth.instances[5].masks] == [64, 3]
    alone = read_ground_truth(tmp_path / "gt.json", category="nucleus")
    assert (alone.categories, alone.instances[3].labels, alone.instances[5].labels) == ({1: "nucleus"}, [1], [])


def test_results_list_and_full_file(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    listed = read_predictions(save(tmp_path / "list.json", results()), truth)
    assert (listed.instances[3].labels, listed.instances[3].scores, listed.instances[5].masks) == ([2], [0.25], [])
    assert listed.notes == []
    assert read_predictions(save(tmp_path / "none.json", []), truth).instances[3].masks == []
    # Another tool's numbering of images and categories, matched by name.
    full = {
        "images": [{"id": 1, "file_name": "y.1.tif"}],
        "categories": [{"id": 1, "name": "nucleus"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": rle(rectangles(BOXES)[0])}],
    }
    named = read_predictions(save(tmp_path / "full.json", full), truth)
    assert (named.instances[5].labels, named.instances[5].scores, named.instances[3].masks) == ([2], [1.0], [])
    assert "1 predictions" in named.notes[0]


def test_an_empty_predicted_mask_is_kept(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    for empty in (rle(np.zeros((20, 20), bool)), {"size": [20, 20], "counts": [400]}):
        path = save(tmp_path / "pred.json", [results()[0] | {"segmentation": empty}])
        assert coco_mask.area(read_predictions(path, truth).instances[3].masks)[0] == 0


def label_folder(folder: Path, suffix: str = ".tif", names: tuple[str, ...] = ("x", "y.1")) -> Path:
    folder.mkdir()
    labels = np.zeros((20, 20), np.uint16)
    labels[:8, :8], labels[10:, 10:] = 3, 500
    for name in names:
        if suffix == ".png":
            Image.fromarray(labels).save(folder / f"{name}.png")
        else:
            tifffile.imwrite(folder / f"{name}{suffix}", labels)
    return folder


@pytest.mark.parametrize("suffix", [".png", ".tif", "_masks.tif"])
def test_label_folders_on_either_side(tmp_path: Path, suffix: str) -> None:
    folder = label_folder(tmp_path / "labels", suffix)
    truth = read_ground_truth(folder)
    assert (truth.names, truth.categories, truth.sizes[1]) == ({1: "x", 2: "y.1"}, {1: "object"}, (20, 20))
    assert [decode_crop(mask)[0].sum() for mask in truth.instances[2].masks] == [64, 100]
    assert len(read_predictions(folder, truth).instances[2].masks) == 2
    by_name = [results()[0] | {"image_id": "y.1"}]
    assert len(read_predictions(save(tmp_path / "list.json", by_name), truth).instances[2].masks) == 1
    cells = read_ground_truth(save(tmp_path / "gt.json", coco()), category="cell")
    predictions = read_predictions(folder, cells)
    assert (len(predictions.instances[3].masks), predictions.instances[5].scores) == (2, [1.0, 1.0])


def test_planes_of_a_tiff_stack_hold_overlapping_instances(tmp_path: Path) -> None:
    layers = np.zeros((2, 20, 20), np.uint16)
    layers[0, :8, :8], layers[1, 4:12, 4:12] = 1, 2
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "x.tif", layers)
    truth = read_ground_truth(tmp_path / "labels")
    assert [decode_crop(mask)[1] for mask in truth.instances[1].masks] == [(0, 0, 8, 8), (4, 4, 12, 12)]


def test_a_missing_label_image_is_noted(tmp_path: Path) -> None:
    truth = read_ground_truth(label_folder(tmp_path / "truth"))
    predictions = read_predictions(label_folder(tmp_path / "found", names=("x",)), truth)
    assert predictions.instances[2].masks == []
    assert predictions.predicted == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 4}, "prediction 1 has image_id 4"),
        ({"image_id": [3]}, "prediction 1 has image_id"),
        ({"category_id": 1}, "prediction 1 has category_id 1"),
        ({"score": None}, "prediction 1 has score None"),
        ({"score": float("nan")}, "prediction 1 has score nan"),
        ({"score": "high"}, "prediction 1 has score 'high'"),
        ({"score": float("-inf")}, "prediction 1 has score -inf"),
        ({"score": 10**400}, "prediction 1 has score 1000"),
        ({"score": -0.01}, r"prediction 1 has score -0\.01; .* at least 0"),
        ({"score": True}, "prediction 1 has score True"),
        ({"score": [0.5]}, "prediction 1 has score"),
        ({"bbox": [1, 2, float("inf"), 3]}, "prediction 1 has bbox"),
        ({"bbox": [1, 2, 4, -3]}, "prediction 1 has bbox"),
        ({"segmentation": None}, "prediction 1 has no segmentation"),
        ({"segmentation": {"size": [10, 20], "counts": "a"}}, r"prediction 1 has RLE of size \[10, 20\]"),
        ({"segmentation": {"size": [20, 20], "counts": "0a"}}, "prediction 1 has unreadable RLE"),
        ({"bbox": [1, 2, 3]}, "prediction 1 has bbox"),
        ({"id": 12, "image_id": 4}, "annotation 12 has image_id 4"),
    ],
)
def test_a_bad_prediction_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    path = save(tmp_path / "pred.json", [results()[0] | change])
    with pytest.raises(InputError, match=message) as error:
        read_predictions(path, truth)
    assert str(path) in str(error.value)


def test_a_negative_score_in_a_file_with_images_is_named(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    content = coco()
    content["annotations"][-1]["score"] = -2
    with pytest.raises(InputError, match="has score -2"):
        read_predictions(save(tmp_path / "pred.json", content), truth)


def test_bad_files_are_named(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()))
    bad: dict[str, Any] = {
        "has no list 'images'": {"annotations": []},
        "holds results, not predictions": {"metrics": {}},
        "has the image z.png": {"images": [{"id": 1, "file_name": "z.png"}], "categories": [], "annotations": []},
        "has the category cat": coco() | {"categories": [{"id": 1, "name": "cat"}]},
        "entry 1 must be an object": [3],
    }
    for message, content in bad.items():
        if "has the image" in message:
            content["categories"] = coco()["categories"]
        with pytest.raises(InputError, match=message):
            read_predictions(save(tmp_path / "bad.json", content), truth)
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(InputError, match=r"cut\.json is no JSON file"):
        read_predictions(tmp_path / "cut.json", truth)
    with pytest.raises(InputError, match=r"ground_truth=.*nowhere does not exist"):
        read_ground_truth(tmp_path / "nowhere")
    with pytest.raises(InputError, match="category=tissue is not in"):
        read_ground_truth(tmp_path / "gt.json", category="tissue")
    twice = coco()
    twice["images"][1]["id"] = 3
    with pytest.raises(InputError, match="image id 3 occurs twice"):
        read_ground_truth(save(tmp_path / "twice.json", twice))


def test_bad_label_folders_are_named(tmp_path: Path) -> None:
    truth = read_ground_truth(label_folder(tmp_path / "truth"))
    with pytest.raises(InputError, match=r"z\.tif has the image z, which"):
        read_predictions(label_folder(tmp_path / "more", names=("z",)), truth)
    small = tmp_path / "small"
    small.mkdir()
    with pytest.raises(InputError, match="small holds no label images"):
        read_predictions(small, truth)
    tifffile.imwrite(small / "x.tif", np.ones((10, 20), np.uint8))
    with pytest.raises(InputError, match=r"is 10x20 pixels, but its image in .* is 20x20"):
        read_predictions(small, truth)
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(small / "x.png")
    (small / "x.tif").unlink()
    with pytest.raises(InputError, match=r"x\.png has shape"):
        read_predictions(small, truth)
    (small / "x.png").unlink()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(small / "x.jpg")
    with pytest.raises(InputError, match=r"x\.jpg is compressed with loss"):
        read_predictions(small, truth)
    (small / "x.jpg").unlink()
    Image.fromarray(np.eye(20, dtype=np.uint8)).save(small / "x.bmp")
    assert len(read_predictions(small, truth).predicted) == 1
    several = read_ground_truth(save(tmp_path / "gt.json", coco()))
    with pytest.raises(InputError, match="category=NAME"):
        read_predictions(tmp_path / "truth", several)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dangling_image_id", "annotation 2 has image_id 999"),
        ("empty_segmentation", "annotation 2 has an empty segmentation"),
        ("polygon_two_points", "annotation 2 has a polygon of 4 numbers"),
        ("rle_wrong_size", "annotation 2 has RLE of size"),
        ("undeclared_category", "annotation 2 has category_id 7"),
    ],
)
def test_each_corrupt_file_gives_one_clear_error(shared: Path, name: str, message: str) -> None:
    path = shared / "data" / "fixture" / "corrupt" / f"coco_{name}.json"
    with pytest.raises(InputError, match=message) as error:
        read_ground_truth(path)
    assert str(path) in str(error.value)


def test_category_restricts_predictions_before_they_are_checked(tmp_path: Path) -> None:
    truth = read_ground_truth(save(tmp_path / "gt.json", coco()), "cell")
    found = coco()
    found["categories"].append({"id": 9, "name": "debris"})
    found["annotations"][1] |= {"category_id": 9, "segmentation": []}
    predictions = read_predictions(save(tmp_path / "found.json", found), truth)
    assert [predictions.instances[image].labels for image in (3, 5)] == [[1], [1, 1]]


def test_category_restricts_both_sides_before_anything_is_checked(tmp_path: Path) -> None:
    unsound = coco()
    unsound["annotations"] += [
        {"id": 8, "image_id": 77, "category_id": 7, "segmentation": []},
        {"id": 9, "image_id": 3, "category_id": 7, "segmentation": {"size": [1, 1], "counts": "?"}, "bbox": ["wide"]},
    ]
    truth = read_ground_truth(save(tmp_path / "gt.json", unsound), "cell")
    assert [truth.instances[image].labels for image in (3, 5)] == [[1], [1, 1]]
    with pytest.raises(InputError, match="has 2 faults"):
        read_ground_truth(tmp_path / "gt.json")
    wanted = [entry | {"category_id": 0} for entry in results()]
    others = [{"image_id": 5, "category_id": 7, "score": "high"}, {"image_id": 99, "category_id": 41}]
    found = read_predictions(save(tmp_path / "found.json", wanted + others), truth)
    assert [len(found.instances[image].masks) for image in (3, 5)] == [1, 0]
    assert found.predicted == {3, 5}


def test_category_restricts_also_where_the_truth_has_no_other(tmp_path: Path) -> None:
    alone = coco()
    alone["categories"], alone["annotations"] = alone["categories"][1:], alone["annotations"][2:]
    truth = read_ground_truth(save(tmp_path / "gt.json", alone), "cell")
    predictions = read_predictions(save(tmp_path / "found.json", coco()), truth)
    assert [predictions.instances[image].labels for image in (3, 5)] == [[1], [1, 1]]
    with pytest.raises(InputError, match="has the category nucleus"):
        read_predictions(tmp_path / "found.json", read_ground_truth(tmp_path / "gt.json"))


@pytest.mark.parametrize("ending", [".labels.tif", "_MASKS.TIF", "_Cp_Masks.tiff"])
def test_label_images_by_any_ending(tmp_path: Path, ending: str) -> None:
    for side in ("truth", "found"):
        (tmp_path / side).mkdir()
        labels = np.zeros((9, 9), np.uint16)
        labels[1:4, 1:4] = 1
        tifffile.imwrite(tmp_path / side / ("plate.1_labels.tif" if side == "truth" else f"plate.1{ending}"), labels)
    truth = read_ground_truth(tmp_path / "truth")
    assert len(read_predictions(tmp_path / "found", truth).instances[1].masks) == 1


def test_a_prediction_without_image_that_is_left_out_names_no_image(tmp_path: Path) -> None:
    """Not that of id 0 either."""
    truth = coco()
    for entry in truth["images"]:
        entry["id"] -= 3
    for entry in truth["annotations"]:
        entry["image_id"] -= 3
    known = read_ground_truth(save(tmp_path / "gt.json", truth), "cell")
    found = read_predictions(save(tmp_path / "found.json", [{"category_id": 7, "score": 0.5}]), known)
    assert 0 in known.names
    assert found.predicted == set()
