"""What the three generators share: counting, seeding and turning shapes into instances."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.rle import Box, encode_crop

SMALLEST_IMAGE = 64


class GeneratedSource(ABC):
    """A data set drawn from a seed, as a :class:`gains.data.source.Source`.

    Image i depends on (seed, i) and the drawing parameters only: a larger ``num_images`` adds images after the same
    first ones. All randomness comes from one NumPy Generator per image, never from global state, so that the same
    versions of NumPy, SciPy and OpenCV draw the same picture on any machine (to floating-point rounding).

    Args:
        num_images: how many images to draw.
        image_size: side of the square images in pixels, at least 64. Objects scale with it.
        seed: any non-negative integer.
        instances: fewest and most objects per image, both included.

    Raises:
        InputError: if an argument is out of its range.
    """

    categories: list[str]
    """Category names; a name's position + 1 is its COCO category id."""

    def __init__(self, num_images: int, image_size: int, seed: int, instances: Sequence[int]) -> None:
        fewest, most = instances
        if num_images < 1:
            raise InputError(f"num_images is {num_images}; a generated data set needs at least 1 image")
        if image_size < SMALLEST_IMAGE:
            raise InputError(f"image_size is {image_size}; objects are too small to draw below {SMALLEST_IMAGE} pixels")
        if seed < 0:
            raise InputError(f"seed is {seed}; it must be 0 or more")
        if not 1 <= fewest <= most:
            raise InputError(f"instances is [{fewest}, {most}]; it must be [fewest, most] with 1 <= fewest <= most")
        self.num_images, self.image_size, self.seed = num_images, image_size, seed
        self.fewest, self.most = fewest, most

    def __len__(self) -> int:
        return self.num_images

    def __iter__(self) -> Iterator[ImageRecord]:
        for index in range(self.num_images):
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, index]))
            pixels, instances = self.draw(rng)
            yield ImageRecord(name=f"{type(self).__name__}_{index:05d}", pixels=pixels, instances=instances)

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[Instance]]:
        """One image, ``(H, W)`` or ``(H, W, 3)``, and its instances."""

    def count(self, rng: np.random.Generator) -> int:
        """How many objects this image shall have."""
        return int(rng.integers(self.fewest, self.most + 1))

    def instance(self, category: str, mask: npt.NDArray[np.bool_], box: Box) -> Instance:
        """Instance of a mask given on its box."""
        return Instance(category, encode_crop(mask, box, (self.image_size, self.image_size)))
