"""Aggregated Jaccard index of one image and category, in three versions that share everything but the pairing.

Each adds up, over matched pairs, intersections (C) and unions (U), then adds to U the area of every ground truth and
every detection left over; the index is C / U. Kumar et al., "A dataset and a technique for generalized nuclear
segmentation for computational pathology", IEEE TMI 2017, algorithm 1.
"""

import numpy as np

from gains.arrays import IntArray
from gains.metrics.matching.assignment import in_annotation_order, optimal
from gains.metrics.matching.rows import InstanceSets


def aji(sets: InstanceSets) -> float:
    """Standard AJI: in annotation order, each ground truth takes the unused detection of highest IoU above 0.

    The algorithm as printed lets one detection serve several ground truths; here, as in the programs in use, each
    serves once. Of two detections with the same IoU the higher-scored is taken.

    Returns:
        0 to 1; NaN if there is nothing to compare.
    """
    return _ratio(sets, in_annotation_order(sets.pairs, tie_to_lower_score=False))


def aji_plus(sets: InstanceSets) -> float:
    """AJI+: pairs are the one-to-one assignment of maximal total IoU, so annotation order does not matter.

    Graham et al., "HoVer-Net", Medical Image Analysis 2019, section 4.2.

    Returns:
        0 to 1; NaN if there is nothing to compare.
    """
    return _ratio(sets, optimal(sets.pairs, most_pairs_first=False))


def aji_paper(sets: InstanceSets) -> float:
    """AJI as computed by the program published with GAInS: as :func:`aji`, but only pairs of IoU 0.5 or more match.

    A ground truth that is covered by less counts as missed, its detection as false, and both areas enter U. Of two
    detections with the same IoU the lower-scored is taken.

    Returns:
        0 to 1; NaN if there is nothing to compare.
    """
    close = np.nonzero(sets.pairs.iou >= 0.5)[0]
    return _ratio(sets, close[in_annotation_order(sets.pairs.where(sets.pairs.iou >= 0.5), tie_to_lower_score=True)])


def _ratio(sets: InstanceSets, chosen: IntArray) -> float:
    if sets.empty:
        return float("nan")
    shared = float(sets.intersection[chosen].sum())
    counted = ~sets.excused
    counted[sets.pairs.detection[chosen]] = True
    # Every area enters U once; a matched pair's union is its two areas less what they share.
    union = float(sets.truth_areas.sum() + sets.detection_areas[counted].sum()) - shared
    return shared / union if union > 0 else 0.0
