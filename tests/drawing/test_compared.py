"""Truth and prediction side by side: who is whom, and that it can be seen."""

from collections.abc import Sequence

import numpy as np
import torch

from gains.drawing import PALETTE, assign_colours, draw_instances, enlarge
from gains.drawing.compared import comparison_figure, draw_compared, match
from gains.drawing.scale_bar import add_scale_bar
from gains.masks import InstanceCrops
from gains.rle import RLE, encode_crop

SIZE = (500, 500)


def square(x: int, y: int, side: int = 40) -> RLE:
    return encode_crop(np.ones((side, side), bool), (x, y, x + side, y + side), SIZE)


def crops_of(rles: Sequence[RLE]) -> InstanceCrops:
    return InstanceCrops.from_rle(rles, SIZE)


def test_each_prediction_is_the_truth_that_it_meets() -> None:
    truths = [square(10, 10), square(100, 100), square(200, 200)]
    found = [square(205, 200), square(300, 300), square(10, 10)]
    matched = match(truths, [1, 1, 1], found, [1, 1, 1])
    assert matched.truth.tolist() == [2, -1, 0]
    np.testing.assert_allclose(matched.iou, [35 / 45, 0, 1])
    assert matched.missed.tolist() == [False, True, False]
    assert matched.false.tolist() == [False, True, False]


def test_half_an_overlap_is_needed_and_the_same_category() -> None:
    truths, found = [square(10, 10), square(100, 100)], [square(25, 10), square(100, 100)]
    matched = match(truths, [1, 1], found, [1, 2])
    assert matched.truth.tolist() == [-1, -1]
    assert matched.missed.all()
    assert matched.false.all()


def test_a_chain_is_paired_as_far_as_possible() -> None:
    """The best pair would take the only partner of the other truth."""
    truths, found = [square(10, 10), square(22, 10)], [square(20, 10), square(34, 10)]
    assert match(truths, [1, 1], found, [1, 1]).truth.tolist() == [0, 1]


def test_predictions_in_a_crowd_region_are_neither_right_nor_false() -> None:
    matched = match([square(10, 10, 200)], [1], [square(50, 50)], [1], [True])
    assert matched.truth.tolist() == [-1]
    assert not matched.missed.any()
    assert not matched.false.any()


def test_nothing_meets_nothing() -> None:
    for truths, found in ([], []), ([square(1, 1)], []), ([], [square(1, 1)]):
        matched = match(truths, [1] * len(truths), found, [1] * len(found))
        assert matched.missed.sum() == len(truths)
        assert matched.false.sum() == len(found)
        drawn = draw_compared(np.zeros(SIZE, np.uint8), crops_of(truths), crops_of(found), matched, np.ones(len(found)))
        assert [each.shape for each in drawn] == [(*SIZE, 3)] * 2


def test_an_instance_has_the_same_colour_on_both_sides() -> None:
    """Six in a row, found in another order, so that colours by order would differ."""
    truths = [square(10 + 41 * index, 10) for index in range(6)]
    found = [truths[index] for index in (3, 5, 0, 1)] + [square(10, 400)]
    matched = match(truths, [1] * 6, found, [1] * 5)
    left, right = draw_compared(np.zeros(SIZE, np.uint8), crops_of(truths), crops_of(found), matched, np.ones(5))
    colours = PALETTE[assign_colours(crops_of(truths))]
    for index in (0, 1, 3, 5):
        corner = (10, 10 + 41 * index)
        assert (left[corner] == colours[index]).all()
        assert (right[corner] == colours[index]).all()
    for picture, x, y in (left, 10 + 41 * 2, 10), (left, 10 + 41 * 4, 10), (right, 10, 400):
        edge = picture[y, x : x + 40]
        assert set(np.unique(edge)) == {0, 255}  # dashed
    assert (right[10, 10 + 41 * 2] == 0).all()  # nothing is drawn where nothing was found


def test_comparison_holds_image_truth_and_prediction_in_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    truth, found = crops_of([square(80, 80)]), crops_of([square(82, 80), square(400, 400)])
    scores = np.array([0.9, 0.8])
    figure = comparison_figure(image, (truth, [1]), (found, [1, 1]), scores, "title")
    height, width, _ = figure.shape
    assert width == 4 * 8 + 3 * 500
    panels = [figure[height - 530 : height - 30, 8 + k * 508 : 508 + k * 508] for k in range(3)]
    np.testing.assert_array_equal(panels[0], add_scale_bar(enlarge(image, 1), 1))
    np.testing.assert_array_equal(panels[1], draw_instances(image, truth, texts=[""]))
    assert (panels[2][400:440, 400:440] != panels[0][400:440, 400:440]).any()


def test_comparison_of_no_instance() -> None:
    none = InstanceCrops.from_crops([], torch.zeros(0, 4), (120, 120))
    assert comparison_figure(np.zeros((120, 120), np.uint8), (none, []), (none, []), np.zeros(0)).dtype == np.uint8
