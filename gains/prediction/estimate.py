"""How large objects are in images, where nobody says: a quick first pass over a few tiles at several scales.

A network finds objects well at the scale it learned from. So it looks at the images as trained, at half and at twice
that scale, and on in the direction in which it finds more. The evidence of a scale is the diameters of what it finds,
summed over the area that it sees, each weighted by how far its score is above the threshold (squared: a low threshold
lets many fragments pass at a wrong scale) and by how near its size is to the learned one. (Counts alone favour
fragments of enlarged objects, areas alone a clump of small ones that looks like one large one; scores are lower for
both.) The diameter is the median of what is found at the best scale, and found again where that leads.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gains.arrays import FloatArray, IntArray
from gains.errors import InputError
from gains.images.intensity import Intensity
from gains.images.notes import Notes
from gains.images.raster import Raster
from gains.masks import equivalent_diameter
from gains.prediction.scale import MAX_TILE, MIN_TILE, Training
from gains.prediction.tiles import network_tiles, read, value_limits
from gains.prediction.tiling import EDGE, TileGrid

MOST_IMAGES = 8
MOST_TILES = 8
"""At each scale."""

LARGE = 2048
"""Pixels: of images with a longer side only every thirtieth tile is looked at, at each of three scales or more."""

MOST_CANDIDATES = 16
"""Tiles of an image of which those with most contrast are looked at."""

FARTHEST = 3
"""Scales go from an eighth to eight times that of training."""

FEWEST_ACROSS = 1.5
"""Objects that fit side by side into an image: at a smaller scale the image itself looks like one."""

WHOLE_IMAGE = 0.9
"""Share of an image's width and height above which a detection is the image itself, on the padding around it."""

NEARLY = 0.8
"""Share of the best evidence with which a scale nearer to that of training is preferred."""

SAME = 1.25
"""Objects within this factor of the learned size are left as they are."""

LEAST_SPREAD = math.log(1.25)
"""Of the learned sizes, as standard deviation of the logarithm: networks find what is a little larger or smaller."""

LEAST_SHOWN = 0.25
"""Share of objects of a size that a tile shows whole, below which none stands for more others."""

ENOUGH = 3
"""Objects that an estimate needs, to be one."""

UNKNOWN = (
    "the checkpoint does not know how large the objects were that it learned from (it is of an older version): images "
    "are taken to be like those of training"
)

SURE, FAIRLY_SURE = 0.1, 0.25
"""Relative standard errors of the diameter, below which an estimate is called so."""

