"""Measurements of instances: one row each, in pixels and, where the size of a pixel is known, in micrometres."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage

from gains.arrays import FloatArray
from gains.images.raster import Raster
from gains.instances import Instances
from gains.masks import InstanceCrops
from gains.overlaps import overlapping_pairs, window

# Benkrid, Crookes (2000): a border pixel adds a length that depends on which border pixels adjoin it. Its own weight
# is 1, a neighbour across an edge counts 2, one across a corner 10; the sum names the arrangement.
_ARRANGEMENT = np.array([[10, 2, 10], [2, 1, 2], [10, 2, 10]])
_STEP_LENGTH = np.zeros(50)
_STEP_LENGTH[[5, 7, 15, 17, 25, 27]] = 1
_STEP_LENGTH[[21, 33]] = np.sqrt(2)
_STEP_LENGTH[[13, 23]] = (1 + np.sqrt(2)) / 2


def measure(instances: Instances, image: Raster | None = None, pixel_size_um: float | None = None) -> pd.DataFrame:
    """Measure every instance.

    Columns, in this order:

    - ``id`` from 1, the pixel value in label images and the name in every other file; ``category``; ``score``;
    - ``x``, ``y``: centroid in pixels, (0, 0) the centre of the top left pixel;
    - ``left``, ``top``, ``width``, ``height``: bounding box in pixels;
    - ``area``: pixels; ``perimeter``: pixels (Benkrid, Crookes 2000); ``eccentricity`` of the ellipse with the same
      second moments, 0 for a circle, towards 1 for a line; ``major_axis`` and ``minor_axis`` of that ellipse, pixels;
    - ``overlap_area``: pixels that also belong to another instance of its category; ``overlap_neighbours``: how many
      others; ``overlap_ids``: which, separated by spaces;
    - with several categories ``parent_id``: the instance of another category that holds most of it, as a cell its
      nucleus; empty without one;
    - with an image ``mean_intensity`` (gray) or ``mean_red``, ``mean_green``, ``mean_blue``: mean of the stored pixel
      values, NaN pixels left out;
    - with a pixel size ``area_um2``, ``perimeter_um``, ``major_axis_um``, ``minor_axis_um``, ``overlap_area_um2``.

    Args:
        instances: of one image.
        image: that image, for intensities.
        pixel_size_um: side of a pixel in micrometres.
    """
    rows = [_shape(instances.crop(index), instances.boxes[index]) for index in range(len(instances))]
    columns = ["x", "y", "left", "top", "width", "height", "area", "perimeter", "eccentricity"]
    table = pd.DataFrame(rows, columns=[*columns, "major_axis", "minor_axis"])
    names = np.array(["", *instances.categories], dtype=object)
    table.insert(0, "id", np.arange(1, len(instances) + 1))
    table.insert(1, "category", names[instances.labels])
    table.insert(2, "score", instances.scores)
    whole = ["left", "top", "width", "height", "area"]
    table[whole] = table[whole].astype(np.int64)
    _add_overlaps(table, instances)
    if image is not None:
        _add_intensities(table, instances, image)
    if pixel_size_um is not None:
        for name in ("area", "overlap_area"):
            table[f"{name}_um2"] = table[name] * pixel_size_um**2
        for name in ("perimeter", "major_axis", "minor_axis"):
            table[f"{name}_um"] = table[name] * pixel_size_um
    return table


def perimeter(mask: npt.NDArray[np.bool_]) -> float:
    """Length in pixels of the border of a mask ``(h, w)`` through the centres of its border pixels, holes included."""
    padded = np.pad(mask, 2)
    border = padded & ~ndimage.binary_erosion(padded)
    arrangement = ndimage.convolve(border.astype(np.uint8), _ARRANGEMENT, mode="constant")
    return float(_STEP_LENGTH[arrangement[border]].sum())


def _shape(mask: npt.NDArray[np.bool_], box: npt.NDArray[np.int64]) -> list[float]:
    """Centroid, box, area, perimeter and the axes of the ellipse of one instance."""
    rows, columns = np.nonzero(mask)
    x, y = columns.mean(), rows.mean()
    # A pixel is a square, not a point: it has a second moment of 1/12 of its own.
    xx, yy = columns.var() + 1 / 12, rows.var() + 1 / 12
    xy = ((columns - x) * (rows - y)).mean()
    spread = np.sqrt((xx - yy) ** 2 / 4 + xy**2)
    large, small = (xx + yy) / 2 + spread, max((xx + yy) / 2 - spread, 0.0)
    left, top, right, bottom = box.tolist()
    eccentricity = float(np.sqrt(1 - small / large))
    axes = [float(4 * np.sqrt(large)), float(4 * np.sqrt(small))]
    size = [left, top, right - left, bottom - top, len(rows)]
    return [float(x + left), float(y + top), *size, perimeter(mask), eccentricity, *axes]


def _add_overlaps(table: pd.DataFrame, instances: Instances) -> None:
    masks, boxes = instances.masks, instances.boxes
    covered = InstanceCrops(torch.zeros_like(masks.values), masks.boxes, masks.size)
    others: list[list[int]] = [[] for _ in range(len(masks))]
    first, second, pixels = overlapping_pairs(masks)
    alike = instances.labels[first] == instances.labels[second]
    if len(instances.categories) > 1:
        table["parent_id"] = _parents(instances, first[~alike], second[~alike], pixels[~alike])
    first, second = first[alike], second[alike]
    for i, j in zip(np.concatenate([first, second]), np.concatenate([second, first]), strict=True):
        part = window(covered, i, boxes[j])
        part |= window(masks, j, boxes[i])
        others[i].append(int(j) + 1)
    shared = InstanceCrops(covered.values & masks.values, masks.boxes, masks.size)
    table["overlap_area"] = shared.areas().long().tolist()
    table["overlap_neighbours"] = [len(ids) for ids in others]
    table["overlap_ids"] = [" ".join(map(str, sorted(ids))) for ids in others]


def _parents(
    instances: Instances, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], shared: npt.NDArray[np.int64]
) -> "pd.Series[int]":
    """Id of the larger instance that holds more than half of each; of several the one that holds most, the smallest."""
    areas = instances.masks.areas().numpy()
    parents = pd.Series(pd.NA, index=range(len(instances)), dtype="Int64")
    best = [(0.5, 0.0)] * len(instances)
    for i, j, pixels in zip(first.tolist(), second.tolist(), shared.tolist(), strict=True):
        inner, outer = (i, j) if areas[i] < areas[j] else (j, i)
        held = (pixels / areas[inner], -areas[outer])
        if held[0] > 0.5 and held > best[inner]:
            best[inner], parents[inner] = held, outer + 1
    return parents


def _add_intensities(table: pd.DataFrame, instances: Instances, image: Raster) -> None:
    height, width = instances.size
    if image.size != (height, width):
        raise ValueError(f"the image has {image.size} pixels, the instances belong to one of {(height, width)}")
    sample = image.read((0, 0, 1, 1))
    names = ["mean_intensity"] if sample.ndim == 2 else ["mean_red", "mean_green", "mean_blue"]
    means = np.zeros((len(instances), len(names)))
    # By rows of the image: neighbours then come from the same tiles or strips of the file.
    for index in np.lexsort((instances.boxes[:, 0], instances.boxes[:, 1] // 256)):
        x0, y0, x1, y1 = instances.boxes[index].tolist()
        values = image.read((x0, y0, x1, y1))[instances.crop(index)].reshape(-1, len(names))
        means[index] = _mean(values)
    table[names] = means


def _mean(values: npt.NDArray[Any]) -> FloatArray:
    """Mean of each column without NaN; NaN where nothing else is there."""
    values = values.astype(np.float64)
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=0)
    count = known.sum(axis=0)
    mean: FloatArray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean
