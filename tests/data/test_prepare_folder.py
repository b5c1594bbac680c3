import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.formats.labels import encode_mask
from gains.images.files import read_image
from helpers.sources import SIZE


class Records:
    """A source of given records; ``error`` comes after the last."""

    def __init__(self, records: list[ImageRecord], error: BaseException | None = None) -> None:
        self.records = records
        self.error = error
        self.categories = ["cell", "nucleus"]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ImageRecord]:
        yield from self.records
        if self.error:
            raise self.error


@pytest.fixture
def records(masks: Any, pixels: Any) -> list[ImageRecord]:
    instances = [
        Instance("cell", encode_mask(masks[0]), {"source": 3, "area": -1}),
        Instance("nucleus", encode_mask(masks[1]), {"iscrowd": 1}),
    ]
    kinds = [
        pixels,
        np.repeat(pixels[..., None], 3, 2),
        pixels.astype(np.uint16) * 257,
        pixels.astype(np.float32) / 255,
    ]
    return [
        ImageRecord(f"image_{index}", kinds[index % 4], instances if index else [], extra={"stain": "DAPI", "id": 99})
        for index in range(10)
    ]


def test_folder_holds_what_the_source_gave(tmp_path: Path, records: list[ImageRecord], masks: Any) -> None:
    prepared = prepare(Records(records), tmp_path / "out", seed=1, info={"dataset": "mine"})
    assert prepared.instances == {"cell": 9, "nucleus": 9}
    assert not prepared.official
    reference = COCO(tmp_path / "out" / "annotations.json")
    assert reference.dataset["info"] == {"format": "Records", "dataset": "mine"}
    assert [entry["id"] for entry in reference.dataset["annotations"]] == list(range(1, 19))
    for index, record in enumerate(records):
        image = reference.imgs[index + 1]
        suffix = "tif" if index % 4 == 3 else "png"
        expected = {"file_name": f"image_{index}.{suffix}", "height": SIZE[0], "width": SIZE[1], "stain": "DAPI"}
        assert image == expected | {"id": index + 1}
        pixels = read_image(tmp_path / "out" / "images" / image["file_name"])
        assert pixels.dtype == record.pixels.dtype
        np.testing.assert_array_equal(pixels, record.pixels)
        entries = reference.imgToAnns[index + 1]
        np.testing.assert_array_equal([reference.annToMask(entry) for entry in entries], masks if index else [])
    cell, nucleus = reference.imgToAnns[2]
    assert (cell["category_id"], cell["iscrowd"], cell["source"]) == (1, 0, 3)
    assert (cell["area"], cell["bbox"]) == (60, [2, 3, 10, 6])
    assert (nucleus["category_id"], nucleus["iscrowd"], nucleus["area"]) == (2, 1, 168)
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert {key: splits[key] for key in ("seed", "ratios", "official")} == {
        "seed": 1,
        "ratios": [6, 2, 2],
        "official": False,
    }
    assert [len(splits[split]) for split in ("train", "val", "test")] == [6, 2, 2]


def test_official_division_is_kept(tmp_path: Path, records: list[ImageRecord]) -> None:
    sides = ["test", "val", "train"] * 4
    official = [ImageRecord(r.name, r.pixels, [], side) for r, side in zip(records, sides, strict=False)]
    prepared = prepare(Records(official), tmp_path / "out", seed=1)
    assert prepared.official
    assert prepared.splits["test"] == ["image_0", "image_3", "image_6", "image_9"]


def test_incomplete_official_division_is_not_one(tmp_path: Path, records: list[ImageRecord]) -> None:
    partial = [ImageRecord(r.name, r.pixels, [], "train") for r in records]
    prepared = prepare(Records(partial), tmp_path / "out", seed=1)
    assert not prepared.official
    assert len(prepared.splits["test"]) == 2


