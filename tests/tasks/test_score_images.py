"""Which images and annotations ``gains score`` counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from gains.errors import InputError
from gains.tasks.score import run
from helpers.scoring import config, rectangle_rle, save_json

CATEGORIES = [{"id": 5, "name": "cell"}]


def truth(folder: Path, iscrowd: int = 0) -> str:
    """Three images with one cell each."""
    images = [{"id": number, "file_name": f"day/{number}.png", "height": 30, "width": 30} for number in (9, 4, 6)]
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 5,
            "segmentation": rectangle_rle(number, 3, 9, 8),
            "iscrowd": iscrowd,
        }
        for number in (9, 4, 6)
    ]
    return save_json(folder / "gt.json", {"images": images, "annotations": annotations, "categories": CATEGORIES})


def found(folder: Path, numbers: tuple[int, ...]) -> str:
    """A perfect results list of some images."""
    entries = [
        {"image_id": number, "category_id": 5, "segmentation": rectangle_rle(number, 3, 9, 8), "score": 0.9}
        for number in numbers
    ]
    return save_json(folder / "found.json", entries)


def scored(folder: Path, *overrides: str) -> dict[str, Any]:
    run(config(folder, *overrides))
    results: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text())
    return results


def test_images_that_predictions_do_not_name_count_as_missed_unless_left_out(tmp_path: Path) -> None:
    files = (f"ground_truth={truth(tmp_path)}", f"predictions={found(tmp_path, (9, 6))}")
    every = scored(tmp_path, *files)
    assert (every["metrics"]["n_images"], every["metrics"]["n_ground_truth"]) == (3, 3)
    assert every["metrics"]["aji"] == pytest.approx(2 / 3)
    assert any("1 images have no prediction" in note and "day/4.png" in note for note in every["notes"])
    some = scored(tmp_path, *files, "images=predicted")
    assert (some["metrics"]["n_images"], some["metrics"]["aji"]) == (2, 1.0)
    assert any("left out: day/4.png" in note for note in some["notes"])


def test_a_coco_file_names_its_images_also_those_without_a_detection(tmp_path: Path) -> None:
    """An image in which nothing was found is not one that nobody looked at."""
    content = json.loads(Path(truth(tmp_path)).read_text())
    content["images"] = [entry for entry in content["images"] if entry["id"] != 4]
    content["annotations"] = [entry | {"score": 0.9} for entry in content["annotations"] if entry["image_id"] == 9]
    listed = save_json(tmp_path / "full.json", content)
    results = scored(tmp_path, f"ground_truth={truth(tmp_path)}", f"predictions={listed}", "images=predicted")
    assert (results["metrics"]["n_images"], results["metrics"]["n_ground_truth"]) == (2, 2)
    assert results["metrics"]["aji"] == pytest.approx(0.5)


def test_crowd_regions_count_as_objects_on_request(tmp_path: Path) -> None:
    files = (f"ground_truth={truth(tmp_path, iscrowd=1)}", f"predictions={found(tmp_path, (9, 4, 6))}")
    plain = scored(tmp_path, *files)
    assert plain["metrics"]["n_ground_truth"] == 0
    assert any("crowd=instances" in note for note in plain["notes"])
    assert scored(tmp_path, *files, "crowd=instances")["metrics"]["aji"] == 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [("images=some", "use all, or predicted"), ("crowd=all", "use instances, or null")],
)
def test_other_values_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scored(tmp_path, f"ground_truth={truth(tmp_path)}", f"predictions={found(tmp_path, (9,))}", setting)


def test_nothing_left_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the predictions name no image"):
        scored(tmp_path, f"ground_truth={truth(tmp_path)}", f"predictions={found(tmp_path, ())}", "images=predicted")


def test_two_files_are_compared_on_the_images_that_either_names(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    files = (f"ground_truth={truth(tmp_path)}", f"predictions={found(one, (9,))}", f"compare={found(other, (9, 6))}")
    results = scored(tmp_path, *files, "images=predicted")
    assert results["metrics"]["n_images"] == results["comparison"]["metrics"]["n_images"] == 2
    assert (results["metrics"]["aji"], results["comparison"]["metrics"]["aji"]) == (0.5, 1.0)
    assert results["comparison"]["differences"]["aji"]["difference"] == -0.5
    assert any("left out: day/4.png" in note for note in results["notes"])
    assert any(
        "1 images have no prediction in predictions" in note and "day/6.png" in note for note in results["notes"]
    )
    every = scored(tmp_path, *files)
    assert every["metrics"]["n_images"] == 3
    assert any("1 images have no prediction in compare" in note for note in every["notes"])
    with pytest.raises(InputError, match="name no image"):
        scored(tmp_path, *files[:1], f"predictions={found(one, ())}", f"compare={found(other, ())}", "images=predicted")
