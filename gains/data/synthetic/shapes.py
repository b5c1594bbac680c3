"""Random outlines of cells, nuclei and chromosomes as signed depth on a crop, and smooth random fields.

Every shape is an array of *depths*: how far (in pixels, approximately) a pixel's centre lies inside the outline,
negative outside. The exact mask is ``depth > 0``, soft edges and shading are functions of the same array.
"""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.interpolate import CubicSpline
from scipy.spatial import KDTree

from gains.rle import Box

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """A filled outline, clipped to the image.

    Attributes:
        depth: ``(h, w)`` pixels inside the outline, negative outside.
        box: where the crop lies in the image.
    """

    depth: Array
    box: Box

    @property
    def window(self) -> tuple[slice, slice]:
        """Index of the crop in an image."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The exact mask ``(h, w)``."""
        return self.depth > 0

    @property
    def coverage(self) -> Array:
        """Share of each pixel that is inside, 0..1: the mask with an anti-aliased edge."""
        return np.clip(self.depth + 0.5, 0.0, 1.0)


def to_uint8(values: Array) -> npt.NDArray[np.uint8]:
    """Round and clip grey levels or colours to 0..255."""
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Gaussian random field of mean 0 and standard deviation about 1 whose bumps are about ``sigma`` pixels wide.

    Args:
        rng: source of randomness.
        shape: ``(n,)`` or ``(h, w)``.
        sigma: of the Gaussian that smooths white noise, in pixels.
    """
    # Wide bumps are drawn on a coarser grid, two to four points to a sigma, and interpolated.
    step = max(1, int(sigma / 2)) if len(shape) == 2 else 1
    white = rng.standard_normal([-(-side // step) for side in shape])
    gain = (2 * np.sqrt(np.pi) * sigma / step) ** (len(shape) / 2)
    field = ndimage.gaussian_filter(white, sigma / step, mode="wrap", truncate=3) * gain
    if step > 1:
        field = cv2.resize(field, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)[: shape[0], : shape[1]]
    return np.asarray(field)


def crop_grid(center: tuple[float, float], reach: float, size: int) -> tuple[Array, Array, Box]:
    """Pixel offsets ``(dx, dy)`` from a centre ``(x, y)`` of the pixels within ``reach`` of it, and their box."""
    x0, y0 = (max(0, int(np.floor(c - reach))) for c in center)
    x1, y1 = (min(size, int(np.ceil(c + reach)) + 1) for c in center)
    dy, dx = np.mgrid[y0:y1, x0:x1].astype(np.float64)
    return dx - center[0], dy - center[1], (x0, y0, x1, y1)


def star_shape(
    rng: np.random.Generator, center: tuple[float, float], outline: Array, size: int, ragged: float = 0.0
) -> Shape:
    """Shape around a centre whose outline is given as radius over angle.

    Args:
        rng: source of randomness.
        center: ``(x, y)`` in pixels.
        outline: ``(A,)`` radii in pixels at A equally spaced angles from 0.
        size: image side.
        ragged: how far the outline is shifted by smooth noise, as share of the mean radius.
    """
    radius = float(outline.mean())
    dx, dy, box = crop_grid(center, float(outline.max()) * (1 + 3 * ragged) + 2, size)
    if ragged:
        for scale in (0.35, 0.1):
            strength = ragged * radius * scale / 0.35
            dx, dy = (d + strength * smooth_noise(rng, d.shape, scale * radius) for d in (dx, dy))
    angle = np.arctan2(dy, dx) % (2 * np.pi)
    edges = np.linspace(0, 2 * np.pi, len(outline) + 1)
    limit = np.interp(angle, edges, np.append(outline, outline[0]))
    return Shape(limit - np.hypot(dx, dy), box)


def ellipse_outline(rng: np.random.Generator, radius: float, stretch: float, roughness: float) -> Array:
    """Radii ``(72,)`` of a turned ellipse of axis ratio ``stretch`` with a few low Fourier modes added."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    turn = rng.uniform(0, np.pi)
    ellipse = radius / np.sqrt(stretch * np.cos(angle - turn) ** 2 + np.sin(angle - turn) ** 2 / stretch)
    modes = np.arange(2, 6)
    phase, weight = rng.uniform(0, 2 * np.pi, 4), rng.normal(0, roughness, 4) / modes
    return np.asarray(ellipse * (1 + (weight * np.cos(angle[:, None] * modes + phase)).sum(1)))


def polygon_outline(rng: np.random.Generator, radius: float, corners: int) -> Array:
    """Radii ``(120,)`` of a convex polygon with rounded corners and sides at uneven distances."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    normal = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners + rng.uniform(0, 2 * np.pi)
    distance = radius * rng.uniform(0.75, 1.1, corners)
    # The side in direction `normal` limits the radius to distance / cos; a p-norm of the limits rounds the corners.
    facing = np.maximum(np.cos(angle[:, None] - normal), 0)
    return np.asarray(((facing / distance) ** 12).sum(1) ** (-1 / 12))


def bent_line(rng: np.random.Generator, length: float, bend: float) -> Array:
    """Points ``(64, 2)`` about one pixel apart or less on a smooth curve around the origin.

    Args:
        rng: source of randomness.
        length: between its ends along the unbent axis, in pixels.
        bend: sideways deviation as share of the length.
    """
    knots = np.linspace(-0.5, 0.5, 4)
    sideways = rng.normal(0, bend, 4)
    along = np.linspace(-0.5, 0.5, 64)
    points = np.stack([along, CubicSpline(knots, sideways - sideways.mean())(along)], axis=1) * length
    turn = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y = points.T
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)


def tube_shape(line: Array, half_width: Array, size: int) -> tuple[Shape, npt.NDArray[np.int64], Array]:
    """Shape of all pixels near a line, with rounded ends.

    Args:
        line: ``(P, 2)`` points ``(x, y)`` in pixels.
        half_width: ``(P,)`` pixels.
        size: image side.

    Returns:
        The shape, and for each of its pixels ``(h, w)`` the index of the nearest point and the distance to it.
    """
    middle = (float(line[:, 0].mean()), float(line[:, 1].mean()))
    reach = float(np.abs(line - middle).max() + half_width.max()) + 2
    dx, dy, box = crop_grid(middle, reach, size)
    distance, nearest = KDTree(line - middle).query(np.stack([dx, dy], axis=-1))
    return Shape(half_width[nearest] - distance, box), nearest, distance


def shared_area(first: Shape, second: Shape) -> int:
    """Pixels in both masks."""
    x0, y0 = max(first.box[0], second.box[0]), max(first.box[1], second.box[1])
    x1, y1 = min(first.box[2], second.box[2]), min(first.box[3], second.box[3])
    if x0 >= x1 or y0 >= y1:
        return 0
    parts = [s.depth[y0 - s.box[1] : y1 - s.box[1], x0 - s.box[0] : x1 - s.box[0]] > 0 for s in (first, second)]
    return int((parts[0] & parts[1]).sum())


def overlap(first: Shape, second: Shape) -> float:
    """Overlap coefficient: shared pixels over those of the smaller mask."""
    return shared_area(first, second) / max(1, min(int(first.mask.sum()), int(second.mask.sum())))
