"""At which scale a network is shown an image: so that objects look as large to it as those it learned from.

A network brings every square tile to one size of its own, so the side of the tiles decides the scale: a tile of half as
many pixels shows objects twice as large. What decides, in this order: ``tile`` (a side as it is), ``scale``,
``object_diameter``, the size of the image's pixels where the checkpoint knows that of its own, and an estimate
(:mod:`gains.prediction.estimate`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import nn

from gains.errors import InputError
from gains.models.parts.transform import ImageTransform
from gains.models.recipe import Recipe
from gains.prediction.tiling import EDGE, TileGrid

MIN_TILE = 32
SLACK = 1.25
"""By that factor an image may be shown smaller than its scale asks for, if it then is one tile and nothing is cut."""

MAX_TILE = 8192
"""Of tiles that follow from a scale: a larger one is decoded whole, and shows the network next to nothing."""


@dataclass(frozen=True)
class ScaleSettings:
    """What a user says about the size of objects in an image; nothing of it is needed.

    Attributes:
        scale: by how much the image is enlarged, compared with the images of training at their own size.
        object_diameter: of a typical object in pixels of the image: of a circle of the same area, the median.
        pixel_size_um: side of a pixel of the image in micrometres.
        scales: several values of ``scale``, for images that mix sizes: what is found at each is united.

    Raises:
        InputError: if a value is no positive number, or ``scales`` are given with another.
    """

    scale: float | None = None
    object_diameter: float | None = None
    pixel_size_um: float | None = None
    scales: Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = self.given()
        scales = given.pop("scales", None)
        for name, value in given.items():
            if not _is_positive(value):
                raise InputError(f"{name}={value} must be a number above 0")
        if scales is None:
            return
        if isinstance(scales, (str, int, float)) or not scales or not all(map(_is_positive, scales)):
            raise InputError(f"scales={scales} must be numbers above 0, as [0.5,1]")
        for name in ("scale", "object_diameter"):
            if name in given:
                raise InputError(f"scales={list(scales)} and {name}={given[name]} both decide the scale; give one")

    def given(self) -> dict[str, Any]:
        """The values that are set, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def override(self, settings: Mapping[str, Any]) -> "ScaleSettings":
        """These with some values set anew; one that decides the scale replaces another.

        Raises:
            InputError: for a bad value.
            TypeError: for an unknown name.
        """
        new = {name: value for name, value in settings.items() if value is not None}
        decided = new.keys() & {"scale", "object_diameter", "scales"}
        return replace(replace(self, scale=None, object_diameter=None, scales=None) if decided else self, **new)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


SETTINGS = tuple(entry.name for entry in fields(ScaleSettings))
"""Names of the settings, the same on the command line and in Python."""


@dataclass(frozen=True)
class View:
    """How an image is cut for the network.

    Attributes:
        side: of a tile in pixels of the image.
        overlap: pixels that neighbouring tiles share.
        square: whether an image smaller than a tile is padded to one; else the network is shown it as it is.
        edge: see :class:`gains.prediction.tiling.TileGrid`.
    """

    side: int
    overlap: int
    square: bool = False
    edge: int = EDGE

    def grid(self, size: tuple[int, int]) -> TileGrid:
        """The tiles of an image ``(height, width)``; one hardly larger than a tile is shown whole rather than cut."""
        longest = max(size)
        if self.square and self.side < longest <= SLACK * self.side:
            return TileGrid.covering(size, longest, 0, square=True, edge=self.edge)
        return TileGrid.covering(size, self.side, self.overlap, self.square, self.edge)


