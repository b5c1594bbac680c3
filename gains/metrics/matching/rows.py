"""One row per image and category: all that the metrics need of it, with the masks already gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gains.arrays import BoolArray, FloatArray, IntArray
from gains.masks import InstanceCrops
from gains.metrics.arrangement import arrange, covered_hits
from gains.metrics.matching.intersections import Pairs, box_pairs, mask_areas, mask_boxes, mask_pairs
from gains.rle import RLE, encode_crop


@dataclass(frozen=True)
class InstanceSets:
    """Two sets of instances without ranking or crowd regions: what AJI, PQ, F1 and Dice compare.

    Attributes:
        truth_areas: ``(G,)`` pixels.
        detection_areas: ``(D,)`` pixels, highest score first.
        excused: ``(D,)`` detections more than half inside a crowd region: not counted where they match nothing.
        pairs: pairs that share a pixel.
        intersection: ``(P,)`` pixels shared by each pair.
    """

    truth_areas: FloatArray
    detection_areas: FloatArray
    excused: BoolArray
    pairs: Pairs
    intersection: FloatArray

    @property
    def empty(self) -> bool:
        """Whether there is neither a ground truth nor a detection that counts."""
        return len(self.truth_areas) == 0 and bool(self.excused.all())


@dataclass(frozen=True)
class Lie:
    """How the ground truths of a row lie to each other (see :mod:`gains.metrics.arrangement`).

    Attributes:
        group: ``(G,)`` index into ``GROUPS``; of a crowd region, which has no place in them, 0.
        covered: ``(G,)`` pixels that other ground truths of the category cover.
        covered_hits: ``(P,)`` pixels of each pair's detection in that part, for pairs of IoU 0.5 and more.
    """

    group: IntArray
    covered: FloatArray
    covered_hits: FloatArray


@dataclass(frozen=True)
class Row:
    """One category of one image.

    Attributes:
        image_id: the image.
        label: the category.
        truth_areas: ``(G,)`` pixels, in annotation order.
        crowd: ``(G,)`` which ground truths are crowd regions.
        scores: ``(D,)`` in descending order, equal ones in the order given.
        detection_areas: ``(D,)`` pixels.
        masks: overlapping masks.
        boxes: overlapping boxes.
        lie: how the ground truths lie to each other, where it was asked for.
    """

    image_id: int
    label: int
    truth_areas: FloatArray
    crowd: BoolArray
    scores: FloatArray
    detection_areas: FloatArray
    masks: Pairs
    boxes: Pairs
    lie: Lie | None = None

    def above(self, score_threshold: float) -> InstanceSets:
        """The detections with at least this score."""
        return self.best(int(np.count_nonzero(self.scores >= score_threshold)))

    def best(self, count: int) -> InstanceSets:
        """The ``count`` detections of highest score, and the ground truths that are not crowd regions."""
        pairs = self.masks.where(self.masks.detection < count)
        areas = self.detection_areas[:count]
        in_crowd = self.crowd[pairs.truth]
        excused = np.zeros(len(areas), dtype=bool)
        excused[pairs.detection[in_crowd & (pairs.iou > 0.5)]] = True
        pairs = pairs.where(~in_crowd)
        # Both areas are whole numbers, so rounding makes the intersection exact.
        total = self.truth_areas[pairs.truth] + areas[pairs.detection]
        intersection = np.rint(pairs.iou * total / (1 + pairs.iou))
        index = np.cumsum(~self.crowd) - 1
        pairs = Pairs(index[pairs.truth], pairs.detection, pairs.iou)
        return InstanceSets(self.truth_areas[~self.crowd], areas, excused, pairs, intersection)


def compare(prediction: Mapping[str, Any], target: Mapping[str, Any], arrangement: bool = False) -> list[Row]:
    """Compare the detections of one image with its ground truth, category by category.

    Args:
        prediction: ``scores (K,)``, ``labels (K,)``, ``masks`` K encodings and optionally ``boxes (K, 4)`` xyxy;
            boxes left out are those of the masks.
        target: ``image_id``, ``labels (N,)``, ``masks`` N encodings and optionally ``iscrowd (N,)`` and
            ``boxes (N, 4)`` xyxy.
        arrangement: also find how the ground truths lie to each other, which decodes their masks.

    Returns:
        A row for each label that occurs on either side, by label.

    Raises:
        ValueError: if numbers of scores, labels, boxes and masks disagree, or masks differ in size.
    """
    scores = _numbers(prediction["scores"])
    labels, truth_labels = _numbers(prediction["labels"]), _numbers(target["labels"])
    crowd = _numbers(target.get("iscrowd", np.zeros(len(truth_labels)))).astype(bool)
    image_id = int(target["image_id"])
    boxes = _boxes(prediction, image_id)
    truth_boxes = _boxes(target, image_id)
    _check(image_id, prediction["masks"], target["masks"], [scores, labels], [truth_labels, crowd])
    order = np.argsort(-scores, kind="stable")
    rows = []
    for label in np.union1d(labels, truth_labels).astype(int).tolist():
        found, true = order[labels[order] == label], np.nonzero(truth_labels == label)[0]
        masks = [_for_coco(prediction["masks"][index]) for index in found]
        truths = [_for_coco(target["masks"][index]) for index in true]
        pairs = mask_pairs(truths, masks, crowd[true])
        around = mask_boxes(masks) if boxes is None else boxes[found]
        truth_around = mask_boxes(truths) if truth_boxes is None else truth_boxes[true]
        close = _close_boxes(box_pairs(truth_around, around, crowd[true]))
        areas, truth_areas = mask_areas(masks), mask_areas(truths)
        lie = _lie(truths, crowd[true], masks, pairs) if arrangement else None
        rows.append(Row(image_id, label, truth_areas, crowd[true], scores[found], areas, pairs, close, lie))
    return rows


def _lie(truths: list[RLE], crowd: BoolArray, detections: list[RLE], pairs: Pairs) -> Lie:
    """How the ground truths lie; crowd regions cover nobody."""
    group, covered = np.zeros(len(truths), np.int64), [_nothing(truth) for truth in truths]
    single = np.flatnonzero(~crowd)
    if len(single):
        size = (truths[0]["size"][0], truths[0]["size"][1])
        found = arrange(InstanceCrops.from_rle([truths[index] for index in single], size))
        group[single] = found.group
        for index, rle in zip(single, found.covered.to_rle(), strict=True):
            covered[index] = rle
    return Lie(group, mask_areas(covered), covered_hits(pairs, covered, detections))


def _nothing(rle: RLE) -> RLE:
    """An empty mask of the same image."""
    return encode_crop(np.zeros((0, 0), bool), (0, 0, 0, 0), (rle["size"][0], rle["size"][1]))


def _close_boxes(pairs: Pairs) -> Pairs:
    """Boxes enter mAP alone, whose lowest IoU is 0.5: in dense images the rest would outnumber the masks' pairs."""
    return pairs.where(pairs.iou >= 0.5)


