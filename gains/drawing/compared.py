"""Truth and prediction side by side: the same instance in one colour, what is missed or false in dashes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.drawing import Picture, assign_colours, contact_sheet, draw_instances, enlarge, zoom_of
from gains.drawing.scale_bar import add_scale_bar
from gains.masks import InstanceCrops
from gains.metrics.matching.assignment import optimal
from gains.metrics.matching.intersections import mask_pairs
from gains.rle import RLE

MATCHING_IOU = 0.5
"""IoU above which a prediction is taken for the truth that it meets, as in F1."""


@dataclass(frozen=True)
class Matched:
    """Which prediction is which truth.

    Attributes:
        truth: ``(D,)`` index of the truth of each prediction, -1 for none.
        iou: ``(D,)`` with that truth; 0 for none.
        missed: ``(G,)`` truths that no prediction is.
        false: ``(D,)`` predictions that are no truth, nor part of a crowd region.
    """

    truth: IntArray
    iou: FloatArray
    missed: BoolArray
    false: BoolArray


def match(
    truths: Sequence[RLE],
    truth_labels: Sequence[int],
    found: Sequence[RLE],
    found_labels: Sequence[int],
    crowd: Sequence[bool] | None = None,
) -> Matched:
    """Pair as many predictions with truths of their category as possible, above an IoU of 0.5.

    Args:
        truths: G masks of one image.
        truth_labels: category of each.
        found: D masks, the highest score first.
        found_labels: category of each.
        crowd: which truths are crowd regions: they are neither found nor missed.
    """
    crowds = np.zeros(len(truths), dtype=bool) if crowd is None else np.asarray(crowd, dtype=bool)
    owner, iou = np.full(len(found), -1, dtype=np.int64), np.zeros(len(found))
    missed, excused = ~crowds, np.zeros(len(found), dtype=bool)
    pairs = mask_pairs(truths, found, crowds)
    alike = np.asarray(truth_labels, np.int64)[pairs.truth] == np.asarray(found_labels, np.int64)[pairs.detection]
    pairs = pairs.where(alike & (pairs.iou > MATCHING_IOU))
    excused[pairs.detection[crowds[pairs.truth]]] = True
    pairs = pairs.where(~crowds[pairs.truth])
    pairs = pairs.where(optimal(pairs, most_pairs_first=True))
    owner[pairs.detection], iou[pairs.detection] = pairs.truth, pairs.iou
    missed[pairs.truth] = False
    return Matched(owner, iou, missed, (owner < 0) & ~excused)


def draw_compared(
    image: npt.NDArray[np.uint8], truth: InstanceCrops, found: InstanceCrops, matched: Matched, scores: FloatArray
) -> tuple[Picture, Picture]:
    """The truth drawn on its image, and the predictions with their scores.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, 3)``.
        truth: G masks on it.
        found: D masks on it.
        matched: which is which.
        scores: ``(D,)``.
    """
    colours = assign_colours(truth)
    own = assign_colours(found)  # for predictions in crowd regions, which are no truth and not wrong
    shared = np.where(matched.truth >= 0, colours[matched.truth] if len(colours) else own, own)
    missed = ["missed" if wrong else "" for wrong in matched.missed]
    texts = [f"{'false ' * bool(wrong)}{score:.2f}" for wrong, score in zip(matched.false, scores, strict=True)]
    return (
        draw_instances(image, truth, colours=colours, wrong=matched.missed, texts=missed),
        draw_instances(image, found, colours=shared, wrong=matched.false, texts=texts),
    )


def comparison_figure(
    image: npt.NDArray[np.uint8],
    truth: tuple[InstanceCrops, Sequence[int]],
    found: tuple[InstanceCrops, Sequence[int]],
    scores: FloatArray,
    title: str = "",
) -> Picture:
    """Image, ground truth and prediction side by side, with the number of instances of each.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, 3)``.
        truth: masks and labels.
        found: masks and labels, the highest score first.
        scores: of what was found.
        title: written above, such as the name of the image.
    """
    matched = match(truth[0].to_rle(), truth[1], found[0].to_rle(), found[1])
    panels = [enlarge(image, zoom_of(image)), *draw_compared(image, truth[0], found[0], matched, scores)]
    panels[0] = add_scale_bar(panels[0], panels[0].shape[1] / image.shape[1])
    captions = [
        "image",
        f"ground truth: {len(truth[0])}, {matched.missed.sum()} missed",
        f"prediction: {len(found[0])}, {matched.false.sum()} false",
    ]
    return contact_sheet(panels, columns=3, captions=captions, title=title)
