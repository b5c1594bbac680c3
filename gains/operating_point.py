"""The operating point: which of a network's detections are kept, and which of those count.

It is chosen when a model is trained, travels in the checkpoint beside the network, and can be set anew wherever
predictions are made. The network's own filter, the evaluator, reports and pictures all read this one object.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gains.errors import InputError

NMS = ("box", "mask")
"""What duplicates are told by: the overlap of boxes, or that of masks."""

LOOSE_IOU = 0.9
"""Before NMS on masks only boxes that overlap by more than this are dropped: one box found twice.

Of crossing chromosomes 7.6 % have a neighbour whose box overlaps theirs by more than 0.5, and none by more than 0.8.
"""

CANDIDATES = 1.5
"""Before NMS on masks up to that many times ``max_detections`` boxes get a mask: what it costs, at most."""

FIRST_IOU = 0.5
"""Boxes that overlap by more are mostly copies of one object; of too many, the best of each comes first."""


@dataclass(frozen=True)
class OperatingPoint:
    """Which detections are kept, and which count.

    Attributes:
        min_score: score in [0, 1] that a detection must exceed to be kept at all.
        score_threshold: lowest score in [0, 1] that counts where a set of instances is meant: in AJI, PQ, F1 and Dice,
            in pictures and in the files of ``gains predict``. mAP ranks all that is kept.
        nms: ``box`` or ``mask``: what the IoU of two detections is taken of when one may be a duplicate of the other.
        nms_iou: IoU in [0, 1] above which the lower-scored of two detections of one category is dropped.
        nms_across_categories: also drop the lower-scored of two detections of different categories if their masks are
            one and the same thing (IoU above 0.8, or above ``nms_iou`` if that is more); needs ``nms=mask``. A
            nucleus inside its cell stays.
        max_detections: the best that many are kept after NMS, at least 1: of an image by the network (of each tile of
            an image that is larger than a tile), and of an image and category by the evaluator's mAP.

    Raises:
        InputError: if a value is of the wrong kind or out of its range.
    """

    min_score: float = 0.05
    score_threshold: float = 0.5
    nms: str = "box"
    nms_iou: float = 0.5
    nms_across_categories: bool = False
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("min_score", "score_threshold", "nms_iou"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"{name}={value} must be a number from 0 to 1")
        if self.nms not in NMS:
            raise InputError(f"nms={self.nms} is unknown; use {' or '.join(NMS)}")
        if isinstance(self.max_detections, bool) or not isinstance(self.max_detections, int) or self.max_detections < 1:
            raise InputError(f"max_detections={self.max_detections} must be a whole number from 1")
        if not isinstance(self.nms_across_categories, bool):
            raise InputError(f"nms_across_categories={self.nms_across_categories} must be true or false")
        if self.nms_across_categories and self.nms != "mask":
            raise InputError(f"nms_across_categories=true compares masks, it needs nms=mask, not nms={self.nms}")

    def override(self, settings: Mapping[str, Any]) -> "OperatingPoint":
        """This point with some values set anew; a value of None leaves what is there.

        Raises:
            InputError: for an unknown name or a bad value.
        """
        unknown = [name for name in settings if name not in SETTINGS]
        if unknown:
            raise InputError(f"{unknown[0]} is no setting of the operating point; it has {', '.join(SETTINGS)}")
        return replace(self, **{name: value for name, value in settings.items() if value is not None})

    @property
    def sure_places(self) -> int:
        """How many boxes that NMS at :data:`FIRST_IOU` would keep are kept before any other, whatever their scores."""
        return 0

    def candidates(self) -> "OperatingPoint":
        """The point at which a network looks for detections whose masks are to be compared afterwards."""
        if self.nms == "box":
            return self
        loose = max(self.nms_iou, LOOSE_IOU)
        most = math.ceil(CANDIDATES * self.max_detections)
        return Candidates(self.min_score, self.score_threshold, "box", loose, max_detections=most)

    def to_plain(self) -> dict[str, Any]:
        """The values by name, as a checkpoint holds them."""
        return asdict(self)


class Candidates(OperatingPoint):
    """Keeps boxes whose masks are to be compared: copies of one object do not take the places of others."""

    @property
    def sure_places(self) -> int:
        """As many as will be kept in the end."""
        return int(self.max_detections / CANDIDATES)


SETTINGS = tuple(field.name for field in fields(OperatingPoint))
"""Names of the settings, the same on the command line of train, eval and predict."""
