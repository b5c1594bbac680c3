"""Translucent overlapping cells with nuclei, in the manner of the ISBI 2014 cervical cytology images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gains.data.source import Instance
from gains.data.synthetic.base import GeneratedSource
from gains.data.synthetic.shapes import (
    Array,
    Shape,
    ellipse_outline,
    overlap,
    polygon_outline,
    smooth_noise,
    star_shape,
    to_uint8,
)
from gains.errors import InputError

BACKGROUND = 235.0  # grey level of the empty slide, as in ISBI 2014


@dataclass(frozen=True)
class Cell:
    """A cell's outline and its nucleus."""

    cytoplasm: Shape
    nucleus: Shape
    diameter: float


class OverlappingCells(GeneratedSource):
    """Clusters of cells seen in transmitted light: where two lie on each other their darkness multiplies.

    Each image record lists all cytoplasms, then the nucleus of each in the same order. A cytoplasm's mask is the whole
    cell, hidden and nuclear parts included.

    Args:
        num_images: how many images to draw.
        image_size: side in pixels.
        seed: any non-negative integer.
        instances: fewest and most cells per image.
        max_overlap: the largest share of the smaller of two cells that the other may cover.
        diameters: of the circle on which a cell's corners lie, smallest and largest, as shares of the image's side.
        nucleus_diameters: the same of the circle with a nucleus's area, which is at most half its cell's.

    Raises:
        InputError: if an argument is out of its range.
    """

    categories = ["cytoplasm", "nucleus"]  # noqa: RUF012

    def __init__(
        self,
        num_images: int,
        image_size: int,
        seed: int,
        instances: Sequence[int] = (2, 6),
        max_overlap: float = 0.4,
        diameters: Sequence[float] = (0.25, 0.36),
        nucleus_diameters: Sequence[float] = (0.056, 0.074),
    ) -> None:
        super().__init__(num_images, image_size, seed, instances)
        self.max_overlap = max_overlap
        self.diameters = _shares("diameters", diameters)
        self.nucleus_diameters = _shares("nucleus_diameters", nucleus_diameters)

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[Instance]]:
        """One image, ``(H, W)``, and its instances."""
        cells = self._place(rng)
        size = self.image_size
        density = np.zeros((size, size))
        for cell in cells:
            density[cell.cytoplasm.window] += _cytoplasm_density(rng, cell)
            density[cell.nucleus.window] += _nucleus_density(rng, cell)
        pixels = _photograph(rng, density)
        instances = [self.instance("cytoplasm", cell.cytoplasm.mask, cell.cytoplasm.box) for cell in cells]
        instances += [self.instance("nucleus", cell.nucleus.mask, cell.nucleus.box) for cell in cells]
        return pixels, instances

    def _place(self, rng: np.random.Generator) -> list[Cell]:
        """Cells that overlap within the limit, most of them laid against an earlier one."""
        wanted, cells = self.count(rng), list[Cell]()
        for _ in range(40 * wanted):
            if len(cells) == wanted:
                break
            cell = self._draw_cell(rng, self._position(rng, cells))
            if all(self._compatible(cell, other) for other in cells):
                cells.append(cell)
        return cells

    def _position(self, rng: np.random.Generator, cells: list[Cell]) -> tuple[float, float]:
        """Centre for a new cell, nearly always wholly inside the image."""
        size = self.image_size
        low, high = 0.16 * size, 0.84 * size
        if not cells or rng.random() < 0.2:
            x, y = rng.uniform(low, high, 2)
        else:
            x0, y0, x1, y1 = cells[rng.integers(len(cells))].cytoplasm.box
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.0) * (x1 - x0 + y1 - y0) / 2
            x, y = (x0 + x1) / 2 + distance * np.cos(angle), (y0 + y1) / 2 + distance * np.sin(angle)
        return float(np.clip(x, low, high)), float(np.clip(y, low, high))

    def _compatible(self, cell: Cell, other: Cell) -> bool:
        """Whether two cells overlap within the limit and their nuclei stay apart."""
        return overlap(cell.cytoplasm, other.cytoplasm) <= self.max_overlap and not overlap(cell.nucleus, other.nucleus)

    def _draw_cell(self, rng: np.random.Generator, center: tuple[float, float]) -> Cell:
        """Angular ragged cytoplasm with a small round nucleus near its middle."""
        size = self.image_size
        diameter = rng.uniform(*self.diameters) * size
        outline = polygon_outline(rng, diameter / 2, int(rng.integers(4, 8)))
        cytoplasm = star_shape(rng, center, outline, size, ragged=0.11)
        radius = min(rng.uniform(*self.nucleus_diameters) * size / 2, diameter / 4)
        x, y = (c + rng.uniform(-0.1, 0.1) * diameter for c in center)
        nucleus = star_shape(rng, (x, y), ellipse_outline(rng, radius, rng.uniform(1, 1.45), 0.06), size)
        return Cell(cytoplasm, nucleus, diameter)


