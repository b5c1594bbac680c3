"""Instances as layers of napari, and back: labels that can be corrected, outlines that carry measurements.

A layer of napari holds one number per pixel, so instances that overlap go into different layers, and so do those of
different categories, for a nucleus lies in its cell. Nothing here needs napari: it speaks in the tuples
``(data, arguments, kind)`` that napari takes from plugins.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from gains.errors import InputError
from gains.export.export import Export
from gains.export.labels import bands, layers
from gains.export.outlines import outlines
from gains.formats.labels import encode_labels
from gains.images.raster import ArrayRaster
from gains.instances import Instances
from gains.masks import InstanceCrops

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]
"""What ``Layer.create`` of napari takes: data, arguments, kind of layer."""

CATEGORY = "gains category"
"""Entry of a layer's metadata that says what its labels are."""

PLANE = "gains plane"
"""Entry of a layer's metadata that says on which plane of which image layer it was found."""

SMOOTHING = 0.3
"""Pixels by which a drawn outline may leave the middle of the edges of pixels; the labels keep every pixel."""


def shown_plane(data: Any, is_rgb: bool, step: Sequence[int], name: str) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """The plane of an image layer that is on the screen, and its place along the axes of a stack.

    Args:
        data: ``(..., H, W)``, or ``(..., H, W, 3 or 4)`` of an RGB layer; the first of a multiscale layer's arrays.
        is_rgb: whether the last axis holds colours.
        step: position on each axis of the viewer, of which the layer has the last ones.
        name: of the layer, for the error.

    Returns:
        ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``, and the index on each axis before rows and columns.

    Raises:
        InputError: if it is no image.
    """
    stacked = data.ndim - (3 if is_rgb else 2)
    if stacked < 0:
        raise InputError(f"layer {name!r} has shape {tuple(data.shape)}, which is no image")
    steps = step[len(step) - stacked - 2 : len(step) - 2]
    place = tuple(min(int(at), size - 1) for at, size in zip(steps, data.shape, strict=False))
    return np.asarray(data[place]), place


def result_layers(
    found: Instances,
    image: npt.NDArray[Any],
    name: str,
    metadata: Mapping[str, Any] | None = None,
    place: Mapping[str, Any] | None = None,
    pixel_size_um: float | None = None,
) -> list[LayerData]:
    """A labels layer for each category and overlap, the first below, and the outlines of all with measurements.

    The value of a label is the id of its instance, the same in all layers and in every file that is exported.

    Args:
        found: the instances.
        image: the plane they were found in, for intensities.
        name: of its layer; the names of the new ones begin with it.
        metadata: for every layer, beside the category of labels.
        place: ``scale``, ``translate`` and the like of that layer, in rows and columns.
        pixel_size_um: side of a pixel, for calibrated measurements.
    """
    table = Export(found, ArrayRaster(image, name), pixel_size_um).table
    common, metadata = dict(place or {}), dict(metadata or {})
    made = []
    for title, category, members in divided(found, name):
        own = {"name": title, "metadata": {**metadata, CATEGORY: category}, "features": by_label(table, members)}
        made.append((label_image(found, members), {**common, **own}, "labels"))
    drawn = {
        **common,
        "name": f"{name}: outlines",
        "metadata": metadata,
        "shape_type": "polygon",
        "face_color": "transparent",
        "edge_color": "yellow",
        "edge_width": 1,
        "features": table,
    }
    return [*made, (polygons(found), drawn, "shapes")]


def divided(found: Instances, name: str) -> list[tuple[str, str, npt.NDArray[np.int64]]]:
    """Title, category and indices ``(K,)`` of each layer; a category that has no instance gets an empty one."""
    parts = []
    for label, category in enumerate(found.categories, 1):
        own = np.flatnonzero(found.labels == label)
        for number, members in enumerate(layers(found.select(own.tolist())), 1):
            title = f"{name}: {category}" if number == 1 else f"{name}: {category} {number}"
            parts.append((title, category, own[members]))
    return parts


def by_label(table: pd.DataFrame, members: npt.NDArray[np.int64]) -> pd.DataFrame:
    """Rows of a table as napari wants them of labels: the column ``index`` has the value of each."""
    features = table.iloc[members].reset_index(drop=True)
    features.insert(0, "index", features["id"])
    return features


def label_image(found: Instances, members: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Image ``(H, W)`` in which the instance of index k has the value k + 1."""
    dtype = np.uint16 if len(found) <= np.iinfo(np.uint16).max else np.uint32
    return np.concatenate(list(bands(found, members, dtype)))


def polygons(found: Instances) -> list[npt.NDArray[np.float64]]:
    """Outline ``(P, 2)`` of the largest part of each instance, (row, column) from the centre of the first pixel."""
    lines = []
    for shape in outlines(found):
        part = max(shapely.get_parts(shape), key=lambda each: float(each.area))
        edges = shapely.get_coordinates(shapely.segmentize(part.exterior, 1))
        # Through the middle of each edge of a pixel, so that a slope is a line and no flight of steps.
        smooth = shapely.simplify(shapely.LinearRing((edges[1:] + edges[:-1]) / 2), SMOOTHING)
        lines.append(shapely.get_coordinates(smooth)[:-1, ::-1] - 0.5)
    return lines


def corrected(
    labels: Sequence[tuple[str, npt.NDArray[np.integer[Any]], str | None]],
    size: tuple[int, int],
    category: str = "cell",
) -> Instances:
    """The instances of labels layers, as somebody left them: one for each value of each layer, all with score 1.

    Args:
        labels: name, label image ``(H, W)`` and category of each layer; None takes the one that all others have.
        size: height and width of the image.
        category: where no layer says any.

    Raises:
        InputError: without layers, for one of another size, or one whose category is unclear.
    """
    if not labels:
        raise InputError("there is no labels layer to save; run a model, or add a labels layer and paint")
    names = list(dict.fromkeys(known for _, _, known in labels if known is not None)) or [category]
    rles, owners = [], []
    for name, image, known in labels:
        if tuple(image.shape) != size:
            raise InputError(f"layer {name!r} has shape {tuple(image.shape)}, its image {size}; hide or remove it")
        if known is None and len(names) > 1:
            raise InputError(
                f"layer {name!r} does not say whether it holds {' or '.join(names)}; "
                "duplicate a layer of that category instead of adding a new one"
            )
        found = encode_labels(image)
        rles += found
        owners += [names.index(known or names[0]) + 1] * len(found)
    masks = InstanceCrops.from_rle(rles, size)
    return Instances(masks, np.ones(len(rles)), np.array(owners, dtype=np.int64), names)
