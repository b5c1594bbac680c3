"""Annotations in arrays: the same as those of the JSON, whatever its order, made once, and read by others in place."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gains.data.dataset import load_annotations
from gains.data.index import FOLDER, open_index
from gains.errors import InputError
from gains.formats import stream
from gains.rle import encode_crop
from helpers.annotated import write_annotations

SIZES = {"a": (20, 30), "empty": (8, 8), "ü": (50, 7)}


def masks(seed: int, size: tuple[int, int], count: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        crop = random.random((5, 6)) < 0.6
        crop[0, 0] = True
        found.append(encode_crop(crop, (1, 2, 7, 7), size))
    return found


def objects() -> dict[str, list[dict[str, Any]]]:
    found = {}
    for seed, (name, count) in enumerate({"a": 5, "empty": 0, "ü": 3}.items()):
        found[name] = [
            {"label": 1 + number % 2, "area": 10.5 + number, "iscrowd": int(number == 2), "segmentation": mask}
            for number, mask in enumerate(masks(seed, SIZES[name], count))
        ]
    return found


def shuffled(root: Path) -> None:
    """Annotations of all images mixed, keys in another order, blanks between."""
    coco = json.loads((root / "annotations.json").read_text())
    order = np.random.default_rng(5).permutation(len(coco["annotations"]))
    coco["annotations"] = [coco["annotations"][place] for place in order]
    text = json.dumps(
        {name: coco[name] for name in ("annotations", "categories", "images")} | {"info": {"by": "me"}}, indent=3
    )
    (root / "annotations.json").write_text(text)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_arrays_hold_what_the_json_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, mixed: bool
) -> None:
    monkeypatch.setattr(stream, "CHUNK", chunk)
    wanted = objects()
    annotations = write_annotations(tmp_path, SIZES, wanted, ["cell", "nucleus"])
    if mixed:
        shuffled(tmp_path)
        annotations = load_annotations(tmp_path)
        assert annotations.info == {"by": "me"}
    for name, of_image in wanted.items():
        rows = annotations.rows(name)
        found = zip(
            annotations.masks(name),
            annotations.labels[rows].tolist(),
            annotations.index.area[rows].tolist(),
            annotations.index.crowd[rows].tolist(),
            strict=True,
        )

        def key(entry: Any) -> str:
            return json.dumps(entry)

        expected = [(one["segmentation"], one["label"], one["area"], one["iscrowd"]) for one in of_image]
        assert sorted(found, key=key) == sorted(expected, key=key)
    assert annotations.most_instances == 4


def test_categories_are_chosen_and_numbered_in_the_order_given(tmp_path: Path) -> None:
    write_annotations(tmp_path, SIZES, objects(), ["cell", "nucleus"])
    chosen = load_annotations(tmp_path, ["nucleus"])
    assert [len(chosen.rows(name)) for name in SIZES] == [2, 0, 1]
    turned = load_annotations(tmp_path, ["nucleus", "cell"])
    assert turned.labels[turned.rows("a")].tolist() == [2, 1, 2, 1, 2]


def test_it_is_made_once_and_again_when_the_annotations_change(tmp_path: Path) -> None:
    write_annotations(tmp_path, SIZES, objects(), ["cell", "nucleus"])
    place = tmp_path / FOLDER / "text"
    before = place.stat().st_ino, place.stat().st_mtime_ns
    first = load_annotations(tmp_path)
    assert (place.stat().st_ino, place.stat().st_mtime_ns) == before
    changed = objects()
    changed["empty"] = [{"label": 2}]
    second = write_annotations(tmp_path, SIZES, changed, ["cell", "nucleus"])
    assert len(second.rows("empty")) == 1
    assert first.fingerprint() != second.fingerprint()
    # Whoever has the earlier ones open keeps them.
    assert len(first.masks("a")) == 5


def test_a_copy_maps_the_same_files(tmp_path: Path) -> None:
    """What a worker gets by another way than a fork is small."""
    many = {"a": [{"label": 1, "segmentation": mask} for mask in masks(1, SIZES["a"], 3000)]}
    index = write_annotations(tmp_path, SIZES, many, ["cell"]).index
    sent = pickle.dumps(index)
    assert len(sent) < 1000
    assert pickle.loads(sent).mask(2999, SIZES["a"]) == index.mask(2999, SIZES["a"])


def test_a_read_only_data_set_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gains.data import index

    write_annotations(tmp_path, SIZES, objects(), ["cell", "nucleus"])
    wanted = open_index(tmp_path).mask(0, SIZES["a"])

    def forbidden(_: Path) -> Any:
        raise InputError("the folder cannot be written: read-only file system") from OSError(30, "")

    monkeypatch.setattr(index, "FOLDER", ".other")
    monkeypatch.setattr(index, "replacing_folder", forbidden)
    found = open_index(tmp_path)
    assert found.mask(0, SIZES["a"]) == wanted
    assert tmp_path not in found.folder.parents


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda coco: coco["annotations"][1].pop("area"), r"annotation 2 lacks 'area'"),
        (lambda coco: coco["annotations"][0].update(image_id=99), r"image_id 99, which no image has"),
        (
            lambda coco: coco["annotations"][3].update(segmentation=[[1, 2, 3, 4, 5, 6]]),
            r"annotation 4 is not as prepared",
        ),
        (lambda coco: coco["images"][0].update(height=21), r"mask of 20x30 pixels, its image a.png has 21x30"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, message: str) -> None:
    write_annotations(tmp_path, SIZES, objects(), ["cell", "nucleus"])
    path = tmp_path / "annotations.json"
    coco = json.loads(path.read_text())
    change(coco)
    path.write_text(json.dumps(coco))
    with pytest.raises(InputError, match=message):
        load_annotations(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"images": [1, 2', '{"annotations": [1,, 2]}', "\x00"])
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(InputError, match="is damaged, or not written by gains prepare"):
        open_index(tmp_path)