def _numbers(values: Any) -> FloatArray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _boxes(instances: Mapping[str, Any], image_id: int) -> FloatArray | None:
    """Boxes as ``x, y, width, height``, or None where there are none."""
    if instances.get("boxes") is None:
        return None
    boxes = _numbers(instances["boxes"]).reshape(-1, 4)
    if len(boxes) != len(instances["masks"]):
        raise ValueError(f"image {image_id}: {len(boxes)} boxes but {len(instances['masks'])} masks")
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _for_coco(rle: RLE) -> RLE:
    """pycocotools reads ``size`` as a list of two and ``counts`` as bytes or str."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}


def _check(
    image_id: int, masks: list[RLE], truths: list[RLE], per_mask: list[FloatArray], per_truth: list[Any]
) -> None:
    for rles, columns, what in ((masks, per_mask, "prediction"), (truths, per_truth, "target")):
        for column in columns:
            if len(column) != len(rles):
                raise ValueError(
                    f"image {image_id}: the {what} has {len(rles)} masks but {len(column)} scores or labels"
                )
    sizes = {tuple(int(side) for side in rle["size"]) for rle in [*masks, *truths]}
    if len(sizes) > 1:
        listed = " and ".join(str(size) for size in sorted(sizes))
        raise ValueError(f"image {image_id}: masks of different (height, width): {listed}; all must be the image's")
