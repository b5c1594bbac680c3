"""Training augmentation with albumentations, its masks carried as a few label layers instead of one plane each."""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from gains.masks import InstanceCrops


class ShortSideResize(A.DualTransform):  # type: ignore[misc]
    """Scale so that the short side takes a length drawn from a list and the long side stays within a limit.

    Args:
        short_sides: lengths in pixels, one is drawn per call.
        long_side: upper limit of the long side; wins where both cannot be met.
    """

    def __init__(self, short_sides: Sequence[int], long_side: int, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.short_sides = list(short_sides)
        self.long_side = long_side

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the size (called by albumentations)."""
        height, width = params["shape"][:2]
        short = self.py_random.choice(self.short_sides)
        scale = min(short / min(height, width), self.long_side / max(height, width))
        return {"size": (max(round(width * scale), 1), max(round(height * scale), 1)), "shrinks": scale < 1}

    def apply(self, img: npt.NDArray[Any], size: tuple[int, int], shrinks: bool, **_: Any) -> npt.NDArray[Any]:
        """Resize an image ``(H, W, 3)``; averaging where it shrinks, so that fine texture does not alias."""
        resized: npt.NDArray[Any] = cv2.resize(img, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return resized

    def apply_to_mask(self, mask: npt.NDArray[Any], size: tuple[int, int], **_: Any) -> npt.NDArray[Any]:
        """Resize a label layer ``(H, W)``; the exact nearest neighbour has no half-pixel shift against the image."""
        resized: npt.NDArray[Any] = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return resized


class Augmentation:
    """Resize, then the configured albumentations transforms, on an image and its instance masks.

    Args:
        short_sides: see :class:`ShortSideResize`.
        long_side: see :class:`ShortSideResize`.
        transforms: any albumentations transforms that support ``image`` and ``masks``.
    """

    def __init__(self, short_sides: Sequence[int], long_side: int, transforms: Sequence[A.BasicTransform] = ()) -> None:
        self.compose = A.Compose([ShortSideResize(short_sides, long_side), *transforms])

    def __call__(
        self, image: npt.NDArray[np.float32], masks: InstanceCrops, seed: int
    ) -> tuple[npt.NDArray[np.float32], InstanceCrops]:
        """Augment one image ``(H, W, 3)`` in [0, 1] and its masks; instances that leave the image come back empty.

        Args:
            image: pixels.
            masks: N instances.
            seed: decides every random choice of this call.
        """
        self.compose.set_random_seed(seed)
        result = self.compose(image=image, masks=list(masks.label_layers()))
        layers = np.stack(result["masks"])
        pixels = np.ascontiguousarray(result["image"], dtype=np.float32).clip(0, 1)
        return pixels, InstanceCrops.from_label_layers(layers, len(masks))
