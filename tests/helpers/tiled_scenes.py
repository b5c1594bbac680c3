"""Scenes of overlapping instances whose truth is known, and a model of the detector that looks at them tile by tile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from gains.masks import InstanceCrops
from gains.prediction.stitching import Pieces
from gains.prediction.tiling import TileGrid

BoolArray = npt.NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """True instances of an image.

    Attributes:
        size: image ``(height, width)``.
        masks: N full-size masks ``(H, W)``, none empty.
        labels: category of each, from 1.
    """

    size: tuple[int, int]
    masks: list[BoolArray]
    labels: list[int]


def scene_of(size: tuple[int, int], masks: Sequence[BoolArray], labels: Sequence[int] | None = None) -> Scene:
    """A scene of the largest connected part of each mask that has a pixel; of category 1 unless labels are given."""
    given = [1] * len(masks) if labels is None else list(labels)
    kept = [index for index, mask in enumerate(masks) if mask.any()]
    return Scene(size, [_largest_part(masks[index]) for index in kept], [given[index] for index in kept])


def _largest_part(mask: BoolArray) -> BoolArray:
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    largest: BoolArray = parts == np.bincount(parts[mask]).argmax()
    return largest


def ellipse(size: tuple[int, int], centre: Point, axes: Point, angle: float) -> BoolArray:
    """An ellipse: centre (x, y) and half-axes in pixels, angle in radians."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    x, y = columns - centre[0], rows - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside: BoolArray = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1
    return inside


def path(size: tuple[int, int], points: Sequence[Point], width: int) -> BoolArray:
    """A line of the given width through points (x, y): a bar, a U, a zigzag."""
    canvas = np.zeros(size, np.uint8)
    cv2.polylines(canvas, [np.round(np.array(points)).astype(np.int32)], False, 1, width)
    return canvas.astype(bool)


def ring(size: tuple[int, int], centre: Point, axes: Point, angle: float, width: float) -> BoolArray:
    """An ellipse without its inner part."""
    inner = (max(axes[0] - width, 1), max(axes[1] - width, 1))
    return ellipse(size, centre, axes, angle) & ~ellipse(size, centre, inner, angle)


def random_pair(rng: np.random.Generator, size: tuple[int, int], half_axes: tuple[int, int]) -> Scene:
    """Two ellipses that share pixels, both centres within an axis of the middle of the image, where seams cross."""
    while True:
        axes = rng.uniform(*half_axes, (2, 2))
        middle = np.array([size[1], size[0]]) / 2
        first, second = middle + rng.uniform(-1, 1, (2, 2)) * (half_axes[1] + 24)
        masks = [
            ellipse(size, (centre[0], centre[1]), (pair[0], pair[1]), float(rng.uniform(0, np.pi)))
            for centre, pair in zip((first, second), axes, strict=True)
        ]
        areas = [int(mask.sum()) for mask in masks]
        shared = int((masks[0] & masks[1]).sum())
        if shared and min(areas) > half_axes[0] ** 2 and shared < 0.8 * min(areas):
            return scene_of(size, masks)


