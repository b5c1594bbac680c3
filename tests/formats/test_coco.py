"""The one reader of COCO files: what it reads as it was meant, and what it refuses before C code meets it."""

import copy
import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from gains.data.sources.coco import Coco
from gains.errors import InputError
from gains.formats.coco import CocoFile, read_coco
from gains.formats.coco_ids import to_id
from gains.formats.coco_masks import to_rle
from gains.images.files import write_image
from gains.metrics.sources import read_ground_truth, read_predictions

SIZE = (24, 32)
SQUARE = [[2, 2, 9, 2, 9, 9, 2, 9]]


def content(**changes: Any) -> dict[str, Any]:
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "segmentation": SQUARE}],
        "categories": [{"id": 3, "name": "cell"}],
    }
    return coco | changes


def write(folder: Path, coco: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder / "annotations.json"


@pytest.mark.parametrize(("image", "reference"), [("1", 1), (1, "1"), (1.0, 1), ("1", "1"), ("slide a", "slide a")])
def test_ids_are_what_they_read_as(tmp_path: Path, image: Any, reference: Any) -> None:
    coco = content()
    coco["images"][0]["id"], coco["annotations"][0]["image_id"] = image, reference
    coco["categories"][0]["id"], coco["annotations"][0]["category_id"] = "3", 3.0
    path = write(tmp_path, coco)
    read = read_coco(path)
    [image_id] = read.images
    [annotation] = read.annotations.of(image_id)
    assert annotation.category == "cell"
    truth = read_ground_truth(path)
    listed = [{"image_id": reference, "category_id": 3, "segmentation": SQUARE, "score": 0.5}]
    (tmp_path / "found.json").write_text(json.dumps(listed))
    [found] = read_predictions(tmp_path / "found.json", truth).instances.values()
    assert found.scores == [0.5]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["plate\\gr\u00fcn.png", "plate/gr\u00fcn.png"])
def test_names_that_look_alike_are_alike(tmp_path: Path, form: Any, written: str) -> None:
    coco = content()
    coco["images"][0]["file_name"] = unicodedata.normalize(form, written)
    path = write(tmp_path, coco)
    other = "NFD" if form == "NFC" else "NFC"
    image = tmp_path / "plate" / unicodedata.normalize(other, "gr\u00fcn.png")  # type: ignore[arg-type]
    image.parent.mkdir()
    write_image(image, np.zeros(SIZE, np.uint8))
    [record] = Coco(path)
    assert len(record.instances) == 1


def test_a_root_category_without_annotations_is_no_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 3, "name": "cell", "supercategory": "cells"},
    ]
    assert read_coco(write(tmp_path, content(categories=categories))).categories == {3: "cell"}
    used = content(categories=categories)
    used["annotations"].append({**used["annotations"][0], "category_id": 0})
    assert read_coco(write(tmp_path, used)).categories == {0: "cells", 3: "cell"}


@pytest.mark.parametrize("parent", [[], {}, 3, None, ["cells"]])
def test_a_supercategory_that_is_no_name_says_nothing(tmp_path: Path, parent: Any) -> None:
    categories = [{"id": 3, "name": "cell", "supercategory": parent}]
    assert read_coco(write(tmp_path, content(categories=categories))).categories == {3: "cell"}


def test_two_categories_of_one_name(tmp_path: Path) -> None:
    path = write(tmp_path, content(categories=[{"id": 3, "name": "cell"}, {"id": 4, "name": "cell"}]))
    for read in (read_coco, read_ground_truth, Coco):
        with pytest.raises(InputError, match="two categories are called 'cell'"):
            read(path)


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    bad = [{"id": index, "image_id": 1, "category_id": 3, "segmentation": [[1, 1, 2, 2]]} for index in range(14)]
    path = write(tmp_path, content(annotations=bad))
    for read in (read_ground_truth, Coco):
        with pytest.raises(InputError) as caught:
            read(path)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"{path} has 14 faults:"
        assert [f"annotation {index} " in line for index, line in enumerate(lines[1:11])] == [True] * 10
        assert lines[11].strip() == "... and 4 more"