def _shares(name: str, limits: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest size of an object as shares of the image's side, checked."""
    smallest, largest = limits
    if not 0 < smallest <= largest < 1:
        right = "[smallest, largest] with 0 < smallest <= largest < 1, shares of the image's side"
        raise InputError(f"{name} is [{smallest}, {largest}]; it must be {right}")
    return smallest, largest


def _cytoplasm_density(rng: np.random.Generator, cell: Cell) -> Array:
    """Optical density on the cell's crop: uneven thickness, folds, a darker rim and granules."""
    depth, diameter = cell.cytoplasm.depth, cell.diameter
    thickness = 1 + 0.22 * smooth_noise(rng, depth.shape, 0.18 * diameter)
    thickness += 0.10 * smooth_noise(rng, depth.shape, 0.03 * diameter)
    rim = np.exp(-np.maximum(depth, 0) / (0.03 * diameter)) * (0.4 + smooth_noise(rng, depth.shape, 0.15 * diameter))
    granules = smooth_noise(rng, depth.shape, 0.7) > 2.3
    uneven = thickness + _folds(rng, depth.shape, diameter) + 0.8 * np.maximum(rim, 0) + 0.3 * granules
    # A thin lappet of the membrane: paler beyond a wavy line near the outline.
    paler = 0.3 * np.clip(1 - depth / (0.05 * diameter) + smooth_noise(rng, depth.shape, 0.12 * diameter), 0, 1)
    return np.asarray(rng.uniform(0.13, 0.36) * np.maximum(uneven - paler, 0.3) * cell.cytoplasm.coverage)


def _folds(rng: np.random.Generator, shape: tuple[int, ...], diameter: float) -> Array:
    """Dark curved creases of the membrane, about 0..1.

    A crease runs where a smooth field passes zero; a second field says along which stretch it is visible.
    """
    folds = np.zeros(shape)
    for bend in (0.16, 0.09):
        crossing = smooth_noise(rng, shape, bend * diameter)
        visible = np.clip(smooth_noise(rng, shape, 0.15 * diameter), 0, 1)
        sharp = np.exp(-((crossing / 0.08) ** 2)) + 0.4 * np.exp(-np.abs(crossing) / 0.3) * (crossing > 0)
        folds += 0.6 * visible * sharp
    return folds


def _nucleus_density(rng: np.random.Generator, cell: Cell) -> Array:
    """Optical density the nucleus adds on its crop: dark with coarse chromatin."""
    chromatin = 1 + 0.15 * smooth_noise(rng, cell.nucleus.depth.shape, 1.2)
    return np.asarray(rng.uniform(0.7, 1.1) * chromatin * cell.nucleus.coverage)


def _photograph(rng: np.random.Generator, density: Array) -> npt.NDArray[np.uint8]:
    """Grey picture of an optical density: light that passes, slight blur, camera noise and specks of dirt."""
    light = BACKGROUND * np.exp(-density)
    light = ndimage.gaussian_filter(light, 0.5)
    light += 3.0 * rng.standard_normal(light.shape) + 1.5 * smooth_noise(rng, light.shape, 1.0)
    specks = rng.random(light.shape) < 0.0015
    light -= specks * rng.uniform(15, 70, light.shape)
    return to_uint8(light)