def random_bar(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """A bar between two points anywhere, often longer than a tile."""
    start, end = rng.uniform(0, (size[1], size[0]), (2, 2)).tolist()
    return [path(size, [start, end], int(rng.integers(5, 14)))]


def random_u(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """A U of any direction."""
    angle = float(rng.uniform(0, 2 * np.pi))
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    corner = rng.uniform(0, (size[1], size[0]))
    leg, bend = along * rng.uniform(40, 200), across * rng.uniform(20, 80)
    points = [corner + leg, corner, corner + bend, corner + bend + leg]
    return [path(size, [(x, y) for x, y in points], int(rng.integers(6, 12)))]


def random_ellipse(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """An ellipse of middle size."""
    axes = rng.uniform(12, 45, 2)
    return [ellipse(size, _anywhere(rng, size), (axes[0], axes[1]), float(rng.uniform(0, np.pi)))]


def random_giant(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """An ellipse that may cover several tiles."""
    axes = rng.uniform(60, 150, 2)
    return [ellipse(size, _anywhere(rng, size), (axes[0], axes[1]), float(rng.uniform(0, np.pi)))]


def random_ring(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """A ring that may reach across several tiles."""
    axes = rng.uniform(30, 110, 2)
    angle, width = float(rng.uniform(0, np.pi)), float(rng.uniform(7, 14))
    return [ring(size, _anywhere(rng, size), (axes[0], axes[1]), angle, width)]


def random_cell(rng: np.random.Generator, size: tuple[int, int]) -> list[BoolArray]:
    """A cell and the nucleus inside it."""
    x, y = _anywhere(rng, size)
    axes, share, angle = rng.uniform(25, 60, 2), rng.uniform(0.3, 0.8), float(rng.uniform(0, np.pi))
    inner = axes * share
    return [
        ellipse(size, (x, y), (axes[0], axes[1]), angle),
        ellipse(size, (x + rng.uniform(-3, 3), y), (inner[0], inner[1]), angle),
    ]


def _anywhere(rng: np.random.Generator, size: tuple[int, int]) -> Point:
    x, y = rng.uniform(0, (size[1], size[0])).tolist()
    return x, y


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], list[BoolArray]]] = {
    "bar": random_bar,
    "u": random_u,
    "ellipse": random_ellipse,
    "giant": random_giant,
    "ring": random_ring,
    "cell": random_cell,
}


def random_scene(rng: np.random.Generator, size: tuple[int, int], kinds: Sequence[str], count: int) -> Scene:
    """Instances of the given :data:`KINDS` anywhere in an image, over and inside each other.

    A nucleus has the category of its cell, or another.
    """
    masks: list[BoolArray] = []
    labels: list[int] = []
    for kind in rng.choice(list(kinds), count).tolist():
        drawn = KINDS[kind](rng, size)
        masks += drawn
        labels += [1, int(rng.integers(1, 3))][: len(drawn)]
    return scene_of(size, masks, labels)


@dataclass(frozen=True)
class Detector:
    """What a network makes of the instances that a tile shows; by default the truth, cut to the tile.

    Attributes:
        least_share: a piece with less than this share of its instance's pixels is not detected,
        least_area: nor is one with fewer pixels than this.
        miss: chance that a piece goes undetected, whatever its size.
        jitter: largest shift of the outline in pixels, inwards or outwards, the same along the whole outline.
        early: pixels by which a mask may end before the tile's inner edge that cuts it.
        split: chance that a piece comes as two halves.
        duplicate: chance that a piece comes twice, with another jitter.
        parts: whether the unconnected parts of a piece are detections of their own.
        score_noise: spread of the scores around 0.9.
    """

    least_share: float = 0.0
    least_area: int = 1
    miss: float = 0.0
    jitter: int = 0
    early: int = 0
    split: float = 0.0
    duplicate: float = 0.0
    parts: bool = False
    score_noise: float = 0.02

    def detect(self, scene: Scene, grid: TileGrid, rng: np.random.Generator) -> tuple[Pieces, list[int]]:
        """Pieces of all tiles, and the instance that each of them shows."""
        found: list[tuple[BoolArray, tuple[int, int], int, int]] = []
        for tile, (x0, y0, x1, y1) in enumerate(grid.boxes.tolist()):
            for index, mask in enumerate(scene.masks):
                view = mask[y0:y1, x0:x1]
                if view.sum() < max(self.least_area, self.least_share * mask.sum()) or rng.random() < self.miss:
                    continue
                drawn = (self._drawn(mask, grid, tile, rng) for _ in range(1 + (rng.random() < self.duplicate)))
                for shown in drawn:
                    found += [(part, (x0, y0), tile, index) for part in self._parts(shown, rng) if part.any()]
        return _pieces(found, scene, rng.normal(0.9, self.score_noise, len(found)).clip(0, 1)), [f[3] for f in found]

    def _drawn(self, mask: BoolArray, grid: TileGrid, tile: int, rng: np.random.Generator) -> BoolArray:
        """The view of one tile, its outline moved."""
        x0, y0, x1, y1 = grid.boxes[tile].tolist()
        shift = int(rng.integers(-self.jitter, self.jitter + 1))
        moved = mask
        if shift:
            change = ndimage.binary_dilation if shift > 0 else ndimage.binary_erosion
            moved = change(mask, iterations=abs(shift)) if change(mask, iterations=abs(shift)).any() else mask
        shown = moved[y0:y1, x0:x1].copy()
        early = int(rng.integers(0, self.early + 1))
        height, width = grid.size
        shown[:, :early] &= x0 == 0
        shown[:early] &= y0 == 0
        shown[:, shown.shape[1] - early :] &= x1 == width
        shown[shown.shape[0] - early :] &= y1 == height
        return shown

    def _parts(self, shown: BoolArray, rng: np.random.Generator) -> list[BoolArray]:
        """The detections that one view becomes."""
        if self.parts:
            labelled, count = ndimage.label(shown, np.ones((3, 3)))
            return [labelled == part for part in range(1, count + 1)]
        if shown.any() and rng.random() < self.split:
            columns = np.flatnonzero(shown.any(axis=0))
            left = np.zeros_like(shown)
            left[:, : columns[len(columns) // 2]] = True
            return [shown & left, shown & ~left]
        return [shown]


def _pieces(
    found: Sequence[tuple[BoolArray, tuple[int, int], int, int]], scene: Scene, scores: npt.NDArray[np.float64]
) -> Pieces:
    """Detections on tight boxes in image coordinates."""
    crops, boxes = [], []
    for shown, (x, y), _, _ in found:
        rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
        crop = shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        crops.append(torch.from_numpy(crop.astype(np.uint8)))
        boxes.append([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1])
    masks = InstanceCrops.from_crops(crops, torch.tensor(np.array(boxes, np.int64).reshape(-1, 4)), scene.size)
    labels = np.array([scene.labels[index] for *_, index in found], np.int64)
    return Pieces(masks, scores, labels, np.array([tile for _, _, tile, _ in found], np.int64))


def reordered(pieces: Pieces, order: npt.NDArray[np.int64]) -> Pieces:
    """The same pieces in another order (or some of them)."""
    return replace(
        pieces,
        masks=pieces.masks.select(order.tolist()),
        scores=pieces.scores[order],
        labels=pieces.labels[order],
        tile=pieces.tile[order],
    )


def together(first: Pieces, second: Pieces) -> Pieces:
    """The pieces of both, of one image."""
    boxes = torch.cat([first.masks.boxes, second.masks.boxes])
    masks = InstanceCrops(torch.cat([first.masks.values, second.masks.values]), boxes, first.masks.size)
    names = ("scores", "labels", "tile")
    scores, labels, tile = (np.concatenate([getattr(first, name), getattr(second, name)]) for name in names)
    return Pieces(masks, scores, labels, tile)


@dataclass(frozen=True)
class Outcome:
    """How the stitched instances compare with the truth.

    Attributes:
        lost: true instances that no found one of their own shows (IoU of at least 0.5, one to one).
        extra: found instances that are left over then.
        worst: lowest IoU of those that were found, 1 without any.
    """

    lost: int
    extra: int
    worst: float


def compare(found: InstanceCrops, scene: Scene, least: float = 0.5) -> Outcome:
    """Match found instances to the true ones, as many as possible, one to one."""
    iou = np.zeros((len(scene.masks), len(found)))
    for j, (x0, y0, x1, y1) in enumerate(found.boxes.tolist()):
        crop = found.crop(j).numpy().astype(bool)
        for i, mask in enumerate(scene.masks):
            both = int((mask[y0:y1, x0:x1] & crop).sum())
            iou[i, j] = both / (int(mask.sum()) + int(crop.sum()) - both)
    matched = iou[linear_sum_assignment(np.where(iou >= least, iou + 1, 0), maximize=True)]
    matched = matched[matched >= least]
    return Outcome(len(scene.masks) - len(matched), len(found) - len(matched), float(matched.min(initial=1)))
