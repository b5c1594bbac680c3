"""What one category contributes in each image, from which any metric follows with any weighting of the images."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property

import numpy as np

from gains.arrays import FloatArray
from gains.metrics.aji import aji, aji_paper, aji_plus
from gains.metrics.average_precision import Ranking
from gains.metrics.matching.rows import Row
from gains.metrics.panoptic import MatchCounts, count_matches
from gains.metrics.subregions import LieStatistics


@dataclass(frozen=True)
class CategoryStatistics:
    """What one category contributes in each image: sums that add over images, and values to average.

    Attributes:
        segm: ranked detections by mask.
        bbox: ranked detections by box.
        aji: name -> ``(I,)`` index of each image, NaN where it has neither ground truth nor detection.
        matches: IoU threshold -> ``(I, 5)`` columns as the fields of :class:`MatchCounts`.
        truths: ``(I,)`` ground truths, crowd regions left out.
        detections: ``(I,)`` all detections.
        lie: by how instances lie, where that was asked for.
    """

    segm: Ranking
    bbox: Ranking
    aji: dict[str, FloatArray]
    matches: dict[float, FloatArray]
    truths: FloatArray
    detections: FloatArray
    lie: LieStatistics | None = None

    @classmethod
    def of(cls, rows: Sequence[Row | None], max_detections: int, score_threshold: float) -> "CategoryStatistics":
        """Reduce the rows of one category, one per image and None where it does not occur."""
        paper = np.full(len(rows), np.nan)
        for index, row in enumerate(rows):
            if row is not None:
                paper[index] = aji_paper(row.best(min(max_detections, len(row.scores))))
        segm, bbox = Ranking.of(rows, "masks", max_detections), Ranking.of(rows, "boxes", max_detections)
        detections = np.array([0.0 if row is None else len(row.scores) for row in rows])
        return cls(segm, bbox, {"aji_paper": paper}, {}, segm.truths, detections).at(score_threshold, rows)

    def at(self, score_threshold: float, rows: Sequence[Row | None]) -> "CategoryStatistics":
        """The same with another score threshold, without ranking again."""
        standard, plus = np.full((2, len(rows)), np.nan)
        matches = {threshold: np.zeros((len(rows), 5)) for threshold in (0.5, 0.75)}
        for index, row in enumerate(rows):
            if row is None:
                continue
            sets = row.above(score_threshold)
            standard[index], plus[index] = aji(sets), aji_plus(sets)
            for threshold, counts in matches.items():
                counts[index] = astuple(count_matches(sets, threshold))
        lie = LieStatistics.of(rows, score_threshold)
        return replace(self, aji={**self.aji, "aji": standard, "aji_plus": plus}, matches=matches, lie=lie)


@dataclass(frozen=True)
class Weighted:
    """Statistics of a category with weights of the images; what several metrics share is computed once.

    Attributes:
        statistics: of the category.
        weights: ``(I,)`` how often each image counts.
    """

    statistics: CategoryStatistics
    weights: FloatArray

    @cached_property
    def segm(self) -> FloatArray:
        """Average precision of masks ``(10,)`` at IoU 0.50 to 0.95."""
        return self.statistics.segm.average_precision(self.weights)

    @cached_property
    def bbox(self) -> FloatArray:
        """Average precision of boxes ``(10,)``."""
        return self.statistics.bbox.average_precision(self.weights)

    def mean(self, index: str) -> float:
        """Mean of an AJI over the images in which the category occurs; NaN without any."""
        return weighted_mean(self.statistics.aji[index], self.weights)

    def matches(self, iou: float) -> MatchCounts:
        """Counts of pairs above an IoU of 0.5 or 0.75, added up over the images."""
        return MatchCounts(*(self.weights @ self.statistics.matches[iou]).tolist())


def weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    """Mean of the defined values; NaN without any."""
    defined = ~np.isnan(values)
    total = weights[defined].sum()
    return float(values[defined] @ weights[defined] / total) if total > 0 else float("nan")
