"""Quick looks at a few crops of images at one scale, from which that scale is judged.

A look costs less than as many tiles of the prediction: of large images it shows the network crops just large enough for
some typical objects side by side, and the network keeps no more detections than fit in.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gains.arrays import FloatArray, IntArray
from gains.images.intensity import Intensity
from gains.images.notes import Notes
from gains.images.raster import Raster
from gains.masks import equivalent_diameter
from gains.models.checkpoint import operate
from gains.models.recipe import Recipe
from gains.prediction.scale import Training
from gains.prediction.tiles import network_tiles, read
from gains.prediction.tiling import EDGE, TileGrid

CANDIDATES = 64
"""Crops of an image, of which those with most contrast are looked at."""

ACROSS = 5
"""Typical objects that fit side by side into the smallest crop."""

STRIDE = 32
"""Pixels: sides of crops are multiples of it, of the coarsest level of a feature pyramid."""

TWICE = 2
"""So many times as many detections as typical objects fill a crop are kept: objects overlap, and some are smaller."""

WHOLE_IMAGE = 0.9
"""Share of an image's width and height above which a detection is the image itself, on the padding around it."""

LEAST_SPREAD = math.log(1.25)
"""Of the learned sizes, as standard deviation of the logarithm: networks find what is a little larger or smaller."""

LEAST_SHOWN = 0.25
"""Share of objects of a size that a crop shows whole, below which none stands for more others."""

GRAIN = 1.2
"""By which pixels half an object apart have to differ more than neighbours do (mean squares); in noise it is 1."""

Detect = Callable[[list[Tensor]], list[dict[str, Any]]]
Image = tuple[Raster, tuple[float, float]]
"""With the pixel values that become 0 and 1."""


@dataclass(frozen=True)
class Look:
    """What the network finds at one scale.

    Attributes:
        factor: network pixels for a pixel of the images.
        found: evidence for this scale, summed over all that is seen.
        area: pixels of the images that are seen.
        contrast: variance of the values that are seen, summed over these pixels.
        usual: the same, were they as the rest of the images.
        diameters: ``(N,)`` of the objects that are not cut, in pixels of the images.
        weights: ``(N,)`` of each: large objects are cut more often.
        crops: how many of each image were seen.
        near: squared difference of neighbouring pixels, summed over all that is seen.
        far: the same of pixels half as far apart as a typical object is wide at this scale: at its full width the next
            one of a row may lie.
    """

    factor: float
    found: float
    area: float
    contrast: float
    usual: float
    diameters: FloatArray
    weights: FloatArray
    crops: int = 0
    near: float = 0.0
    far: float = 0.0

    @property
    def evidence(self) -> float:
        """For this scale, per pixel of the images; 0 for none.

        Crops are chosen for their contrast, and the smaller they are the more do they differ from the rest: so the
        evidence is taken to be proportional to it.
        """
        if self.found == 0:
            return 0.0
        return self.found / self.area * (self.usual / self.contrast if self.contrast else 1.0)

    @property
    def diameter(self) -> float:
        """Weighted median; NaN of none."""
        if len(self.diameters) == 0:
            return math.nan
        order = np.argsort(self.diameters)
        running = np.cumsum(self.weights[order])
        return float(self.diameters[order][np.searchsorted(running, running[-1] / 2)])

    @property
    def is_grain(self) -> bool:
        """Whether objects of the size looked for would be noise: distant pixels differ as little as neighbours do."""
        return 0 < self.far < GRAIN * self.near

    @property
    def error(self) -> float:
        """Relative standard error of the median."""
        spread = float(np.std(np.log(self.diameters))) if len(self.diameters) > 1 else math.inf
        return 1.25 * spread / math.sqrt(max(len(self.diameters), 1))


