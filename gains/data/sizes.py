"""How large the objects of a data set are, in pixels of the image and of the network, and which settings fit them."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from gains.arrays import FloatArray
from gains.data.dataset import Annotations
from gains.images.scaling import fits_tile, fitted_size
from gains.masks import equivalent_diameter

QUANTILES = (0.05, 0.5, 0.95)
SMALLEST = 12.0
"""Network pixels across, below which an object has too few cells of the finest level (stride 4) to be told apart."""

LARGEST = 64.0
"""Network pixels across of the smallest category, above which a coarser scale shows as much for less."""

GOOD = (16.0, 48.0)
"""To which network diameter too small and too large objects are best brought."""

MOST_ENLARGED = 2.0  # network pixels for a pixel of an image; more add nothing

CROP_DIAMETERS = 4
"""A crop is that many diameters of a large object wide, so that most crops hold some of them whole."""

LARGEST_CROP = 512
STEP = 32  # of suggested crops, the stride of the coarsest level
WINDOW_SHARE = 1 / 15
"""GAMM's window relative to an object: the paper takes 1/20 to 1/10."""

FINEST_ANCHORS = (8, 64)  # least and most for the finest level
LEVELS = 5


@dataclass(frozen=True)
class Scaling:
    """How training brings images to the network.

    Attributes:
        short_side: ``dataset.short_side``.
        long_side: most pixels of the long side.
        test_short_side: to which the short side of an image, or of a crop, is scaled.
        crop: whether images larger than ``short_side`` are cut to it.
    """

    short_side: int
    long_side: int
    test_short_side: int
    crop: bool = False

    def factor(self, size: tuple[int, int]) -> float:
        """Network pixels for one pixel of an image ``(height, width)``."""
        if self.crop and not fits_tile(size, self.short_side):
            size = (self.short_side, self.short_side)
        return min(fitted_size(size, self.test_short_side, self.long_side)) / min(size)


@dataclass(frozen=True)
class ObjectSizes:
    """Diameters of all instances, those of circles of the same area.

    Attributes:
        source: by category, in pixels of the images.
        network: likewise, in pixels of what the network sees.
    """

    source: dict[str, FloatArray]
    network: dict[str, FloatArray]

    def lines(self) -> list[str]:
        """One line per category: small, typical and large, in pixels of network and image."""
        return [
            f"{name}: {_spread(self.network[name])} network pixels across (5, 50 and 95 %), "
            f"{_spread(self.source[name])} in the images"
            for name in self.source
            if len(self.source[name])
        ]


def object_sizes(annotations: Annotations, scaling: Scaling, images: Collection[str] | None = None) -> ObjectSizes:
    """Sizes of the objects of a prepared data set, or of some of its images, crowd regions not counted."""
    index = annotations.index
    factors = np.array([scaling.factor((int(one["height"]), int(one["width"]))) for one in index.images])
    used = np.ones(len(factors), dtype=bool)
    if images is not None:
        used[:] = False
        used[[annotations.place[name] for name in images]] = True
    image = index.image_of()
    counted = used[image] & (index.crowd == 0)
    rows = {
        name: np.flatnonzero(counted & (annotations.labels == label))
        for label, name in enumerate(annotations.categories, 1)
    }
    diameters = {name: equivalent_diameter(index.area[rows[name]]) for name in rows}
    return ObjectSizes(diameters, {name: diameters[name] * factors[image[rows[name]]] for name in rows})


def quantiles(diameters: dict[str, FloatArray]) -> dict[str, list[float]]:
    """The 5, 50 and 95 % quantiles of each category that has objects."""
    return {name: np.quantile(values, QUANTILES).tolist() for name, values in diameters.items() if len(values)}


def fitting_anchors(sizes: ObjectSizes) -> list[int]:
    """Side of the anchor of each pyramid level: powers of two, from the small objects of any category up."""
    everyone = np.concatenate(list(sizes.network.values()))
    least = float(np.quantile(everyone, QUANTILES[0])) if len(everyone) else 32.0
    finest = 2 ** round(math.log2(min(max(least, FINEST_ANCHORS[0]), FINEST_ANCHORS[1])))
    return [finest * 2**level for level in range(LEVELS)]


def fitting_window(sizes: ObjectSizes, target: str | None) -> int | None:
    """``gamm.window`` in pixels of the images for the target category (None: for all); None without an object."""
    chosen = np.concatenate([sizes.source[name] for name in ([target] if target else sizes.source)])
    return max(3, round(float(np.median(chosen)) * WINDOW_SHARE)) if len(chosen) else None


def fitting_crop(sizes: ObjectSizes, longest_side: int) -> int | None:
    """Side of crops in pixels of the images, where whole images show some category too small; else None.

    Args:
        sizes: of the objects.
        longest_side: of any image, in pixels.
    """
    known = [name for name in sizes.source if len(sizes.source[name])]
    shrunk = [
        name
        for name in known
        if np.median(sizes.network[name]) < min(SMALLEST, 0.8 * float(np.median(sizes.source[name])))
    ]
    if not shrunk:
        return None
    large = max(float(np.quantile(sizes.source[name], QUANTILES[-1])) for name in known)
    side = math.ceil(min(max(CROP_DIAMETERS * large, 128), LARGEST_CROP) / STEP) * STEP
    return side if side < longest_side else None


def fitting_scale(sizes: ObjectSizes) -> float | None:
    """By how much images (or crops) are best scaled beyond what is set, by the smallest category; None: leave it."""
    medians = {name: float(np.median(values)) for name, values in sizes.network.items() if len(values)}
    if not medians:
        return None
    smallest = min(medians, key=lambda name: medians[name])
    factor = 1.0
    if medians[smallest] < SMALLEST:
        now = medians[smallest] / float(np.median(sizes.source[smallest]))
        factor = min(GOOD[0] / medians[smallest], MOST_ENLARGED / now)
    elif medians[smallest] > LARGEST:
        factor = GOOD[1] / medians[smallest]
    return factor if not 1 / 1.25 < factor < 1.25 else None


def _spread(diameters: FloatArray) -> str:
    return ", ".join(f"{value:.0f}" for value in np.quantile(diameters, QUANTILES))
