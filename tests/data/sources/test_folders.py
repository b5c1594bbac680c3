"""Kaggle 2018 and label images, from folders and archives."""

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from gains.data.sources.kaggle2018 import Kaggle2018
from gains.data.sources.label_images import LabelImages
from gains.errors import InputError
from gains.images.files import read_image, write_image
from helpers.sources import SIZE, dense, only


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("prefix", ["", "stage1_train/"])
def test_kaggle_folder_and_archive_keep_overlaps(
    tmp_path: Path, write_kaggle: Any, masks: Any, pixels: Any, prefix: str
) -> None:
    folder = write_kaggle(tmp_path / "samples")
    for source in (folder, zipped(folder, tmp_path / "a.zip", prefix)):
        record = only(Kaggle2018(source))
        assert record.name == "sample"
        np.testing.assert_array_equal(dense(record), masks)
        np.testing.assert_array_equal(record.pixels, pixels)


def test_archive_junk_is_passed_over(tmp_path: Path, write_kaggle: Any) -> None:
    folder = write_kaggle(tmp_path / "samples")
    for junk in ("__MACOSX/sample/masks/._m0.png", "sample/masks/.DS_Store", "sample/masks/Thumbs.db"):
        (folder / junk).parent.mkdir(parents=True, exist_ok=True)
        (folder / junk).write_bytes(b"junk")
    assert len(only(Kaggle2018(zipped(folder, tmp_path / "a.zip"))).instances) == 2


def test_kaggle_fixture_matches_the_mask_files(shared: Path) -> None:
    folder = shared / "data/fixture/kaggle"
    records = list(Kaggle2018(folder))
    assert len(records) == 8
    for record in records:
        files = sorted((folder / record.name / "masks").iterdir())
        np.testing.assert_array_equal(dense(record), [read_image(file) > 0 for file in files])


def test_kaggle_archive_has_the_nuclei_it_is_said_to_have(shared: Path) -> None:
    source = Kaggle2018(shared / "data/kaggle2018/touching_nuclei.zip")
    assert len(source) == 164
    assert sum(len(sample.masks) for sample in source.samples.values()) == 8812


