"""What the parts of the application hand to each other: the words that data, models, training and prediction share.

A model is an ``nn.Module`` called as torchvision's detectors are: in training ``model(images, targets)`` gives weighted
scalar losses by name, at inference ``model(images)`` gives :class:`Detections` of each image. Nobody needs to know more
of a model than that.
"""

from typing import NotRequired, Protocol, TypedDict

from torch import Tensor

from gains.masks import InstanceCrops
from gains.rle import RLE


class Masks(Protocol):
    """Predicted masks of one image in whatever compact form the model has them."""

    def __len__(self) -> int:
        """Number of masks."""

    def paste(self) -> InstanceCrops:
        """Binary masks in the image's own pixels, on the CPU."""

    def to_rle(self) -> list[RLE]:
        """COCO RLE of each mask."""


class Target(TypedDict):
    """Ground truth of one image; one without instances is legal everywhere.

    Attributes:
        boxes: ``(G, 4)`` float xyxy in pixels.
        labels: ``(G,)`` int64, from 1.
        masks: G binary masks.
        image_id: id of the image in its data set.
        rles: masks as annotated, crowd regions included: what an evaluator compares with (evaluation only).
        iscrowd: of each of ``rles``.
        anomaly: gradient anomaly map of each instance, where the model asks for it.
        visible_masks: part of each mask that no other instance covers, where the model asks for it.
    """

    boxes: Tensor
    labels: Tensor
    masks: InstanceCrops
    image_id: NotRequired[int]
    rles: NotRequired[list[RLE]]
    iscrowd: NotRequired[list[bool]]
    anomaly: NotRequired[InstanceCrops]
    visible_masks: NotRequired[InstanceCrops]


class Detections(TypedDict):
    """What a model finds in one image, the highest score first, in that image's own coordinates.

    Attributes:
        boxes: ``(D, 4)`` float xyxy in pixels.
        labels: ``(D,)`` int64, from 1.
        scores: ``(D,)`` in [0, 1].
        masks: D masks, pasted into the image only on demand.
        class_scores: ``(D,)`` scores before a method changed them (Mask Scoring R-CNN).
        anomaly_maps: ``(D, 28, 28)`` predicted gradient anomaly on each box (GAInS, on request).
        capped: of an image in tiles: whether one of them reached ``max_detections``.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Masks
    class_scores: NotRequired[Tensor]
    anomaly_maps: NotRequired[Tensor]
    capped: NotRequired[bool]


Rows = dict[str, Tensor]
"""Tensors by name with one row per detection, on their way through a model: ``boxes``, ``labels``, ``scores``, ..."""

Features = dict[str, Tensor]
"""Pyramid levels ``(N, C, H/s, W/s)`` by name "0" (stride 4), "1", "2", "3", "pool"; for mask branches of two-stage
methods also "image", the normalised batch ``(N, 3, H, W)`` itself."""

Sizes = list[tuple[int, int]]
"""Each image's ``(height, width)`` in the batch, before padding."""

Batch = tuple[list[Tensor], list[Target]]
"""Images ``(3, H, W)`` float in [0, 1] of any sizes, and the ground truth of each."""