def test_crowds_alone_teach_nothing_unless_they_are_objects(tmp_path: Path) -> None:
    coco = content()
    coco["annotations"][0]["iscrowd"] = 1
    path = write(tmp_path, coco)
    source = Coco(path)
    assert "dataset.crowd=instances" in source.reading.notes.lines()[0]
    assert source.instances(1)[0].extra["iscrowd"] == 1
    taken = Coco(path, crowd="instances")
    assert taken.reading.notes.lines() == []
    assert taken.instances(1)[0].extra["iscrowd"] == 0
    assert "crowd regions" in read_ground_truth(path).notes[0]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(0, False), (1, True), ("0", False), ("1", True), (False, False), (True, True), (None, False), (1.0, True)],
)
def test_crowd_as_programs_write_it(tmp_path: Path, value: Any, crowd: bool) -> None:
    coco = content()
    coco["annotations"][0]["iscrowd"] = value
    assert [each.crowd for each in read_coco(write(tmp_path, coco)).annotations.of(1)] == [crowd]


@pytest.mark.parametrize("value", [2, -1, "yes", "false", 0.5, float("nan")])
def test_crowd_that_says_neither(tmp_path: Path, value: Any) -> None:
    coco = content()
    coco["annotations"][0]["iscrowd"] = value
    with pytest.raises(InputError, match="annotation 1 has iscrowd"):
        read_coco(write(tmp_path, coco))


def test_category_names_that_look_alike_are_alike(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFC", "z\u00e9ro"), " " + unicodedata.normalize("NFD", "z\u00e9ro")]
    categories = [{"id": index + 3, "name": name} for index, name in enumerate(names)]
    with pytest.raises(InputError, match="two categories are called"):
        read_coco(write(tmp_path, content(categories=categories)))
    assert read_coco(write(tmp_path, content(categories=[{"id": 3, "name": None}]))).categories == {3: "3"}
    with pytest.raises(InputError, match="which is no text"):
        read_coco(write(tmp_path, content(categories=[{"id": 3, "name": ["cell"]}])))


def test_faults_of_all_lists_at_once_and_none_that_only_follow(tmp_path: Path) -> None:
    coco = content(categories=[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}, {"id": 4, "name": "a"}])
    coco["images"].append({"id": 2, "file_name": "C:\\scans\\b.png", "height": 9, "width": 9})
    coco["images"].append({"id": 5, "file_name": "c.png", "height": -4, "width": 9})
    coco["annotations"] += [{**coco["annotations"][0], "id": 10 + image, "image_id": image} for image in (2, 5, 77)]
    with pytest.raises(InputError) as caught:
        read_coco(write(tmp_path, coco))
    _, *lines = str(caught.value).splitlines()
    expected = ["category id 3 occurs twice", "called 'a'", "C:/scans/b.png", "height and width", "image_id 77"]
    assert [part in line for part, line in zip(expected, lines, strict=True)] == [True] * 5


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1e9, 2, 9, 2, 9, 9]],
        [[-1e8, -1e8, 9, 2, 9, 9]],
        [[2, 2, float("inf"), 2, 9, 9]],
        {"size": list(SIZE), "counts": "PPPPPPPPPPPPPPPPPPPPPPPPPPPP"},
        {"size": list(SIZE), "counts": coco_mask.encode(np.ones(SIZE, np.uint8, order="F"))["counts"].decode() + "P"},
        {"size": list(SIZE), "counts": "\u00e9\u00e9"},
        {"size": list(SIZE), "counts": ""},
        {"size": list(SIZE), "counts": [2**62, 2**62, -(2**63) + 768]},
    ],
)
def test_what_would_harm_c_code_is_refused_everywhere(tmp_path: Path, segmentation: Any) -> None:
    coco = content()
    coco["annotations"][0]["segmentation"] = segmentation
    path = write(tmp_path, coco)
    for read in (read_ground_truth, Coco):
        with pytest.raises(InputError, match="annotation 1 has"):
            read(path)
    truth = read_ground_truth(write(tmp_path / "sound", content()))
    listed = [{"image_id": 1, "category_id": 3, "segmentation": segmentation, "score": 0.5}]
    (tmp_path / "found.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="prediction 1 has"):
        read_predictions(tmp_path / "found.json", truth)


@pytest.mark.parametrize(
    "box", [[1, 2, float("nan"), 4], [1, 2, -3, 4], [1, 2, float("inf"), 4], [1, 2, True, 4], "1 2"]
)
def test_boxes_that_are_none(tmp_path: Path, box: Any) -> None:
    coco = content()
    coco["annotations"][0]["bbox"] = box
    with pytest.raises(InputError, match="annotation 1 has bbox"):
        read_coco(write(tmp_path, coco))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_rle_is_read_as_pycocotools_reads_it_or_refused(data: st.DataObject) -> None:
    """Characters changed, dropped and added: what is accepted decodes to a whole image."""
    mask = np.random.default_rng(data.draw(st.integers(0, 99))).random(SIZE) < 0.5
    counts = list(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(counts) - 1))
        counts[place : place + data.draw(st.integers(0, 1))] = data.draw(st.text(max_size=2))
        counts = counts or ["0"]
    rle = {"size": list(SIZE), "counts": "".join(counts)}
    try:
        accepted = to_rle(rle, SIZE, "here")
    except InputError:
        return
    assert coco_mask.decode(accepted).shape == SIZE


VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    1e9,
    -1e8,
    float("nan"),
    float("inf"),
    "x",
    "",
    [],
    {},
    [[]],
    10**30,
    10**400,
    "\\",
    "\u00e9",
)


def mutate(value: Any, draw: random.Random) -> Any:
    """The value with one part of it replaced, removed, doubled or, in text, changed."""
    if isinstance(value, str) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return value[:place] + draw.choice(["o", "~", "", chr(draw.randrange(48, 112))]) + value[place + 1 :]
    if isinstance(value, (dict, list)) and value and draw.random() < 0.95:
        key: Any = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        action = draw.random()
        if action < 0.04:
            del value[key]
        elif action < 0.08 and isinstance(value, list):
            value.append(copy.deepcopy(value[key]))
        else:
            value[key] = mutate(value[key], draw)
        return value
    return draw.choice(VALUES)


def attempt(path: Path) -> tuple[CocoFile | None, str]:
    """The file, or how it is refused."""
    try:
        return read_coco(path), ""
    except InputError as error:
        return None, str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mutated_files_are_read_as_pycocotools_reads_them_or_refused(tmp_path: Path) -> None:
    draw, path, read = random.Random(7), tmp_path / "f.json", 0
    square = np.zeros(SIZE, np.uint8, order="F")
    square[3:9, 4:20] = 1
    packed = coco_mask.encode(square)
    packed["counts"] = packed["counts"].decode()
    whole = content()
    for segmentation in (packed, {"size": list(SIZE), "counts": [100, 5, SIZE[0] * SIZE[1] - 105]}):
        whole["annotations"].append({**whole["annotations"][0], "segmentation": segmentation, "bbox": [1, 1, 4, 4]})
    for _ in range(3000):
        mutated = mutate(copy.deepcopy(whole), draw)
        path.write_text(json.dumps(mutated))
        coco, fault = attempt(path)
        if coco is None:
            assert str(path) in fault
            continue
        read += 1
        raws: dict[Any, list[Any]] = {}
        for entry in mutated["annotations"]:
            raws.setdefault(to_id(entry["image_id"]), []).append(entry["segmentation"])
        kept = [
            (each, raw) for image, of in raws.items() for each, raw in zip(coco.annotations.of(image), of, strict=True)
        ]
        assert len(kept) == len(coco.annotations)
        for annotation, raw in kept:
            size = coco.images[annotation.image].size
            if isinstance(raw, list):
                expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(raw, *size)))
            elif isinstance(raw["counts"], list):
                expected = coco_mask.decode(coco_mask.frPyObjects(raw, *size))
            else:
                expected = coco_mask.decode(raw)
            np.testing.assert_array_equal(coco_mask.decode(annotation.mask), expected)
    assert 300 < read < 2700
