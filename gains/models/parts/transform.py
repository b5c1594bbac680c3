"""From images of any size to one normalised batch, and from network coordinates back to image coordinates."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from gains.images.scaling import IMAGENET_MEAN, fitted_size

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
        self.short_side = short_side
        self.long_side = long_side
        # Of torchvision's transform only what resizes nothing.
        self.batcher = GeneralizedRCNNTransform(short_side, long_side, list(mean), list(std), size_divisible=PADDING)

    def forward(self, images: list[Tensor]) -> ImageList:
        """Batch images ``(3, H, W)``, float in [0, 1]; the result knows each image's size before padding."""
        prepared = []
        for image in images:
            normal = self.batcher.normalize(image)
            size = (int(image.shape[-2]), int(image.shape[-1]))
            prepared.append(normal if self.training else resize(normal, self.fitted(size)))
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in prepared]
        return ImageList(self.batcher.batch_images(prepared, PADDING), sizes)

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """``(height, width)`` to which an image of a size is brought at inference, as training does it."""
        return fitted_size(size, self.short_side, self.long_side)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring an image ``(C, H, W)`` to ``(height, width)`` as the augmentation does in training.

    Sides that shrink are averaged, each new pixel over exactly the area that it covers: then noise and fine texture are
    as weak as the network knows them. torch's own area mode averages over whole pixels, its antialiasing over twice the
    area; both leave less noise than training has.
    """
    height, width = int(image.shape[-2]), int(image.shape[-1])
    if size == (height, width):
        return image
    if size > (height, width):
        return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
    # Nothing but the image itself: bfloat16 weights would not sum to 1.
    with torch.autocast(image.device.type, enabled=False):
        rows, columns = covered(height, size[0]).to(image), covered(width, size[1]).to(image)
        return rows @ image @ columns.T


def covered(length: int, shorter: int) -> Tensor:
    """Which share of each of ``shorter`` new pixels each of ``length`` old ones has, ``(shorter, length)`` float32."""
    edges = torch.arange(shorter + 1, dtype=torch.float64) * (length / shorter)
    old = torch.arange(length, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], old + 1) - torch.maximum(edges[:-1, None], old)
    return (overlap.clamp(min=0) * (shorter / length)).float()


def rescale_boxes(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Boxes ``(K, 4)`` xyxy of an image scaled from one ``(height, width)`` to another, clipped to it."""
    vertical, horizontal = to_size[0] / from_size[0], to_size[1] / from_size[1]
    scaled = boxes * boxes.new_tensor([horizontal, vertical, horizontal, vertical])
    limit = boxes.new_tensor([to_size[1], to_size[0], to_size[1], to_size[0]])
    return torch.minimum(scaled.clamp(min=0), limit)
