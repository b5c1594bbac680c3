"""Which files of a folder are label images to ``gains score``, and what their pages are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from gains.errors import InputError
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.metrics.sources.label_files import LabelReading
from gains.metrics.sources.sets import GroundTruth, Predictions
from gains.rle import decode_crop
from helpers.scoring import rectangle_rle

SIZE = (30, 34)
IMAGES = LabelReading(pages="images")


def labels(*corners: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Squares of 6 pixels, numbered from 1."""
    plane = np.zeros(SIZE, np.uint16)
    for number, (x, y) in enumerate(corners, 1):
        plane[y : y + 6, x : x + 6] = number
    return plane


MOVIE = [labels((1, 1)), labels((2, 2), (20, 10)), labels((5, 20))]


def save(path: Path, pixels: npt.NDArray[Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | options))
    return path


def save_seg(path: Path, masks: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, {"masks": masks, "filename": "somewhere/else.tif"}, allow_pickle=True)  # type: ignore[arg-type]


def corners(found: GroundTruth | Predictions, image_id: int) -> list[tuple[int, int]]:
    boxes = [decode_crop(mask)[1] for mask in found.instances[image_id].masks]
    return [(box[0], box[1]) for box in boxes]


def page_files(folder: Path) -> Path:
    """A file of labels for each page, called as `gains predict` calls them."""
    for page, plane in enumerate(MOVIE, 1):
        save(folder / f"movie_p{page:03d}.labels.tif", plane)
    return folder


def page_coco(path: Path, names: list[dict[str, Any]]) -> Path:
    """A cell on each page of a movie."""
    images = [
        {"id": number, "height": SIZE[0], "width": SIZE[1]} | entry
        for number, entry in zip((4, 2, 9), names, strict=True)
    ]
    annotations = [
        {"image_id": number, "category_id": 1, "segmentation": rectangle_rle(number, 3, 5, 5, SIZE), "score": 0.5}
        for number in (4, 2, 9)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    path.write_text(json.dumps(content))
    return path


OURS = [{"file_name": f"movie_p{page:03d}.tif", "source": "movie.tif", "page": page} for page in (1, 2, 3)]
OTHERS = [{"file_name": "movie.tif", "page": page} for page in (1, 2, 3)]


def test_pages_of_a_truth_meet_the_predictions_of_its_pages(tmp_path: Path) -> None:
    save(tmp_path / "truth/movie.tif", np.stack(MOVIE))
    truth = read_ground_truth(tmp_path / "truth", reading=IMAGES)
    assert truth.names == {1: "movie_p001", 2: "movie_p002", 3: "movie_p003"}
    assert [corners(truth, number) for number in (1, 2, 3)] == [[(1, 1)], [(2, 2), (20, 10)], [(5, 20)]]
    files = read_predictions(page_files(tmp_path / "found"), truth)
    assert [corners(files, number) for number in (1, 2, 3)] == [[(1, 1)], [(2, 2), (20, 10)], [(5, 20)]]
    for entries in (OURS, OTHERS):
        listed = read_predictions(page_coco(tmp_path / "found.json", entries), truth)
        assert [corners(listed, number) for number in (1, 2, 3)] == [[(4, 3)], [(2, 3)], [(9, 3)]]


@pytest.mark.parametrize("one", [OURS, OTHERS])
@pytest.mark.parametrize("other", [OURS, OTHERS])
def test_pages_of_coco_files_are_images_of_their_own(
    tmp_path: Path, one: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    truth = read_ground_truth(page_coco(tmp_path / "truth.json", one))
    found = read_predictions(page_coco(tmp_path / "found.json", other), truth)
    assert {number: corners(found, number) for number in (4, 2, 9)} == {4: [(4, 3)], 2: [(2, 3)], 9: [(9, 3)]}
    files = read_predictions(page_files(tmp_path / "files"), truth)
    assert corners(files, 2) == [(2, 2), (20, 10)]


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True, "metadata": {"axes": "TYX"}}, {"ome": True, "metadata": {"axes": "ZYX"}}]
)
def test_pages_that_may_mean_either_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    planes = np.stack(MOVIE)
    if options:  # numbers of their own on each page, but pages that are said to be time points or slices
        planes[1][planes[1] > 0] += 1
        planes[2][planes[2] > 0] += 3
    save(tmp_path / "truth/movie.tif", planes, **options)
    with pytest.raises(InputError, match=r"movie\.tif is a stack of 3 .* pages=images .* pages=layers"):
        read_ground_truth(tmp_path / "truth")
    together = read_ground_truth(tmp_path / "truth", reading=LabelReading(pages="layers"))
    assert corners(together, 1) == [(1, 1), (2, 2), (20, 10), (5, 20)]