class Looker:
    """Looks at images.

    Args:
        network: the network; it has an :class:`~gains.models.parts.transform.ImageTransform`.
        detect: puts a batch of tiles through it.
        recipe: says when an object counts.
        training: what the network learned from; its sizes are known.
        label: of the typical category.
        intensity: which pixel values become 0 and 1.
        batch_size: tiles that go through the network together.
    """

    def __init__(
        self,
        network: nn.Module,
        detect: Detect,
        recipe: Recipe,
        training: Training,
        label: int,
        intensity: Intensity,
        batch_size: int,
    ) -> None:
        assert training.diameters is not None
        assert training.network_side is not None
        self.network = network
        self.detect = detect
        self.point = recipe.operating_point
        self.threshold = self.point.score_threshold
        self.categories = len(recipe.categories)
        self.low, self.median, self.high = training.diameters
        self.network_side = training.network_side
        self.label = label
        self.intensity = intensity
        self.batch_size = batch_size

    @property
    def small_side(self) -> int:
        """Network pixels of the side of the smallest crop that tells something."""
        return min(math.ceil(ACROSS * self.median / STRIDE) * STRIDE, self.network_side)

    @contextmanager
    def glancing(self, side: int) -> Iterator[None]:
        """For a while, squares are brought to ``side`` network pixels, and no more is kept than can lie in them."""
        transform: Any = self.network.transform
        usual = transform.short_side
        most = math.ceil(TWICE * self.categories * (side / self.median) ** 2)
        operate(self.network, replace(self.point, max_detections=min(most, self.point.max_detections)))
        transform.short_side = min(side, usual)
        try:
            yield
        finally:
            transform.short_side = usual
            operate(self.network, self.point)

    def more(self, look: Look, images: Sequence[Image], side: int, crops: int) -> Look:
        """A look with further crops of each image, whose side in network pixels is given."""
        pixels = max(round(side / look.factor), 1)
        entries: list[tuple[Raster, IntArray, Tensor]] = []
        contrast, usual, near, far = look.contrast, look.usual, look.near, look.far
        apart = max(round(self.median / look.factor / 2), 2)
        for raster, limits in images:
            boxes, variances = by_contrast(raster, pixels, self.intensity)
            chosen = slice(look.crops, look.crops + crops)
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
            contrast += float((variances * areas)[chosen].sum())
            usual += float(np.average(variances, weights=areas) * areas[chosen].sum())
            boxes = boxes[chosen]
            tiles = network_tiles(raster, boxes, (pixels, pixels), self.intensity, Notes(), limits)
            for box, tile in zip(boxes, tiles, strict=True):
                entries.append((raster, box, tile))
                inside = tile[:, : box[3] - box[1], : box[2] - box[0]]
                near, far = near + difference(inside, 1), far + difference(inside, apart)
        found, area = look.found, look.area
        diameters, weights = [look.diameters], [look.weights]
        for start in range(0, len(entries), self.batch_size):
            batch = entries[start : start + self.batch_size]
            for (raster, box, _), seen in zip(batch, self.detect([tile for *_, tile in batch]), strict=True):
                own, sizes, weight = self.measure(seen, box, raster.size, look.factor)
                found, area = found + own, area + int((box[2] - box[0]) * (box[3] - box[1]))
                diameters.append(sizes)
                weights.append(weight)
        sizes, weight = np.concatenate(diameters), np.concatenate(weights)
        return Look(look.factor, found, area, contrast, usual, sizes, weight, look.crops + crops, near, far)

    def measure(
        self, found: dict[str, Any], box: IntArray, size: tuple[int, int], factor: float
    ) -> tuple[float, FloatArray, FloatArray]:
        """Evidence of one crop, diameters of the objects that it does not cut, and their weights."""
        kept = torch.nonzero((found["labels"] == self.label) & (found["scores"] >= self.threshold))[:, 0].tolist()
        masks = found["masks"].paste().select(kept)
        areas = masks.areas().cpu().numpy()
        diameters = equivalent_diameter(areas)
        spread = max(math.log(self.high / self.low) / 3.29, LEAST_SPREAD)
        with np.errstate(divide="ignore"):
            fit = np.exp(-((np.log(diameters * factor / self.median) / spread) ** 2) / 2)
        scores = found["scores"].double().cpu().numpy()[kept]
        boxes = masks.boxes.numpy() + np.tile(box[:2], 2)
        margin = max(EDGE, math.ceil(EDGE / factor))
        inner = np.array([box[0] > 0, box[1] > 0, box[2] < size[1], box[3] < size[0]])
        room = np.concatenate([boxes[:, :2] - box[:2], box[2:] - boxes[:, 2:]], axis=1)
        is_object = (areas > 0) & ((boxes[:, 2:] - boxes[:, :2]) < WHOLE_IMAGE * np.array(size[::-1])).any(axis=1)
        whole = is_object & ~(inner & (room < margin)).any(axis=1)
        # Of objects of this extent the share that lies in the crop whole, where the image goes on.
        extent = (boxes[:, 2:] - boxes[:, :2]) / (box[2:] - box[:2])
        shown = (1 - extent * (inner[:2] | inner[2:])).clip(min=0).prod(axis=1).clip(min=LEAST_SHOWN)
        weights = scores / shown
        above = (scores - self.threshold) / max(1 - self.threshold, 1e-6)
        return float((above**2 * fit * diameters / shown)[whole].sum()), diameters[whole], weights[whole]


def difference(values: Tensor, distance: int) -> float:
    """Mean squared difference of values ``(C, H, W)`` so many pixels apart, along rows plus along columns.

    Where they are no longer than that, those at their two ends count.
    """
    total = 0.0
    for axis in (1, 2):
        length = values.shape[axis] - min(distance, values.shape[axis] - 1)
        first, last = values.narrow(axis, 0, length), values.narrow(axis, values.shape[axis] - length, length)
        total += float((first - last).square().mean())
    return total


def by_contrast(raster: Raster, side: int, intensity: Intensity) -> tuple[IntArray, FloatArray]:
    """Crops of an image, of many some all over it, those with most contrast first.

    Args:
        raster: the image.
        side: of a crop in pixels.
        intensity: tells what values are.

    Returns:
        Boxes ``(T, 4)`` xyxy, and the variance of the values in each.
    """
    boxes = TileGrid.covering(raster.size, side, 0, square=True).boxes
    places = np.unique(np.linspace(0, len(boxes) - 1, CANDIDATES).round().astype(int))
    step = max(1, side // 64)
    variances = np.zeros(len(places))
    for index, box in enumerate(boxes[places].tolist()):
        pixels = read(raster, tuple(box), intensity)[::step, ::step]
        variances[index] = np.nan_to_num(pixels.astype(np.float64)).var()
    order = np.argsort(variances, kind="stable")[::-1]
    return boxes[places[order]], variances[order]
