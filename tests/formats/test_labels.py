"""Label images: what only looks like one is refused, and can be split into connected parts."""

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from PIL import Image
from scipy import ndimage

from gains.errors import InputError
from gains.formats.labels import check_lossless, check_not_interpolated, instances_of
from helpers.label_scenes import drawn, label_scenes


def discs(numbers: tuple[int, ...] = (1, 2, 3, 4)) -> npt.NDArray[np.int64]:
    rows, columns = np.mgrid[:64, :64]
    labels = np.zeros((64, 64), np.int64)
    for number, (y, x) in zip(numbers, ((15, 14), (16, 45), (47, 18), (46, 48)), strict=True):
        labels[(rows - y) ** 2 + (columns - x) ** 2 < 80] = number
    return labels


@pytest.mark.parametrize("value", [1, 7, 128, 65535])
def test_binary_masks_are_refused_and_split(value: int) -> None:
    mask = (discs() > 0) * value
    with pytest.raises(InputError, match=r"m\.png holds 0 and .* dataset\.components=true"):
        instances_of(mask, "m.png", None)
    assert len(instances_of(mask, "m.png", True)) == 4
    assert len(instances_of(mask, "m.png", False)) == 1


def test_inverted_masks_are_refused() -> None:
    for foreground, background in ((0, 255), (1, 2)):
        with pytest.raises(InputError, match="binary mask"):
            instances_of(np.where(discs() > 0, foreground, background), "m.png", None)


def test_an_inverted_mask_with_one_hole_and_one_without() -> None:
    with pytest.raises(InputError, match="binary mask"):
        instances_of((discs() != 3) * 255, "m.png", None)
    with pytest.raises(InputError, match="holds 255 everywhere"):
        instances_of(np.full((9, 9), 255), "m.png", None)
    assert len(instances_of(np.full((9, 9), 255), "m.png", False)) == 1
    assert len(instances_of(np.full((9, 9), 5), "m.png", None)) == 1


def test_masks_of_classes_are_refused_and_split() -> None:
    classes = np.array([0, 2, 1, 1, 2])[discs()]
    with pytest.raises(InputError, match="a mask of classes"):
        instances_of(classes, "m.png", None)
    assert len(instances_of(classes, "m.png", True)) == 4
    assert len(instances_of(classes, "m.png", False)) == 2
    three = np.array([0, 2, 1, 1, 3])[discs()]
    assert len(instances_of(three, "m.png", None)) == 3  # some of them may be what an overlap left


def test_specks_of_a_brush_make_no_classes() -> None:
    labels = discs()
    for number in range(1, 5):
        labels[30, 5 * number] = number
    assert len(instances_of(labels, "m.png", None)) == 4


def test_label_images_are_read() -> None:
    assert len(instances_of(discs(), "m.png", None)) == 4
    assert len(instances_of((discs() == 2) * 9, "m.png", None)) == 1
    assert instances_of(np.zeros((8, 8), np.int64), "m.png", None) == []


def test_touching_tissue_is_not_taken_for_interpolation() -> None:
    draw = np.random.default_rng(3)
    tissue = np.kron(draw.permutation(64).reshape(8, 8) + 1, np.ones((3, 3), np.int64))
    check_not_interpolated(tissue, "m.png")


@settings(max_examples=150, deadline=None)
@given(label_scenes())
def test_label_images_of_any_kind_are_not_taken_for_interpolated_ones(labels: npt.NDArray[np.int64]) -> None:
    check_not_interpolated(labels, "m.png")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("quality", [60, 80, 95])
def test_small_numbers_that_were_jpeg_are_refused(quality: int, seed: int) -> None:
    scene = drawn("cells", 128, 4, np.random.default_rng(seed))
    file = io.BytesIO()
    Image.fromarray(scene.astype(np.uint8)).save(file, "JPEG", quality=quality)
    assert len(instances_of(scene, "m.png", False)) >= 3
    with pytest.raises(InputError, match="lossy compression"):
        instances_of(np.asarray(Image.open(file)).astype(np.int64), "m.png", False)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("zoom", [0.6, 1.7, 2.0])
@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_small_numbers_that_were_interpolated_are_refused(method: int, zoom: float, seed: int) -> None:
    scene = drawn("islands", 150, 7, np.random.default_rng(seed))
    resized = cv2.resize(scene.astype(np.float32), None, fx=zoom, fy=zoom, interpolation=method)
    with pytest.raises(InputError, match="interpolation"):
        instances_of(np.rint(resized.clip(0)).astype(np.int64), "m.png", False)


@pytest.mark.parametrize("zoom", [0.6, 1.5, 3.0])
def test_interpolated_labels_are_refused(zoom: float) -> None:
    resized = np.rint(ndimage.zoom(discs((10, 90, 170, 250)).astype(float), zoom, order=1)).astype(np.int64)
    with pytest.raises(InputError, match="nearest neighbour"):
        instances_of(resized, "m.png", None)


@pytest.mark.parametrize("quality", [50, 80, 95, 100])
@pytest.mark.parametrize("numbers", [(10, 90, 170, 250), (60, 120, 180, 240)])
def test_png_files_that_were_jpeg_are_refused(quality: int, numbers: tuple[int, ...]) -> None:
    file = io.BytesIO()
    Image.fromarray(discs(numbers).astype(np.uint8)).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file)).astype(np.int64)
    for components in (None, True, False):
        with pytest.raises(InputError, match="nearest neighbour"):
            instances_of(decoded, "m.png", components)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_objects_are_no_crumbs(side: int) -> None:
    draw = np.random.default_rng(side)
    labels = np.zeros((90, 90), np.int64)
    for number, place in enumerate(draw.permutation(225)[:60], start=1):
        y, x = 6 * (place // 15), 6 * (place % 15)
        labels[y : y + side, x : x + 2] = number
    assert len(instances_of(labels, "m.png", None)) == 60


@pytest.mark.parametrize("method", [7, 34712, 34887, 34934, 50001, 50002])
def test_methods_that_may_lose_values_are_refused(method: int) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, discs().astype(np.uint8), compression="zlib")
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(method)
    with pytest.raises(InputError, match="compressed with loss, or by a method"):
        check_lossless(file.getvalue(), "m")


def test_lossy_containers_are_refused() -> None:
    pixels: npt.NDArray[Any] = discs().astype(np.uint8)
    for kind, options in (("JPEG", {}), ("WEBP", {"quality": 60}), ("TIFF", {"compression": "jpeg"})):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **options)
        with pytest.raises(InputError, match="compressed with loss"):
            check_lossless(file.getvalue(), "m")
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, compression="zlib")
    check_lossless(file.getvalue(), "m")
