"""From images of any size to one normalised batch, and from network coordinates back to image coordinates."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PADDING = 32
"""Batch height and width are padded to multiples of this, the stride of the coarsest pyramid level."""


class ImageTransform(nn.Module):
    """Normalise, resize (only at inference) and pad to one batch.

    In training the augmentation has already chosen each image's scale, so images are taken as they are.

    Args:
        short_side: length in pixels to which the short side is scaled at inference.
        long_side: upper limit of the long side.
        mean: per RGB channel, of images in [0, 1].
        std: likewise.
    """

    def __init__(
        self,
        short_side: int = 800,
        long_side: int = 1333,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.resizer = GeneralizedRCNNTransform(short_side, long_side, list(mean), list(std), size_divisible=PADDING)

    def forward(self, images: list[Tensor]) -> ImageList:
        """Batch images ``(3, H, W)``, float in [0, 1]; the result knows each image's size before padding."""
        prepared = []
        for image in images:
            normal = self.resizer.normalize(image)
            if not self.training:
                normal, _ = self.resizer.resize(normal, None)
            prepared.append(normal)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in prepared]
        return ImageList(self.resizer.batch_images(prepared, self.resizer.size_divisible), sizes)


def rescale_boxes(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Boxes ``(K, 4)`` xyxy of an image scaled from one ``(height, width)`` to another, clipped to it."""
    vertical, horizontal = to_size[0] / from_size[0], to_size[1] / from_size[1]
    scaled = boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])
    limit = boxes.new_tensor([to_size[1], to_size[0], to_size[1], to_size[0]])
    return torch.minimum(scaled.clamp(min=0), limit)
