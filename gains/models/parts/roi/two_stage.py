"""The frame of every RoI-based method: backbone, proposals, box branch, mask branch."""

from typing import Protocol

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from gains.contract import Detections, Features, Rows, Sizes, Target
from gains.models.parts.detector import Detector
from gains.models.parts.roi.masks import RoIMasks
from gains.models.parts.roi.rpn import ProposalNetwork
from gains.models.parts.roi.sampling import RoISamples
from gains.models.parts.transform import ImageTransform, rescale_boxes
from gains.operating_point import OperatingPoint


class TrainsBoxes(Protocol):
    """What the frame asks of a box branch (see BoxBranch)."""

    def losses(
        self, features: Features, proposals: list[Tensor], sizes: Sizes, targets: list[Target]
    ) -> tuple[dict[str, Tensor], RoISamples]:
        """Losses, and the RoIs for the mask branch."""

    def detect(self, features: Features, proposals: list[Tensor], sizes: Sizes, point: OperatingPoint) -> list[Rows]:
        """Detections of each image at an operating point."""


class TrainsMasks(Protocol):
    """What the frame asks of a mask branch (see MaskBranch)."""

    def losses(self, features: Features, samples: RoISamples, sizes: Sizes, targets: list[Target]) -> dict[str, Tensor]:
        """Losses of the sampled RoIs."""

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """Detections with ``mask_probabilities``."""


class RoIPath(nn.Module):
    """From pyramid features to detections: proposals, then boxes, then masks.

    Args:
        rpn: proposes boxes.
        box: box branch.
        mask: mask branch.
    """

    def __init__(self, rpn: ProposalNetwork, box: TrainsBoxes, mask: TrainsMasks) -> None:
        super().__init__()
        self.rpn = rpn
        self.box = box
        self.mask = mask

    def losses(self, batch: ImageList, features: Features, targets: list[Target]) -> dict[str, Tensor]:
        """Weighted losses by name."""
        proposals, losses = self.rpn(batch, features, targets)
        box_losses, samples = self.box.losses(features, proposals, batch.image_sizes, targets)
        shown = {**features, "image": batch.tensors}
        return {**losses, **box_losses, **self.mask.losses(shown, samples, batch.image_sizes, targets)}

    def detect(self, batch: ImageList, features: Features, point: OperatingPoint) -> list[Rows]:
        """Detections of each image, ``mask_probabilities`` included, in network coordinates."""
        sizes = batch.image_sizes
        self.rpn.detections = point.max_detections
        proposals, _ = self.rpn(batch, features)
        shown = {**features, "image": batch.tensors}
        return self.mask.predict(shown, self.box.detect(features, proposals, sizes, point), sizes)


class TwoStageDetector(RoIPath, Detector):
    """A backbone with one such path behind it.

    Args:
        backbone: images to pyramid levels.
        rpn: proposes boxes.
        box: box branch.
        mask: mask branch.
        transform: normalises, resizes and batches.
    """

    def __init__(
        self,
        backbone: nn.Module,
        rpn: ProposalNetwork,
        box: TrainsBoxes,
        mask: TrainsMasks,
        transform: ImageTransform,
    ) -> None:
        super().__init__(rpn, box, mask)
        self.transform = transform
        self.backbone = backbone

    def predict(
        self, batch: ImageList, features: Features, originals: Sizes, point: OperatingPoint
    ) -> list[Detections]:
        """Detections of each image in its original coordinates, best score first."""
        found = self.detect(batch, features, point)
        return [to_image(*image) for image in zip(found, batch.image_sizes, originals, strict=True)]


def to_image(found: Rows, size: tuple[int, int], original: tuple[int, int]) -> Detections:
    """Bring one image's detections from network coordinates to image coordinates, best score first."""
    order = torch.argsort(found["scores"], descending=True, stable=True)
    rows = {name: value[order] for name, value in found.items()}
    boxes = rescale_boxes(rows["boxes"], size, original)
    detections: Detections = {
        "boxes": boxes,
        "labels": rows["labels"],
        "scores": rows["scores"],
        "masks": RoIMasks(rows["mask_probabilities"], boxes, original),
    }
    if "class_scores" in rows:
        detections["class_scores"] = rows["class_scores"]
    if "anomaly_maps" in rows:
        detections["anomaly_maps"] = rows["anomaly_maps"]
    return detections
