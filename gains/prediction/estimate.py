"""How large objects are in images, where nobody says: a quick first pass over a few tiles at several scales.

A network finds objects well at the scale it learned from. So it looks at the images as trained, at half and at twice
that scale, and on in the direction in which it finds more. The evidence of a scale is the diameters of what it finds,
summed over the area that it sees, each weighted by how far its score is above the threshold (squared: a low threshold
lets many fragments pass at a wrong scale) and by how near its size is to the learned one. (Counts alone favour
fragments of enlarged objects, areas alone a clump of small ones that looks like one large one; scores are lower for
both.) The diameter is the median of what is found at the best scale, and found again where that leads.

Small images are looked at whole. Of large ones a single small crop at each scale tells which may be right; only then
is it known how many tiles the prediction takes, and a share of them is spent on closer looks at the likely scales.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gains.errors import InputError
from gains.images.raster import Raster
from gains.prediction.looks import Image, Look, Looker
from gains.prediction.scale import MAX_TILE, MIN_TILE, Training
from gains.prediction.tiles import value_limits
from gains.prediction.tiling import TileGrid

MOST_IMAGES = 8
MOST_TILES = 8
"""At each scale."""

LARGE = 2048
"""Pixels: where an image has a longer side, the first pass is kept short beside the prediction."""

SHARE = 0.08
"""Of the network's work for the prediction of large images, that the first pass may take."""

LIKELY = 0.25
"""Share of the best evidence with which a scale gets a closer look."""

FARTHEST = 3
"""Scales go from an eighth to eight times that of training."""

FEWEST_ACROSS = 1.5
"""Objects that fit side by side into an image: at a smaller scale the image itself looks like one."""

NEARLY = 0.8
"""Share of the best evidence with which a scale nearer to that of training is preferred."""

SAME = 1.25
"""Objects within this factor of the learned size are left as they are."""

ENOUGH = 3
"""Objects that an estimate needs, to be one."""

UNKNOWN = (
    "the checkpoint does not know how large the objects were that it learned from (it is of an older version): images "
    "are taken to be like those of training"
)

SURE, FAIRLY_SURE = 0.1, 0.25
"""Relative standard errors of the diameter, below which an estimate is called so."""


@dataclass(frozen=True)
class Estimate:
    """What the first pass says.

    Attributes:
        diameter: of a typical object in pixels of the images; None leaves them as they are.
        text: what was chosen, and how sure that is.
    """

    diameter: float | None
    text: str