def test_appended_pages_are_not_left_out(tmp_path: Path) -> None:
    for number, plane in enumerate(MOVIE):
        save(tmp_path / "truth/movie.tif", plane[: 30 - number], append=number > 0)
    truth = read_ground_truth(tmp_path / "truth", reading=IMAGES)
    assert truth.sizes == {1: (30, 34), 2: (29, 34), 3: (28, 34)}
    with pytest.raises(InputError, match="pages of several sizes"):
        read_ground_truth(tmp_path / "truth", reading=LabelReading(pages="layers"))


def test_seg_files_on_either_side(tmp_path: Path) -> None:
    save_seg(tmp_path / "a/dish_seg.npy", MOVIE[1])
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "a/dish.png")
    save(tmp_path / "a/dish_flows.tif", np.zeros((*SIZE, 3), np.uint8), photometric="rgb")
    save(tmp_path / "b/dish_masks.tif", MOVIE[1])
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "b/dish_outlines_cp_masks.png")
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "b/dish.png")
    for one, other in (("a", "b"), ("b", "a")):
        truth = read_ground_truth(tmp_path / one)
        found = read_predictions(tmp_path / other, truth)
        assert corners(truth, 1) == corners(found, 1) == [(2, 2), (20, 10)]


def test_parts_that_became_instances_are_said(tmp_path: Path) -> None:
    save(tmp_path / "truth/dish.tif", 255 * (MOVIE[1] > 0).astype(np.uint8))
    with pytest.raises(InputError, match=r"0 and 255 only, .* set components=true"):
        read_ground_truth(tmp_path / "truth")
    reading = LabelReading(components=True)
    truth = read_ground_truth(tmp_path / "truth", reading=reading)
    found = read_predictions(tmp_path / "truth", truth, reading=reading)
    assert corners(truth, 1) == corners(found, 1) == [(2, 2), (20, 10)]
    assert all("connected parts" in each.notes[-1] for each in (truth, found))


def test_layers_of_a_prediction_keep_its_overlaps(tmp_path: Path) -> None:
    note = json.dumps({"categories": {"cell": "1-3"}})
    layers = np.stack([MOVIE[0], 2 * MOVIE[2], 3 * (MOVIE[1] == 1)])
    save(tmp_path / "found/dish.layers.tif", layers, description=note, metadata=None)
    save(tmp_path / "truth/dish.tif", MOVIE[1])
    found = read_predictions(tmp_path / "found", read_ground_truth(tmp_path / "truth"))
    assert corners(found, 1) == [(1, 1), (5, 20), (2, 2)]


def test_an_image_without_its_seg_file_is_not_left_out(tmp_path: Path) -> None:
    save_seg(tmp_path / "a/dish_seg.npy", MOVIE[1])
    for name in ("dish", "bowl", "cup"):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / f"a/{name}.png")
    with pytest.raises(InputError, match=r"has 2 faults[^$]*bowl\.png has no _seg\.npy[^$]*cup\.png"):
        read_ground_truth(tmp_path / "a")


def test_a_seg_file_of_other_masks_than_the_label_image_beside_it_is_refused(tmp_path: Path) -> None:
    save_seg(tmp_path / "a/dish_seg.npy", MOVIE[0])
    save(tmp_path / "a/dish_cp_masks.tif", MOVIE[0])
    assert corners(read_ground_truth(tmp_path / "a"), 1) == [(1, 1)]
    save(tmp_path / "a/dish_cp_masks.tif", MOVIE[2])
    with pytest.raises(InputError, match=r"dish_cp_masks\.tif and .*dish_seg\.npy hold other masks"):
        read_ground_truth(tmp_path / "a")


def test_folders_in_the_folder_belong_to_the_name(tmp_path: Path) -> None:
    for day in ("mon", "tue"):
        save(tmp_path / f"truth/{day}/dish_masks.tif", MOVIE[0 if day == "mon" else 1])
        save(tmp_path / f"found/{day}/masks/dish.tif", MOVIE[0 if day == "mon" else 1])
    truth = read_ground_truth(tmp_path / "truth")
    found = read_predictions(tmp_path / "found", truth)
    assert truth.names == {1: "mon/dish", 2: "tue/dish"}
    assert [corners(found, number) for number in (1, 2)] == [[(1, 1)], [(2, 2), (20, 10)]]
    save(tmp_path / "flat/dish_masks.tif", MOVIE[0])
    with pytest.raises(InputError, match=r"has the image dish, and .* 2 that it may be"):
        read_predictions(tmp_path / "flat", truth)


def test_two_images_of_predictions_are_not_taken_for_one(tmp_path: Path) -> None:
    save(tmp_path / "truth/dish.tif", MOVIE[0])
    truth = read_ground_truth(tmp_path / "truth")
    for day in ("mon", "tue"):
        save(tmp_path / f"found/{day}/dish_masks.tif", MOVIE[1])
    with pytest.raises(InputError, match="mon/dish and tue/dish, which would both be one"):
        read_predictions(tmp_path / "found", truth)
    same = page_coco(tmp_path / "found.json", [{"file_name": "dish.tif"}] * 3)
    with pytest.raises(InputError, match="has 2 faults"):
        read_predictions(same, truth)


def test_all_files_at_fault_are_told_at_once(tmp_path: Path) -> None:
    for number in range(13):
        save(tmp_path / f"truth/{number:02d}.tif", MOVIE[1])
        save(tmp_path / f"found/{number:02d}.tif", MOVIE[1][: 30 - number % 2])
        save(tmp_path / f"bad/{number:02d}.tif", MOVIE[1] / np.float32(2.3))
    truth = read_ground_truth(tmp_path / "truth")
    with pytest.raises(InputError, match=r"found has 6 faults"):
        read_predictions(tmp_path / "found", truth)
    with pytest.raises(InputError, match=r"bad has 13 faults[^$]*\.\.\. and 3 more"):
        read_ground_truth(tmp_path / "bad")


def test_a_prediction_in_several_parts_is_one_instance_where_files_hold_several_numbers(tmp_path: Path) -> None:
    truth = read_ground_truth(page_coco(tmp_path / "truth.json", OURS))
    split = labels((1, 1), (20, 20))
    split[10, :4] = split[25, 1:7] = 9
    for number in (1, 2):
        split[12, 10 * number : 10 * number + 6] = number
    crossed = np.where(labels((1, 1), (20, 20)) > 0, 1, 0).astype(np.uint16)
    save(tmp_path / "found/movie_p001.tif", split)
    save(tmp_path / "found/movie_p002.tif", crossed)
    save(tmp_path / "found/movie_p003.tif", np.zeros_like(split))
    found = read_predictions(tmp_path / "found", truth)
    areas = {
        number: [int(decode_crop(mask)[0].sum()) for mask in found.instances[number].masks] for number in (4, 2, 9)
    }
    assert areas == {4: [int((split == number).sum()) for number in (1, 2, 9)], 2: [72], 9: []}
    assert "movie_p001.tif holds 0 and 1 and 2 and 9, each in several places" in found.notes[1]
    assert "(2 such)" in found.notes[1]
    (tmp_path / "found/movie_p001.tif").unlink()
    with pytest.raises(InputError, match=r"movie_p002\.tif holds 0 and 1 only, .* components=false"):
        read_predictions(tmp_path / "found", truth)
    save(tmp_path / "classes/a.tif", split)
    with pytest.raises(InputError, match="each in several places: a mask of classes"):
        read_ground_truth(tmp_path / "classes")