def test_unsound_kaggle_samples_are_named(tmp_path: Path, write_kaggle: Any, pixels: Any) -> None:
    folder = write_kaggle(tmp_path / "samples")
    mask = folder / "sample/masks/m0.png"
    write_image(mask, np.zeros(SIZE, np.uint8))
    with pytest.raises(InputError, match=r"m0\.png has no pixel inside"):
        list(Kaggle2018(folder))
    write_image(mask, np.ones((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"m0\.png is 9x9 pixels, its image 24x32"):
        list(Kaggle2018(folder))
    write_image(folder / "sample/images/other.png", pixels)
    with pytest.raises(InputError, match="sample/images must hold one image; it holds 2"):
        Kaggle2018(folder)
    (folder / "sample/images/other.png").unlink()
    for file in (folder / "sample/masks").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="sample/masks holds no mask"):
        Kaggle2018(folder)


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:/evil.png"])
def test_archive_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(InputError, match="lies outside of it") as caught:
        Kaggle2018(path)
    assert str(path) in str(caught.value)
    assert [file.name for file in tmp_path.rglob("*")] == ["a.zip"]


def test_damaged_archive_entry_is_named(tmp_path: Path, write_kaggle: Any) -> None:
    path = zipped(write_kaggle(tmp_path / "samples"), tmp_path / "a.zip")
    data = bytearray(path.read_bytes())
    position = data.index(b"IDAT") + 8
    data[position] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.zip:sample/.*Bad CRC-32"):
        list(Kaggle2018(path))


@pytest.mark.parametrize(("name", "message"), [("none", "does not exist"), ("text", "neither a folder nor a zip")])
def test_source_that_is_nothing_of_the_kind(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "text").write_text("text")
    with pytest.raises(InputError, match=message):
        Kaggle2018(tmp_path / name)
    with pytest.raises(InputError, match=r"dataset\.source is not set"):
        Kaggle2018(None)


LAYOUTS = {
    "two folders": ("images/a.png", "masks/a.tif"),
    "stardist": ("train/images/a.tif", "train/masks/a.tif"),
    "cellpose": ("a_img.png", "a_masks.png"),
    "cellpose gui": ("a.png", "a_cp_masks.png"),
    "beside": ("a.tif", "a_labels.tif"),
    "labels folder with ending": ("images/a.png", "labels/a_label.png"),
    "labels below": ("a.png", "masks/a.png"),
}


def write_pair(folder: Path, image: str, label: str, pixels: Any, labels: Any) -> None:
    for name, values in ((image, pixels), (label, labels)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            tifffile.imwrite(path, values)
        else:
            write_image(path, values)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_label_layouts(tmp_path: Path, masks: Any, pixels: Any, layout: str) -> None:
    labels = (masks[0] * 3).astype(np.uint16)
    labels[masks[1] > 0] = 700
    image, label = LAYOUTS[layout]
    write_pair(tmp_path, image, label, pixels, labels)
    record = only(LabelImages(tmp_path, category="nucleus"))
    assert record.name == "a"
    np.testing.assert_array_equal(dense(record), [labels == 3, labels == 700])
    np.testing.assert_array_equal(record.pixels, pixels)
    assert {instance.category for instance in record.instances} == {"nucleus"}


def test_images_folder_of_its_own(tmp_path: Path, masks: Any, pixels: Any) -> None:
    write_pair(tmp_path, "pictures/a.png", "annotation/a.png", pixels, masks[0])
    record = only(LabelImages(tmp_path / "annotation", tmp_path / "pictures"))
    np.testing.assert_array_equal(dense(record), masks[:1])


def test_labels_of_32_bits_far_apart(tmp_path: Path, masks: Any, pixels: Any) -> None:
    labels = masks[0].astype(np.uint32) * np.uint32(4_000_000_000)
    labels[20, 25] = 1
    write_pair(tmp_path, "a.png", "a_masks.tif", pixels, labels)
    np.testing.assert_array_equal(dense(only(LabelImages(tmp_path))), [labels == 1, labels == 4_000_000_000])


def test_image_without_objects_and_image_without_background(tmp_path: Path, pixels: Any) -> None:
    write_pair(tmp_path, "a.png", "a_masks.png", pixels, np.zeros(SIZE, np.uint8))
    write_pair(tmp_path, "b.png", "b_masks.png", pixels, np.full(SIZE, 5, np.uint8))
    empty, full = LabelImages(tmp_path)
    assert empty.instances == []
    np.testing.assert_array_equal(dense(full), np.ones((1, *SIZE)))


def test_uint16_fixture(shared: Path) -> None:
    folder = shared / "data/fixture/tiff"
    record = only(LabelImages(folder))
    labels = tifffile.imread(folder / "nuclei_uint16_labels.tif")
    assert record.pixels.dtype == np.uint16
    assert len(record.instances) == 30
    areas = Counter(labels[labels > 0].tolist())
    assert [int(mask.sum()) for mask in dense(record)] == [areas[label] for label in sorted(areas)]


def test_unsound_label_folders_are_explained(tmp_path: Path, masks: Any, pixels: Any) -> None:
    write_pair(tmp_path, "a.png", "b_masks.png", pixels, masks[0])
    with pytest.raises(InputError, match=r"a\.png has no label image of the same name"):
        LabelImages(tmp_path)
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"b_masks\.png has no image of the same name"):
        LabelImages(tmp_path)
    (tmp_path / "b_masks.png").rename(tmp_path / "b.png")
    with pytest.raises(InputError, match="has no label images"):
        LabelImages(tmp_path)


def test_label_image_of_another_size(tmp_path: Path, pixels: Any) -> None:
    write_pair(tmp_path, "a.png", "a_masks.png", pixels, np.ones((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"a\.png is 24x32 pixels, but .*a_masks\.png says 9x9"):
        list(LabelImages(tmp_path))


def test_binary_mask_is_not_taken_for_labels(tmp_path: Path, pixels: Any) -> None:
    binary = np.zeros(SIZE, np.uint8)
    binary[2:5, 2:5] = binary[10:15, 10:15] = 255
    write_pair(tmp_path, "a.png", "a_masks.png", pixels, binary)
    with pytest.raises(InputError, match=r"a_masks\.png holds 0 and 255 only"):
        list(LabelImages(tmp_path))


def test_two_files_for_one_image_are_refused(tmp_path: Path, masks: Any, pixels: Any) -> None:
    write_pair(tmp_path, "a.png", "a_masks.png", pixels, masks[0])
    write_image(tmp_path / "a_labels.png", masks[0])
    with pytest.raises(InputError, match="would be one image"):
        LabelImages(tmp_path)


def cellpose_folder(folder: Path, pixels: Any, labels: Any, masks_of: str = "ab") -> Path:
    """As Cellpose leaves it: two images, masks of some, and for both what else it writes."""
    for name in "ab":
        write_image(folder / f"{name}.png", pixels)
        np.save(folder / f"{name}_seg.npy", {"masks": labels, "filename": name}, allow_pickle=True)  # type: ignore[arg-type]
        write_image(folder / f"{name}_flows.tif", pixels.astype(np.float32) / 255)
        write_image(folder / f"{name}_cp_output.png", pixels)
        (folder / f"{name}_cp_outlines.txt").write_text("1,2,3,4")
        if name in masks_of:
            write_image(folder / f"{name}_cp_masks.png", labels)
    return folder


@pytest.mark.parametrize("masks_of", ["ab", "b", ""])
@pytest.mark.parametrize("archive", [False, True])
def test_folder_as_cellpose_leaves_it(tmp_path: Path, masks: Any, pixels: Any, masks_of: str, archive: bool) -> None:
    labels = (masks[0] * 5 + (masks[1] > masks[0]) * 7).astype(np.uint16)
    (tmp_path / "run").mkdir()
    folder = cellpose_folder(tmp_path / "run", pixels, labels, masks_of)
    source = LabelImages(zipped(folder, tmp_path / "a.zip") if archive else folder)
    records = list(source)
    assert [record.name for record in records] == ["a", "b"]
    for record in records:
        np.testing.assert_array_equal(dense(record), [labels == 5, labels == 7])
        np.testing.assert_array_equal(record.pixels, pixels)
    assert any("Cellpose" in note for note in source.reading.notes.lines())


def test_cellpose_masks_that_were_corrected_in_one_file_only(tmp_path: Path, masks: Any, pixels: Any) -> None:
    cellpose_folder(tmp_path, pixels, masks[0])
    write_image(tmp_path / "b_cp_masks.png", masks[1])
    with pytest.raises(InputError, match=r"b_cp_masks\.png and .*b_seg\.npy hold other masks"):
        list(LabelImages(tmp_path))


def test_an_image_that_is_called_like_a_result_is_an_image(tmp_path: Path, masks: Any, pixels: Any) -> None:
    write_pair(tmp_path, "blood_flows.png", "blood_flows_masks.png", pixels, masks[0])
    assert only(LabelImages(tmp_path)).name == "blood_flows"


def test_archive_with_backslashes(tmp_path: Path, write_kaggle: Any, masks: Any) -> None:
    folder = write_kaggle(tmp_path / "samples")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("sample\\masks\\", b"")
        for file in folder.rglob("*.png"):
            archive.writestr(str(file.relative_to(folder)).replace("/", "\\"), file.read_bytes())
    np.testing.assert_array_equal(dense(only(Kaggle2018(tmp_path / "a.zip"))), masks)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["s/images/s.png", "s\\images\\s.png"])
def test_archive_with_two_files_of_one_name(tmp_path: Path, again: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("s/images/s.png", "s/masks/1.png", again):
            archive.writestr(name, b"")
    with pytest.raises(InputError, match=r"a\.zip holds two files called s.images.s\.png"):
        Kaggle2018(tmp_path / "a.zip")