@dataclass(frozen=True)
class Training:
    """What the network was shown in training, as far as its checkpoint says.

    Attributes:
        side: of a tile in pixels, where nothing else decides.
        network_side: pixels to which the network brings the side of a square; None if it takes tiles as they are.
        factor: network pixels for a pixel of the training images.
        diameters: 5, 50 and 95 % quantiles of the typical category, in network pixels; None where they are not known.
        pixel_size_um: of the training images.
    """

    side: int
    network_side: int | None
    factor: float
    diameters: tuple[float, float, float] | None = None
    pixel_size_um: float | None = None

    @classmethod
    def of(cls, network: nn.Module, recipe: Recipe) -> "Training":
        """What a recipe and the transform of its network say."""
        side = max(recipe.image_side, MIN_TILE)
        transform = getattr(network, "transform", None)
        seen = transform.fitted((side, side))[0] if isinstance(transform, ImageTransform) else None
        sizes = recipe.sizes
        if sizes is None or sizes.typical is None:
            return cls(side, seen, (seen or side) / side)
        network_sizes, source = sizes.network[sizes.typical], sizes.source[sizes.typical]
        low, median, high = network_sizes
        return cls(side, seen, median / source[1], (low, median, high), sizes.pixel_size_um)

    def overlap(self, side: int) -> int:
        """Pixels that tiles of a side share where nobody says: enough to see whole what another tile cuts.

        That is 1.25 large diameters (the 95 % quantile), at least a quarter and at most half of the tile.
        """
        if self.diameters is None:
            return side // 4
        pixels = 1.0 if self.network_side is None else side / self.network_side
        return min(max(side // 4, math.ceil(1.25 * self.diameters[2] * pixels)), side // 2)


class Scales:
    """Chooses the view of each image.

    Args:
        training: of the network.
        tile: side of the tiles that the user wants; it decides the scale.
        overlap: pixels that neighbouring tiles share; None takes what large objects of training need, at least a
            quarter of the tile.

    Raises:
        InputError: if the tile is not at least 32 pixels, or the overlap does not fit it.
    """

    def __init__(self, training: Training, tile: int | None = None, overlap: int | None = None) -> None:
        self.training = training
        self.tile = tile
        self.overlap = overlap
        self.as_trained = self._view(training.side if tile is None else tile, "tile", square=False)

    def choose(self, settings: ScaleSettings, pixel_size_um: float | None = None) -> list[View]:
        """The views that settings, or the size of the image's pixels, lead to: one, or one for each of ``scales``.

        Args:
            settings: of the user.
            pixel_size_um: that the file says.

        Returns:
            None of them where nothing decides.

        Raises:
            InputError: if the settings contradict each other, or lead to tiles too small or too large, or the
                checkpoint lacks what they need.
        """
        if settings.scales is not None:
            return [self._scaled(f"scales={list(settings.scales)}", scale) for scale in settings.scales]
        if settings.scale is not None:
            return [self._scaled(f"scale={settings.scale}", settings.scale)]
        if settings.object_diameter is not None:
            return [self.fitting(settings.object_diameter)]
        if self.tile is not None:
            return [self.as_trained]
        own = self.training.pixel_size_um
        pixel = settings.pixel_size_um or pixel_size_um
        if own is None or pixel is None or self.training.network_side is None:
            return []
        of_file = "" if settings.pixel_size_um else " (the file says so)"
        return [self._scaled(f"pixel_size_um={pixel:g}{of_file}", pixel / own)]

    def fitting(self, diameter: float) -> View:
        """The view in which objects of a diameter in pixels of the image are as large as those learned from.

        Raises:
            InputError: see :meth:`choose`.
        """
        setting = f"object_diameter={diameter}"
        if self.training.diameters is None:
            raise InputError(
                f"{setting}: the checkpoint does not know how large the objects were that it learned from (it is "
                "of an older version); give scale= or tile= instead"
            )
        return self._scaled(setting, self.training.diameters[1] / diameter / self.training.factor)

    def _scaled(self, setting: str, scale: float) -> View:
        """The view in which the image is enlarged by a scale."""
        if self.tile is not None:
            raise InputError(f"tile={self.tile} and {setting} both decide the scale; give one of them")
        if self.training.network_side is None:
            raise InputError(f"{setting}: this network takes images as they are; resize them yourself")
        side = round(self.training.network_side / self.training.factor / scale)
        if not MIN_TILE <= side <= MAX_TILE:
            raise InputError(
                f"{setting} leads to tiles of {side} pixels of the image, which must be {MIN_TILE} to {MAX_TILE}: "
                "resize the image, or see whether the setting is right"
            )
        return self._view(side, setting, square=True)

    def _view(self, side: int, setting: str, square: bool) -> View:
        overlap = self.training.overlap(side) if self.overlap is None else self.overlap
        if side < MIN_TILE or not 0 <= overlap < side:
            leads = f"tile={side}" if setting == "tile" else f"{setting} leads to tiles of {side} pixels,"
            raise InputError(f"{leads} overlap={overlap}: tile must be at least {MIN_TILE}, overlap less than it")
        larger = 1.0 if self.training.network_side is None else side / self.training.network_side
        return View(side, overlap, square, max(EDGE, math.ceil(EDGE * larger)))
