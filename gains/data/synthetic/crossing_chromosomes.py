"""Fluorescent chromosomes that cross, overlap and touch, in the manner of DAPI metaphase spreads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gains.data.source import Instance
from gains.data.synthetic.base import GeneratedSource
from gains.data.synthetic.shapes import Array, Shape, bent_line, smooth_noise, to_uint8, tube_shape


@dataclass(frozen=True)
class Chromosome:
    """A chromosome's mask, its centre line ``(P, 2)`` and the light it sends out on its crop."""

    shape: Shape
    line: Array
    light: Array


class CrossingChromosomes(GeneratedSource):
    """Bright bent bands on black: where two chromosomes lie on each other their light adds up.

    A mask is the whole chromosome, the part under another one included.

    Args:
        num_images: how many images to draw.
        image_size: side in pixels; chromosomes are about a fifth to a half of it long.
        seed: any non-negative integer.
        instances: fewest and most chromosomes per image.
        max_overlap: the largest share of any chromosome that the others together may cover.
    """

    categories = ["chromosome"]  # noqa: RUF012

    def __init__(
        self,
        num_images: int,
        image_size: int,
        seed: int,
        instances: Sequence[int] = (2, 4),
        max_overlap: float = 0.4,
    ) -> None:
        super().__init__(num_images, image_size, seed, instances)
        self.max_overlap = max_overlap

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[Instance]]:
        """One image, ``(H, W)``, and its instances."""
        chromosomes = self._place(rng)
        light = np.zeros((self.image_size, self.image_size))
        for chromosome in chromosomes:
            light[chromosome.shape.window] += chromosome.light
        pixels = _photograph(rng, light)
        return pixels, [self.instance("chromosome", c.shape.mask, c.shape.box) for c in chromosomes]

    def _place(self, rng: np.random.Generator) -> list[Chromosome]:
        """Chromosomes wholly inside the image, most of them across or against an earlier one."""
        wanted, placed = self.count(rng), list[Chromosome]()
        for _ in range(60 * wanted):
            if len(placed) == wanted:
                break
            line = self._line(rng, placed)
            margin = 0.05 * self.image_size
            if line.min() < margin or line.max() > self.image_size - margin:
                continue
            chromosome = _draw_chromosome(rng, line, self.image_size)
            if all(share <= self.max_overlap for share in _covered([*placed, chromosome], self.image_size)):
                placed.append(chromosome)
        return placed

    def _line(self, rng: np.random.Generator, placed: list[Chromosome]) -> Array:
        """Centre line of a new chromosome: free, or attached to an earlier one at a point of both."""
        size = self.image_size
        line = bent_line(rng, rng.uniform(0.17, 0.42) * size, bend=0.04)
        if not placed or rng.random() < 0.1:
            return np.asarray(line + rng.uniform(0.25, 0.75, 2) * size)
        partner = placed[rng.integers(len(placed))].line
        if rng.random() < 0.6:  # across: inner points of both coincide
            return np.asarray(line - line[rng.integers(20, 44)] + partner[rng.integers(14, 50)])
        # Against: an end comes to lie about one width beside the partner.
        angle = rng.uniform(0, 2 * np.pi)
        aside = rng.uniform(0.05, 0.09) * size * np.array([np.cos(angle), np.sin(angle)])
        return np.asarray(line - line[rng.choice([0, -1])] + partner[rng.integers(len(partner))] + aside)


def _covered(chromosomes: list[Chromosome], size: int) -> list[float]:
    """Share of each mask that lies on any other one."""
    layers = np.zeros((size, size), dtype=np.int64)
    for chromosome in chromosomes:
        layers[chromosome.shape.window] += chromosome.shape.mask
    return [float((layers[c.shape.window][c.shape.mask] > 1).mean()) for c in chromosomes]


def _draw_chromosome(rng: np.random.Generator, line: Array, size: int) -> Chromosome:
    """Outline with a waist at the centromere; two chromatids and bands along them as brightness."""
    position = np.linspace(0, 1, len(line))
    waist = np.exp(-(((position - rng.uniform(0.25, 0.75)) / 0.07) ** 2))
    width = rng.uniform(0.037, 0.045) * size
    half_width = width * (1 + 0.08 * smooth_noise(rng, position.shape, 3.0) - rng.uniform(0.1, 0.4) * waist)
    shape, nearest, distance = tube_shape(line, half_width, size)
    # Bands keep about the same width in pixels whatever the length of the chromosome.
    step = float(np.hypot(*(line[1] - line[0])))
    bands = 1 + 0.2 * smooth_noise(rng, position.shape, 0.45 * width / step) + rng.uniform(0, 0.25) * waist
    cleft = rng.uniform(0.0, 0.22) * np.exp(-((distance / (0.25 * width)) ** 2))
    grain = 1 + 0.1 * smooth_noise(rng, distance.shape, 0.2 * width)
    edge = np.clip(0.5 + shape.depth / (0.5 * width), 0, 1)
    light = rng.uniform(0.75, 1.1) * bands[nearest] * (1 - cleft) * grain * edge
    return Chromosome(shape, line, np.asarray(light))


def _photograph(rng: np.random.Generator, light: Array) -> npt.NDArray[np.uint8]:
    """Grey picture of emitted light: blur of the lens, faint haze and debris, noise, stretched to the 8-bit range."""
    size = len(light)
    picture = ndimage.gaussian_filter(light, 0.0075 * size) + 0.04 * ndimage.gaussian_filter(light, 0.06 * size)
    picture += 0.006 * np.maximum(smooth_noise(rng, light.shape, 0.01 * size) - 2, 0)
    picture += 0.02 + 0.004 * smooth_noise(rng, light.shape, 0.15 * size)
    picture += rng.standard_normal(light.shape) * (0.004 + 0.012 * np.sqrt(np.maximum(picture, 0)))
    brightest = rng.uniform(0.75, 1.0) * np.quantile(picture, 0.9985)
    return to_uint8(picture / brightest * 255)
