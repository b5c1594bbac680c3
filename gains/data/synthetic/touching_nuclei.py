"""Crowded nuclei that touch without overlapping: fluorescence and, for a part of the images, purple stain."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from gains.data.source import Instance
from gains.data.synthetic.base import GeneratedSource
from gains.data.synthetic.shapes import Array, Shape, ellipse_outline, smooth_noise, star_shape, to_uint8


class TouchingNuclei(GeneratedSource):
    """Clumps of nuclei pressed against each other, as in the Kaggle 2018 images: every pixel belongs to one at most.

    Args:
        num_images: how many images to draw.
        image_size: side in pixels; nuclei measure about a tenth of it.
        seed: any non-negative integer.
        instances: fewest and most nuclei per image.
        stained_share: share of images in colour, purple on a light ground; the others are grey fluorescence.
    """

    categories = ["nucleus"]  # noqa: RUF012

    def __init__(
        self,
        num_images: int,
        image_size: int,
        seed: int,
        instances: Sequence[int] = (8, 24),
        stained_share: float = 0.25,
    ) -> None:
        super().__init__(num_images, image_size, seed, instances)
        self.stained_share = stained_share

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[Instance]]:
        """One image, ``(H, W)`` or ``(H, W, 3)``, and its instances."""
        stained = rng.random() < self.stained_share
        owner = self._place(rng)
        nuclei = _cut_out(owner)
        pixels = _stain(rng, nuclei, self.image_size) if stained else _fluoresce(rng, nuclei, self.image_size)
        return pixels, [self.instance("nucleus", nucleus.mask, nucleus.box) for nucleus in nuclei]

    def _place(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Label image ``(S, S)``: nuclei 1, 2, ... laid against each other, contested pixels to the deeper one."""
        size, wanted = self.image_size, self.count(rng)
        depth, owner = np.zeros((size, size)), np.zeros((size, size), dtype=np.int64)
        areas, centers = [0], list[tuple[float, float]]()
        typical = rng.uniform(0.042, 0.062) * size
        for _ in range(30 * wanted):
            if len(centers) == wanted:
                break
            center = self._position(rng, centers, typical)
            outline = ellipse_outline(rng, typical * rng.uniform(0.8, 1.2), rng.uniform(1, 1.8), 0.1)
            shape = star_shape(rng, center, outline, size)
            taken = shape.depth > depth[shape.window]
            left = np.bincount(owner[shape.window][~taken], minlength=len(areas))
            before = np.bincount(owner[shape.window].ravel(), minlength=len(areas))
            lost = (before - left) / np.maximum(areas, 1)
            if taken.sum() < 0.85 * shape.mask.sum() or (lost[1:] > 0.1).any():
                continue
            owner[shape.window][taken] = len(areas)
            depth[shape.window][taken] = shape.depth[taken]
            areas.append(int(taken.sum()))
            centers.append(center)
        return owner

    def _position(
        self, rng: np.random.Generator, centers: list[tuple[float, float]], radius: float
    ) -> tuple[float, float]:
        """Centre for a new nucleus: about one diameter from an earlier one, or anywhere."""
        size = self.image_size
        low, high = 0.06 * size, 0.94 * size
        if not centers or rng.random() < 0.2:
            x, y = rng.uniform(low, high, 2)
        else:
            x, y = centers[rng.integers(len(centers))]
            angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(1.6, 2.2) * radius
            x, y = x + distance * np.cos(angle), y + distance * np.sin(angle)
        return float(np.clip(x, low, high)), float(np.clip(y, low, high))


def _cut_out(owner: npt.NDArray[np.int64]) -> list[Shape]:
    """One shape per label, its depth now the distance to its own border, shared borders included."""
    shapes = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(owner)):
        inside = np.pad(owner[rows, columns] == index + 1, 1)
        depth = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
        # Half a pixel: the border runs between pixel centres.
        depth = (depth - 0.5 * np.sign(depth))[1:-1, 1:-1]
        shapes.append(Shape(depth, (columns.start, rows.start, columns.stop, rows.stop)))
    return shapes


def _chromatin(rng: np.random.Generator, nucleus: Shape) -> Array:
    """Relative brightness ``(h, w)`` of a nucleus about 1: clumps of chromatin, weaker towards its border."""
    shape, radius = nucleus.depth.shape, float(nucleus.depth.max())
    clumps = 1 + 0.16 * smooth_noise(rng, shape, 0.12 * radius + 0.6) + 0.1 * smooth_noise(rng, shape, 0.5 * radius)
    vault = 1 - np.exp(-np.maximum(nucleus.depth, 0) / (0.25 * radius))
    return np.asarray(np.maximum(clumps, 0.2) * (0.35 + 0.65 * vault) * nucleus.mask)


def _fluoresce(rng: np.random.Generator, nuclei: list[Shape], size: int) -> npt.NDArray[np.uint8]:
    """Grey fluorescence picture ``(S, S)``: brightness varies between nuclei, a few are very bright."""
    light = np.zeros((size, size))
    for nucleus in nuclei:
        bright = rng.uniform(2.0, 3.0) if rng.random() < 0.06 else np.exp(rng.normal(0, 0.35))
        light[nucleus.window] += bright * _chromatin(rng, nucleus)
    haze = rng.uniform(0.08, 0.3) * ndimage.gaussian_filter(light, 0.04 * size)
    picture = ndimage.gaussian_filter(light, rng.uniform(0.5, 1.1)) + haze
    picture += 0.04 + 0.015 * smooth_noise(rng, light.shape, 0.2 * size)
    picture = picture * rng.uniform(60, 130) + 2
    picture += rng.standard_normal(light.shape) * 0.25 * np.sqrt(np.maximum(picture, 0))
    return to_uint8(picture)


def _stain(rng: np.random.Generator, nuclei: list[Shape], size: int) -> npt.NDArray[np.uint8]:
    """Colour picture ``(S, S, 3)`` in transmitted light: purple nuclei on pale, fibrous tissue."""
    density = np.zeros((size, size))
    for nucleus in nuclei:
        density[nucleus.window] += rng.uniform(0.6, 1.25) * _chromatin(rng, nucleus)
    density = ndimage.gaussian_filter(density, rng.uniform(0.7, 1.1))
    fibres = np.abs(smooth_noise(rng, density.shape, 0.03 * size)) + 0.4 * smooth_noise(rng, density.shape, 1.5)
    tissue = rng.uniform(0.02, 0.2) * (1 + 0.35 * fibres + 0.4 * smooth_noise(rng, density.shape, 0.12 * size))
    # Absorption in red, green, blue: haematoxylin between blue and purple, eosin-like pink for the tissue.
    purple = np.array([rng.uniform(0.75, 1.15), 1.55, rng.uniform(0.3, 0.6)])
    pink = np.array([0.7, 1.2, 0.45])
    light = np.array([228.0, 230.0, 234.0]) * np.exp(-density[..., None] * purple - tissue[..., None] * pink)
    light += 2.0 * rng.standard_normal(light.shape)
    return to_uint8(light)
