"""Training augmentation with albumentations, its masks carried as a few label layers instead of one plane each."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt

from gains.data.cropping import RandomCrop
from gains.images.scaling import fitted_size
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
        shape = params["shape"][:2]
        height, width = fitted_size(shape, self.py_random.choice(self.short_sides), self.long_side)
        return {"size": (width, height), "shrinks": (height, width) < shape}

    def apply(self, img: npt.NDArray[Any], size: tuple[int, int], shrinks: bool, **_: Any) -> npt.NDArray[Any]:
        """Resize an image ``(H, W, 3)``; averaging where it shrinks, so that fine texture does not alias."""
        resized: npt.NDArray[Any] = cv2.resize(img, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return resized

    def apply_to_mask(self, mask: npt.NDArray[Any], size: tuple[int, int], **_: Any) -> npt.NDArray[Any]:
        """Resize a label layer ``(H, W)``; the exact nearest neighbour has no half-pixel shift against the image."""
        resized: npt.NDArray[Any] = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return resized

    def apply_to_keypoints(
        self, keypoints: npt.NDArray[Any], size: tuple[int, int], shape: tuple[int, ...], **_: Any
    ) -> npt.NDArray[Any]:
        """Move keypoints ``(N, 5)``: x, y, z, angle and size, as albumentations holds them."""
        factors = [size[0] / shape[1], size[1] / shape[0], 1, 1, max(size) / max(shape[:2])]
        return np.asarray(keypoints * np.asarray(factors, dtype=keypoints.dtype))


class Augmented(NamedTuple):
    """What becomes of an image in training.

    Attributes:
        image: ``(H, W, 3)`` float32 in [0, 1].
        masks: of all its instances; those that have left the image are empty.
        resize: length of what was one pixel; above 1 where things have become larger.
    """

    image: npt.NDArray[np.float32]
    masks: InstanceCrops
    resize: float


class Augmentation:
    """Crop on request, resize, then the configured albumentations transforms, on an image and its instance masks.

    Args:
        short_sides: see :class:`ShortSideResize`.
        long_side: see :class:`ShortSideResize`.
        transforms: any albumentations transforms that support ``image``, ``masks`` and ``keypoints``.
        crop: side in pixels of the image of the piece of a larger one that is taken before all else (see
            :class:`gains.data.cropping.RandomCrop`); None takes images whole.
    """

    def __init__(
        self,
        short_sides: Sequence[int],
        long_side: int,
        transforms: Sequence[A.BasicTransform] = (),
        crop: int | None = None,
    ) -> None:
        self.crop = None if crop is None else RandomCrop(crop)
        # A keypoint of size 1 goes along: albumentations changes its size with every resizing and zoom.
        marks = A.KeypointParams(format="xyas", remove_invisible=False)
        self.compose = A.Compose([ShortSideResize(short_sides, long_side), *transforms], keypoint_params=marks)

    def __call__(self, image: npt.NDArray[np.float32], masks: InstanceCrops, seed: int) -> Augmented:
        """Augment one image ``(H, W, 3)`` in [0, 1] and its masks; instances that leave the image come back empty.

        Args:
            image: pixels.
            masks: N instances.
            seed: decides every random choice of this call.
        """
        if self.crop is not None:
            image, masks = self.crop(image, masks, seed)
        self.compose.set_random_seed(seed)
        height, width = image.shape[:2]
        mark = np.array([[width / 2, height / 2, 0, 1]], dtype=np.float32)
        result = self.compose(image=image, masks=list(masks.label_layers()), keypoints=mark)
        layers = np.stack(result["masks"])
        pixels = np.ascontiguousarray(result["image"], dtype=np.float32).clip(0, 1)
        # Some distortions lose keypoints: what then counts is how the short side has changed.
        marks = result["keypoints"]
        resize = float(marks[0][3]) if len(marks) else min(pixels.shape[:2]) / min(height, width)
        return Augmented(pixels, InstanceCrops.from_label_layers(layers, len(masks)), resize)
