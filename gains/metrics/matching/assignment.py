"""Pairing detections with ground truths one to one."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gains.arrays import IntArray
from gains.metrics.matching.intersections import Pairs


def in_annotation_order(pairs: Pairs, *, tie_to_lower_score: bool) -> IntArray:
    """Greedy pairing: each ground truth in turn takes the unused detection of highest IoU.

    Args:
        pairs: candidate pairs, detections numbered from the highest score.
        tie_to_lower_score: which of two detections with the same IoU is taken.

    Returns:
        Indices of the chosen pairs.
    """
    tie = -pairs.detection if tie_to_lower_score else pairs.detection
    order = np.lexsort((tie, -pairs.iou, pairs.truth))
    chosen: list[int] = []
    used: set[int] = set()
    last = -1
    ordered = zip(order.tolist(), pairs.truth[order].tolist(), pairs.detection[order].tolist(), strict=True)
    for index, truth, detection in ordered:
        if truth != last and detection not in used:
            used.add(detection)
            chosen.append(index)
            last = truth
    return np.array(chosen, dtype=np.int64)


def optimal(pairs: Pairs, *, most_pairs_first: bool) -> IntArray:
    """One-to-one pairing of maximal total IoU.

    Instances only compete with those they overlap, so each connected group of pairs is solved on its own: hundreds of
    tiny problems in place of one of cubic cost.

    Args:
        pairs: candidate pairs.
        most_pairs_first: pair as many as possible and let total IoU decide between equals; else total IoU alone.

    Returns:
        Indices of the chosen pairs, ascending.
    """
    if len(pairs.iou) == 0:
        return np.zeros(0, dtype=np.int64)
    truths = int(pairs.truth.max()) + 1
    nodes = truths + int(pairs.detection.max()) + 1
    graph = coo_matrix((np.ones(len(pairs.iou)), (pairs.truth, truths + pairs.detection)), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][pairs.truth]
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.nonzero(np.diff(group[order]))[0] + 1)
    chosen = [part if len(part) == 1 else part[_solve(pairs, part, most_pairs_first)] for part in members]
    return np.sort(np.concatenate(chosen))


def _solve(pairs: Pairs, members: IntArray, most_pairs_first: bool) -> IntArray:
    """Positions within ``members`` of the best pairing of one connected group."""
    truths, row = np.unique(pairs.truth[members], return_inverse=True)
    detections, column = np.unique(pairs.detection[members], return_inverse=True)
    weight = np.zeros((len(truths), len(detections)))
    # Adding more than any total of IoUs to each pair makes their number decide first.
    weight[row, column] = pairs.iou[members] + (min(weight.shape) + 1 if most_pairs_first else 0)
    partner = np.full(len(truths), -1)
    rows, columns = linear_sum_assignment(weight, maximize=True)
    partner[rows] = columns
    return np.nonzero(partner[row] == column)[0]
