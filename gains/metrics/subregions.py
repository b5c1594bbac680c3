"""Scores by how instances lie, and of the part of them that others cover: sums per image that add with any weights.

Ground truths and detections are paired as for F1 (IoU above 0.5). With truth M, its matched detection P and the covered
part C of M, the sub-region scores are ``|P & C| / |C|``, ``|P & (M - C)| / |M - C|`` and ``|P & M| / |P|``: the first
two average over all ground truths that have such a part (0 where nothing matches), the third over the matched ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gains.arrays import FloatArray
from gains.metrics.arrangement import GROUPS
from gains.metrics.matching.assignment import optimal
from gains.metrics.matching.rows import Row

IOU = 0.5
SHARES = {"light": (0.0, 1 / 3), "medium": (1 / 3, 2 / 3), "heavy": (2 / 3, 1.0)}
"""Classes of the covered share ``|C| / |M|``: above the first number, up to the second."""
REGIONS = ("covered_recall", "rest_recall", "precision")


@dataclass(frozen=True)
class LieStatistics:
    """What one category contributes in each image.

    Attributes:
        groups: ``(I, 4, 3)`` by :data:`GROUPS`: ground truths, those found, and the sum of their IoU.
        regions: ``(I, 4, 6)`` for uncovered instances, then the classes of :data:`SHARES`: instances with a covered
            part, sum of its recall; with a rest, sum of its recall; found ones, sum of their precision.
    """

    groups: FloatArray
    regions: FloatArray

    @classmethod
    def of(cls, rows: Sequence[Row | None], score_threshold: float) -> "LieStatistics | None":
        """Sum up the rows of one category, one per image; None where nobody asked for the arrangement."""
        if all(row is None or row.lie is None for row in rows):
            return None
        groups = np.zeros((len(rows), len(GROUPS), 3))
        regions = np.zeros((len(rows), 1 + len(SHARES), 6))
        for index, row in enumerate(rows):
            if row is not None:
                groups[index], regions[index] = _sums(row, score_threshold)
        return cls(groups, regions)


def by_arrangement(statistics: Mapping[str, LieStatistics | None], weights: FloatArray | None = None) -> dict[str, Any]:
    """The scores over all categories, and of each; None where there is nothing to score.

    Args:
        statistics: by category name.
        weights: ``(I,)`` how often each image counts; once by default.

    Returns:
        ``all`` and every category's name -> ``groups``: name -> ``recall``, ``mean_iou`` (of those found) and
        ``n_ground_truth``; ``covered``: ``covered_recall``, ``rest_recall`` and ``precision`` over all instances with a
        covered part; ``by_covered_share``: class -> the same.
    """
    known = {name: part for name, part in statistics.items() if part is not None}
    if not known:
        return {}
    joined = LieStatistics(
        np.sum([part.groups for part in known.values()], axis=0),
        np.sum([part.regions for part in known.values()], axis=0),
    )
    return {name: _summary(part, weights) for name, part in {"all": joined, **known}.items()}


def arrangement_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same as rows of one table, for the screen and for files.

    Args:
        found: what :func:`by_arrangement` returns.

    Returns:
        ``category`` (``all`` only where there are several), ``instances`` (a group, ``covered``, or a class of
        :data:`SHARES`), ``n_ground_truth``, ``recall`` and ``mean_iou`` of a group, ``covered_recall``,
        ``rest_recall`` and ``precision`` of covered ones; None where a score is not defined.
    """
    names = [name for name in found if name != "all" or len(found) != 2]
    scores = ("recall", "mean_iou", *REGIONS)
    rows = []
    for category in names:
        parts = found[category]
        shares = {f"covered, {name}": parts["by_covered_share"][name] for name in SHARES}
        for name, score in {**parts["groups"], "covered": parts["covered"], **shares}.items():
            row = {"category": category, "instances": name, "n_ground_truth": score["n_ground_truth"]}
            rows.append(row | {key: score.get(key) for key in scores})
    return rows


def _summary(statistics: LieStatistics, weights: FloatArray | None) -> dict[str, Any]:
    times = np.ones(len(statistics.groups)) if weights is None else weights
    groups, regions = np.tensordot(times, statistics.groups, 1), np.tensordot(times, statistics.regions, 1)
    return {
        "groups": {
            name: {"recall": _ratio(found, truths), "mean_iou": _ratio(iou, found), "n_ground_truth": int(truths)}
            for name, (truths, found, iou) in zip(GROUPS, groups.tolist(), strict=True)
        },
        "covered": _region(regions[1:].sum(0)),
        "by_covered_share": {name: _region(sums) for name, sums in zip(("none", *SHARES), regions, strict=True)},
    }


def _sums(row: Row, score_threshold: float) -> tuple[FloatArray, FloatArray]:
    """Sums of one image: ``(4, 3)`` by group, ``(4, 6)`` by covered share."""
    assert row.lie is not None
    close = np.flatnonzero(
        (row.scores[row.masks.detection] >= score_threshold) & (row.masks.iou > IOU) & ~row.crowd[row.masks.truth]
    )
    chosen = close[optimal(row.masks.where(close), most_pairs_first=True)]
    truths = np.flatnonzero(~row.crowd)
    area, covered = row.truth_areas, row.lie.covered
    found, iou, hit, covered_hit, own = (np.zeros(len(area)) for _ in range(5))
    matched = row.masks.truth[chosen]
    found[matched], iou[matched] = 1, row.masks.iou[chosen]
    predicted = row.detection_areas[row.masks.detection[chosen]]
    # Both areas are whole numbers, so rounding makes the intersection exact.
    hit[matched] = np.rint(row.masks.iou[chosen] * (area[matched] + predicted) / (1 + row.masks.iou[chosen]))
    covered_hit[matched] = row.lie.covered_hits[chosen]
    own[matched] = hit[matched] / predicted
    rest = area - covered
    recalls = [
        np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
        for part, whole in ((covered_hit, covered), (hit - covered_hit, rest))
    ]
    columns = np.stack([covered > 0, recalls[0], rest > 0, recalls[1], found, own], axis=1).astype(np.float64)
    share = np.divide(covered, area, out=np.zeros_like(area), where=area > 0)
    kind = np.searchsorted([0.0, *(low for low, _ in list(SHARES.values())[1:])], share, side="left")
    groups, regions = np.zeros((len(GROUPS), 3)), np.zeros((1 + len(SHARES), columns.shape[1]))
    np.add.at(groups, row.lie.group[truths], np.stack([np.ones(len(area)), found, iou], axis=1)[truths])
    np.add.at(regions, kind[truths], columns[truths])
    return groups, regions


def _region(sums: FloatArray) -> dict[str, float | int | None]:
    covered, covered_recall, rest, rest_recall, found, precision = sums.tolist()
    return {
        "covered_recall": _ratio(covered_recall, covered),
        "rest_recall": _ratio(rest_recall, rest),
        "precision": _ratio(precision, found),
        "n_ground_truth": int(max(covered, rest)),
    }


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None