Detect = Callable[[list[Tensor]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Estimate:
    """What the first pass says.

    Attributes:
        diameter: of a typical object in pixels of the images; None leaves them as they are.
        text: what was chosen, and how sure that is.
    """

    diameter: float | None
    text: str


@dataclass(frozen=True)
class Look:
    """What the network finds at one scale.

    Attributes:
        factor: network pixels for a pixel of the images.
        evidence: for this scale, per pixel of the images; 0 for none.
        diameters: ``(N,)`` of the objects that are not cut, in pixels of the images.
        weights: ``(N,)`` of each: large objects are cut more often.
    """

    factor: float
    evidence: float
    diameters: FloatArray
    weights: FloatArray

    @property
    def diameter(self) -> float:
        """Weighted median; NaN of none."""
        if len(self.diameters) == 0:
            return math.nan
        order = np.argsort(self.diameters)
        running = np.cumsum(self.weights[order])
        return float(self.diameters[order][np.searchsorted(running, running[-1] / 2)])

    @property
    def error(self) -> float:
        """Relative standard error of the median."""
        spread = float(np.std(np.log(self.diameters))) if len(self.diameters) > 1 else math.inf
        return 1.25 * spread / math.sqrt(max(len(self.diameters), 1))


class FirstPass:
    """The looks at some images.

    Args:
        detect: the network, for a batch of tiles.
        rasters: images; those that cannot be read are left out.
        training: what the network learned from; its sizes are known.
        label: of the typical category.
        threshold: score from which an object counts.
        intensity: which pixel values become 0 and 1.
        batch_size: tiles that go through the network together.
    """

    def __init__(
        self,
        detect: Detect,
        rasters: Sequence[Raster],
        training: Training,
        label: int,
        threshold: float,
        intensity: Intensity,
        batch_size: int,
    ) -> None:
        assert training.diameters is not None
        assert training.network_side is not None
        self.detect = detect
        self.training = training
        self.low, self.median, self.high = training.diameters
        self.network_side = training.network_side
        self.label = label
        self.threshold = threshold
        self.intensity = intensity
        self.batch_size = batch_size
        self.images: list[tuple[Raster, tuple[float, float]]] = []
        for raster in rasters[:MOST_IMAGES]:
            try:
                self.images.append((raster, value_limits(raster, intensity)))
            except InputError:
                continue

    def usual(self) -> float:
        """Network pixels for a pixel of a typical image, where it is shown as in training."""
        sides = [min(min(raster.size), self.training.side) for raster, _ in self.images]
        return self.network_side / float(np.median(sides))

    def tiles(self, side: int) -> int:
        """How many of that side are looked at: a coarser look sees as much in fewer."""
        if max(max(raster.size) for raster, _ in self.images) <= LARGE:
            return MOST_TILES
        side = max(side, self.training.side)
        usual = sum(len(TileGrid.covering(raster.size, side, side // 4)) for raster, _ in self.images)
        return min(max(usual // 30, 1), MOST_TILES)

    def __call__(self) -> Estimate:
        """Look at scale after scale, and decide."""
        if not self.images:
            return Estimate(None, "")
        usual = self.usual()
        looks: dict[int, Look] = {}
        ahead = [0, -1, 1]
        while ahead:
            looks |= {step: self.look(usual * 2.0**step) for step in ahead}
            best = max(looks, key=lambda step: looks[step].evidence)
            nothing = looks[best].evidence == 0
            ahead = [step for step in (min(looks) - 1, max(looks) + 1) if nothing or abs(step - best) == 1]
            ahead = [step for step in ahead if abs(step) <= FARTHEST]
        good = [step for step in looks if looks[step].evidence >= NEARLY * looks[best].evidence]
        chosen = looks[min(good, key=abs)]
        if len(chosen.diameters) < ENOUGH:
            return Estimate(
                None, f"{len(chosen.diameters)} objects in {self.seen} are too few to tell how large they are"
            )
        fitting = self.median / chosen.diameter
        if abs(math.log2(fitting / chosen.factor)) > 0.25:
            again = self.look(fitting)
            chosen = again if len(again.diameters) >= ENOUGH and again.evidence >= NEARLY * chosen.evidence else chosen
        others = [looks[step] for step in good if len(looks[step].diameters)]
        agree = all(1 / 1.5 < other.diameter / chosen.diameter < 1.5 for other in others)
        return self.told(chosen, usual, agree)

    @property
    def seen(self) -> str:
        """How many images, in words."""
        return f"{len(self.images)} image{'s' if len(self.images) > 1 else ''}"

    def told(self, chosen: Look, usual: float, agree: bool) -> Estimate:
        """What follows from the look that was chosen."""
        # Networks see objects a little as they know them, so the scale of a look that shows the learned size is as good
        # a witness as the diameter measured there: the mean of both.
        diameter = float(f"{math.sqrt(chosen.diameter * self.median / chosen.factor):.3g}")
        error = chosen.error if agree else math.inf
        sure = "sure" if error < SURE else "fairly sure" if error < FAIRLY_SURE else "not sure"
        text = (
            f"objects are about {diameter:g} pixels across, by {len(chosen.diameters)} of them in {self.seen} "
            f"(±{chosen.error:.0%}, {sure}): "
        )
        if 1 / SAME < diameter * usual / self.median < SAME:
            return Estimate(None, text + "as in training")
        brought = f"brought to the {self.median:.0f} network pixels of training"
        side = round(self.network_side * diameter / self.median)
        if not MIN_TILE <= side <= MAX_TILE:
            side = min(max(side, MIN_TILE), MAX_TILE)
            diameter = side * self.median / self.network_side
            brought = f"brought as near to the {self.median:.0f} network pixels of training as tiles of {side} allow"
        return Estimate(diameter, text + brought)

    def look(self, factor: float) -> Look:
        """Show the network some tiles at a scale of that many network pixels for a pixel of the images."""
        side = round(self.network_side / factor)
        shortest = float(np.median([min(raster.size) for raster, _ in self.images]))
        if not MIN_TILE <= side <= MAX_TILE or shortest * factor < FEWEST_ACROSS * self.median:
            return Look(factor, 0.0, np.zeros(0), np.zeros(0))
        each = -(-self.tiles(side) // len(self.images))
        entries: list[tuple[Raster, IntArray, Tensor]] = []
        for raster, limits in self.images:
            boxes = busiest(raster, side, each, self.intensity)
            tiles = network_tiles(raster, boxes, (side, side), self.intensity, Notes(), limits)
            entries += [(raster, box, tile) for box, tile in zip(boxes, tiles, strict=True)]
        evidence, area = 0.0, 0
        diameters, weights = [], []
        for start in range(0, len(entries), self.batch_size):
            batch = entries[start : start + self.batch_size]
            for (raster, box, _), found in zip(batch, self.detect([tile for *_, tile in batch]), strict=True):
                own, sizes, weight = self.measure(found, box, raster.size, factor)
                evidence, area = evidence + own, area + int((box[2] - box[0]) * (box[3] - box[1]))
                diameters.append(sizes)
                weights.append(weight)
        return Look(factor, evidence / area, np.concatenate(diameters), np.concatenate(weights))

    def measure(
        self, found: dict[str, Any], box: IntArray, size: tuple[int, int], factor: float
    ) -> tuple[float, FloatArray, FloatArray]:
        """Evidence of one tile, diameters of the objects that it does not cut, and their weights."""
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
        # Of objects of this extent the share that lies in the tile whole, where the image goes on.
        extent = (boxes[:, 2:] - boxes[:, :2]) / (box[2:] - box[:2])
        shown = (1 - extent * (inner[:2] | inner[2:])).clip(min=0).prod(axis=1).clip(min=LEAST_SHOWN)
        weights = scores / shown
        above = (scores - self.threshold) / max(1 - self.threshold, 1e-6)
        return float((above**2 * fit * diameters / shown)[whole].sum()), diameters[whole], weights[whole]


def busiest(raster: Raster, side: int, count: int, intensity: Intensity) -> IntArray:
    """Boxes ``(T, 4)`` of up to ``count`` tiles of an image, those with most contrast among some all over it."""
    boxes = TileGrid.covering(raster.size, side, 0, square=True).boxes
    if len(boxes) <= count:
        return boxes
    places = np.unique(np.linspace(0, len(boxes) - 1, max(MOST_CANDIDATES, count)).round().astype(int))
    step = max(1, side // 64)
    contrast = []
    for x0, y0, x1, y1 in boxes[places].tolist():
        pixels = read(raster, (x0, y0, x1, y1), intensity)[::step, ::step]
        contrast.append(float(np.nan_to_num(pixels.astype(np.float64)).std()))
    chosen: IntArray = boxes[places[np.argsort(contrast, kind="stable")[::-1][:count]]]
    return chosen
