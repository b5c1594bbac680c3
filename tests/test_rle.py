from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from gains.rle import are_sound, decode_crop, encode_crop, run_lengths

dense_masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


def coco(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def paste(crop: npt.NDArray[np.bool_], box: tuple[int, int, int, int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    full = np.zeros(size, bool)
    x0, y0, x1, y1 = box
    full[y0:y1, x0:x1] = crop
    return full


@given(dense_masks)
@settings(max_examples=300, deadline=None)
def test_encoding_a_full_mask_is_pycocotools_encoding(mask: npt.NDArray[np.bool_]) -> None:
    assert encode_crop(mask, (0, 0, mask.shape[1], mask.shape[0]), mask.shape) == coco(mask)


@given(dense_masks, st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_a_crop_is_encoded_where_it_lies(
    crop: npt.NDArray[np.bool_], left: int, top: int, right: int, bottom: int
) -> None:
    height, width = crop.shape
    size = (top + height + bottom, left + width + right)
    box = (left, top, left + width, top + height)
    assert encode_crop(crop, box, size) == coco(paste(crop, box, size))


@given(dense_masks)
@settings(max_examples=300, deadline=None)
def test_decoding_gives_the_tight_crop(mask: npt.NDArray[np.bool_]) -> None:
    crop, box = decode_crop(coco(mask))
    np.testing.assert_array_equal(paste(crop, box, mask.shape), mask)
    if mask.any():
        assert crop[0].any()
        assert crop[-1].any()
        assert crop[:, 0].any()
        assert crop[:, -1].any()
    else:
        assert crop.size == 0


@pytest.mark.parametrize("side", [64, 700])
def test_long_runs_survive_the_packing(side: int) -> None:
    mask = np.zeros((side, side), bool)
    mask[side // 3 :, side // 2 :] = True
    mask[0, 0] = True
    np.testing.assert_array_equal(paste(*decode_crop(coco(mask)), mask.shape), mask)
    lengths = run_lengths(coco(mask))
    assert lengths.sum() == side * side
    assert lengths[0] == 0


def test_counts_may_be_bytes_text_or_a_list() -> None:
    text = coco(np.eye(5, dtype=bool))
    packed = {"size": [5, 5], "counts": text["counts"].encode()}
    plain = {"size": [5, 5], "counts": run_lengths(text).tolist()}
    for rle in (packed, plain):
        np.testing.assert_array_equal(decode_crop(rle)[0], np.eye(5, dtype=bool))


@pytest.mark.parametrize("counts", [[3, 4], [3, 4, 100], [30, -5], []])
def test_runs_that_do_not_fill_the_image_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="RLE runs cover"):
        decode_crop({"size": [5, 5], "counts": counts})


def is_sound(text: str, pixels: int) -> bool:
    """By decoding it."""
    try:
        mask, _ = decode_crop({"size": [1, pixels], "counts": text})
    except ValueError:
        return False
    return bool(mask.any())


# Digits of single numbers, of those that go on, of negative ones, and what is none.
texts = st.text(alphabet="0123?@OPRo~\u00e9", min_size=1, max_size=6)


@given(st.lists(st.one_of(texts, dense_masks.map(lambda mask: coco(mask)["counts"])), max_size=6), st.integers(1, 60))
@settings(max_examples=500, deadline=None)
def test_what_is_sound_in_bulk_is_what_decodes(counts: list[str], pixels: int) -> None:
    for text in counts:
        assert are_sound([text], [pixels]).tolist() == [is_sound(text, pixels)]
    together = are_sound(counts, [pixels] * len(counts)).tolist()
    expected = [is_sound(text, pixels) for text in counts]
    assert together == expected or not any(together)


@given(st.lists(dense_masks, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_masks_of_other_sizes_are_told_apart_in_bulk(masks: list[npt.NDArray[np.bool_]]) -> None:
    counts = [coco(mask)["counts"] for mask in masks]
    assert are_sound(counts, [mask.size for mask in masks]).tolist() == [bool(mask.any()) for mask in masks]
    wrong = [mask.size + (index % 2) for index, mask in enumerate(masks)]
    expected = [bool(mask.any()) and index % 2 == 0 for index, mask in enumerate(masks)]
    assert are_sound(counts, wrong).tolist() == expected


def test_runs_whose_sum_wraps_around_are_not_sound() -> None:
    far = "o" * 11 + "7"  # 2^58 - 1 as eleven digits that go on, and a last one
    assert not are_sound([far * 16 + "4"], [4]).any()
    assert not is_sound(far * 16 + "4", 4)