def test_groups_are_kept_with_the_images(tmp_path: Path, records: list[ImageRecord]) -> None:
    rows = [f"image_{index},{index // 3}" for index in range(10)]
    (tmp_path / "groups.csv").write_text("\n".join(["image_id,group", *rows]))
    prepared = prepare(Records(records), tmp_path / "out", seed=1, groups=tmp_path / "groups.csv")
    images = json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]
    assert [image["group"] for image in images] == [str(index // 3) for index in range(10)]
    side = {name: split for split, names in prepared.splits.items() for name in names}
    assert all(side[f"image_{index}"] == side[f"image_{index // 3 * 3}"] for index in range(10))


def test_categories_choose_and_order(tmp_path: Path, records: list[ImageRecord]) -> None:
    prepared = prepare(Records(records), tmp_path / "out", seed=1, categories=["nucleus"])
    assert prepared.instances == {"nucleus": 9}
    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert coco["categories"] == [{"id": 1, "name": "nucleus"}]
    assert len(coco["images"]) == 10
    with pytest.raises(InputError, match=r"'cytoplasm'; the source has cell, nucleus"):
        prepare(Records(records), tmp_path / "other", seed=1, categories=["cytoplasm"])


@pytest.mark.parametrize("error", [InputError("bad"), RuntimeError("bug"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_failure(tmp_path: Path, records: list[ImageRecord], error: BaseException) -> None:
    with pytest.raises(type(error)):
        prepare(Records(records, error), tmp_path / "out", seed=1)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_earlier_folder_as_it_was(tmp_path: Path, records: list[ImageRecord]) -> None:
    prepare(Records(records), tmp_path / "out", seed=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="bad"):
        prepare(Records(records[:5], InputError("bad")), tmp_path / "out", seed=1, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_overwrite_replaces_a_prepared_folder_only(tmp_path: Path, records: list[ImageRecord]) -> None:
    prepare(Records(records), tmp_path / "out", seed=1)
    with pytest.raises(InputError, match=r"out exists; .* overwrite=true"):
        prepare(Records(records), tmp_path / "out", seed=1)
    prepare(Records(records[:5]), tmp_path / "out", seed=1, overwrite=True)
    assert len(list((tmp_path / "out" / "images").iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="home is not a prepared data set"):
        prepare(Records(records), tmp_path / "home", seed=1, overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").is_file()


def test_empty_folder_is_filled(tmp_path: Path, records: list[ImageRecord]) -> None:
    (tmp_path / "out").mkdir()
    prepare(Records(records), tmp_path / "out", seed=1)
    assert (tmp_path / "out" / "splits.json").is_file()


def test_place_that_cannot_be_written(tmp_path: Path, records: list[ImageRecord]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/out cannot be written"):
        prepare(Records(records), tmp_path / "file" / "out", seed=1)


def test_unsound_records_are_named(tmp_path: Path, records: list[ImageRecord], pixels: Any) -> None:
    twice = [*records, records[0]]
    with pytest.raises(InputError, match="two images are called 'image_0'"):
        prepare(Records(twice), tmp_path / "out", seed=1)
    empty = ImageRecord("image_0", pixels, [Instance("cell", encode_mask(np.zeros(SIZE)))])
    with pytest.raises(InputError, match="'image_0' has an instance of 'cell' without a pixel"):
        prepare(Records([empty]), tmp_path / "out", seed=1)
    with pytest.raises(InputError, match="no images"):
        prepare(Records([]), tmp_path / "out", seed=1)


def test_order_of_the_source_does_not_change_the_split(tmp_path: Path, records: list[ImageRecord]) -> None:
    forward = prepare(Records(records), tmp_path / "a", seed=1)
    backward = prepare(Records(records[::-1]), tmp_path / "b", seed=1)
    assert forward.splits == backward.splits


def test_images_without_any_object_are_prepared_and_said(tmp_path: Path, records: list[ImageRecord]) -> None:
    bare = [ImageRecord(record.name, record.pixels, []) for record in records]
    [note] = prepare(Records(bare), tmp_path / "out", seed=1).notes
    assert "no image has an annotation" in note
    assert prepare(Records(records), tmp_path / "some", seed=1).notes == []


def test_images_of_more_objects_than_pycocotools_measures_at_once(tmp_path: Path, masks: Any, pixels: Any) -> None:
    crowded = ImageRecord("crowded", pixels, [Instance("cell", encode_mask(masks[place % 2])) for place in range(300)])
    prepare(Records([crowded]), tmp_path / "out", seed=1, ratios=(1, 0, 0))
    entries = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    assert [entry["id"] for entry in entries] == list(range(1, 301))
    assert [entry["area"] for entry in entries] == [int(masks[place % 2].sum()) for place in range(300)]
