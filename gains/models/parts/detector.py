"""The frame of every method: images to a batch, a batch to features, features to losses or detections."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from gains.contract import Detections, Features, Sizes, Target
from gains.models.parts.detections import suppress_masks
from gains.models.parts.transform import ImageTransform
from gains.operating_point import OperatingPoint


class Detector(nn.Module, ABC):
    """Transform and backbone; what follows is the method's own.

    The call follows torchvision's detection models: in training ``model(images, targets)`` gives weighted losses by
    name, at inference ``model(images)`` gives one dict per image in that image's own coordinates.

    Attributes:
        transform: normalises, resizes and batches.
        backbone: batch of images to feature maps by name.
        operating_point: which detections are kept at inference.
    """

    transform: ImageTransform
    backbone: nn.Module
    operating_point: OperatingPoint = OperatingPoint()

    @abstractmethod
    def losses(self, batch: ImageList, features: Features, targets: list[Target]) -> dict[str, Tensor]:
        """Weighted losses by name."""

    @abstractmethod
    def predict(
        self, batch: ImageList, features: Features, originals: Sizes, point: OperatingPoint
    ) -> list[Detections]:
        """Detections of each image in its original coordinates, best score first."""

    def forward(self, images: list[Tensor], targets: list[Target] | None = None) -> Any:
        """Losses in training, predictions at inference.

        Args:
            images: ``(3, H, W)`` float in [0, 1], sizes may differ.
            targets: ground truth, needed in training only.

        Returns:
            Training: scalar losses by name. Inference: per image ``boxes (D, 4)`` xyxy, ``labels (D,)`` from 1,
            ``scores (D,)`` descending, ``masks`` (with ``len``, ``paste()`` and ``to_rle()``, see
            :class:`gains.models.parts.roi.masks.RoIMasks`), and what the method adds.

        Raises:
            ValueError: in training mode without targets.
        """
        batch = self.transform(images)
        features = self.backbone(batch.tensors)
        if self.training:
            if targets is None:
                raise ValueError("a model in training mode needs targets; call .eval() to predict")
            return self.losses(batch, features, targets)
        originals = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        found = self.predict(batch, features, originals, self.operating_point.candidates())
        return [suppress_masks(image, self.operating_point) for image in found]