class FirstPass:
    """The looks at some images.

    Args:
        looker: looks at crops of them.
        rasters: images; those that cannot be read are left out.
        training: what the network learned from; its sizes are known.

    Attributes:
        large: whether an image is, so that the first pass is to be short.
        side: of a crop in network pixels.
        cost: network's work so far, in tiles of the prediction.
    """

    def __init__(self, looker: Looker, rasters: Sequence[Raster], training: Training) -> None:
        self.looker = looker
        self.training = training
        self.median, self.network_side = looker.median, looker.network_side
        self.images: list[Image] = []
        for raster in rasters[:MOST_IMAGES]:
            try:
                self.images.append((raster, value_limits(raster, looker.intensity)))
            except InputError:
                continue
        self.large = any(max(raster.size) > LARGE for raster, _ in self.images)
        self.side = looker.small_side if self.large else self.network_side
        self.cost = 0.0
        self.looks: dict[int, Look] = {}

    @property
    def usual(self) -> float:
        """Network pixels for a pixel of a typical image, where it is shown as in training."""
        sides = [min(min(raster.size), self.training.side) for raster, _ in self.images]
        return self.network_side / float(np.median(sides))

    def __call__(self) -> Estimate:
        """Look at scale after scale, and decide."""
        if not self.images:
            return Estimate(None, "")
        with self.looker.glancing(self.side):
            return self.decide()

    def decide(self) -> Estimate:
        """What the looks lead to; the network is made ready for them."""
        self.climb()
        if self.large:
            self.look_closer()
            self.climb()
        looks, best = self.looks, self.best
        good = [step for step in looks if looks[step].evidence >= NEARLY * looks[best].evidence]
        chosen = self.until_enough(looks[min(good, key=abs)])
        if len(chosen.diameters) < ENOUGH:
            return Estimate(
                None, f"{len(chosen.diameters)} objects in {self.seen} are too few to tell how large they are"
            )
        fitting = self.median / chosen.diameter
        if abs(math.log2(fitting / chosen.factor)) > 0.25:
            again = self.until_enough(self.look(nothing_at(fitting), chosen.crops))
            chosen = again if len(again.diameters) >= ENOUGH and again.evidence >= NEARLY * chosen.evidence else chosen
        if chosen.is_grain:
            return Estimate(
                None,
                f"what looks like {len(chosen.diameters)} objects of {chosen.diameter:.2g} pixels in {self.seen} "
                "cannot be told from noise, which tells no scale: as in training",
            )
        others = [looks[step] for step in good if len(looks[step].diameters)]
        agree = all(1 / 1.5 < other.diameter / chosen.diameter < 1.5 for other in others)
        return self.told(chosen, self.usual, agree)

    @property
    def best(self) -> int:
        """The scale with most evidence, in steps of a factor of two from that of training."""
        return max(self.looks, key=lambda step: self.looks[step].evidence)

    def climb(self) -> None:
        """Look at further scales until there are some beyond the best one on both sides."""
        crops = 1 if self.large else -(-MOST_TILES // len(self.images))
        ahead = [step for step in (0, -1, 1) if step not in self.looks]
        while ahead:
            for step in ahead:
                self.looks[step] = self.look(nothing_at(self.usual * 2.0**step), crops)
            best = self.best
            nothing = self.looks[best].evidence == 0
            ahead = [step for step in (min(self.looks) - 1, max(self.looks) + 1) if nothing or abs(step - best) == 1]
            ahead = [step for step in ahead if abs(step) <= FARTHEST]

    def look_closer(self) -> None:
        """Show the network more crops at the scales in question, as many as the prediction at the best one allows."""
        looks, best = self.looks, self.best
        nothing = looks[best].evidence == 0
        likely = [step for step in looks if nothing or looks[step].evidence >= LIKELY * looks[best].evidence]
        left = SHARE * self.prediction(self.usual if nothing else looks[best].factor) - self.cost
        # One more look may follow, at the size that was found.
        crops = int(left / self.crop_cost / len(self.images) / (len(likely) + 1))
        for step in likely:
            looks[step] = self.look(looks[step], min(crops, MOST_TILES - 1))

    def until_enough(self, look: Look) -> Look:
        """The look with further crops where there are some objects, but too few."""
        while 0 < len(look.diameters) < ENOUGH and look.crops < MOST_TILES:
            look = self.look(look, 1)
        return look

    def prediction(self, factor: float) -> int:
        """Tiles that the images take at a scale."""
        side = min(max(round(self.network_side / factor), MIN_TILE), MAX_TILE)
        overlap = self.training.overlap(side)
        return sum(len(TileGrid.covering(raster.size, side, overlap, square=True)) for raster, _ in self.images)

    @property
    def crop_cost(self) -> float:
        """Of one crop, in tiles of the prediction."""
        return (self.side / self.network_side) ** 2

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

    def look(self, look: Look, crops: int) -> Look:
        """The look with further crops of each image, if there can be any at its scale."""
        side = round(self.network_side / look.factor)
        shortest = float(np.median([min(raster.size) for raster, _ in self.images]))
        if crops < 1 or not MIN_TILE <= side <= MAX_TILE or shortest * look.factor < FEWEST_ACROSS * self.median:
            return look
        self.cost += crops * len(self.images) * self.crop_cost
        return self.looker.more(look, self.images, self.side, crops)


def nothing_at(factor: float) -> Look:
    """A look at a scale before anything is seen."""
    return Look(factor, 0.0, 0.0, 0.0, 0.0, np.zeros(0), np.zeros(0))
