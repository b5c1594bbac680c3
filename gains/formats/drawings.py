"""Files of drawn objects in JSON: GeoJSON as QuPath writes it, and labelme's."""

import base64
import json
import math
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.formats.faults import Faults
from gains.formats.polygons import Drawn, Ring, ellipse, ring


def read_geojson(data: bytes, where: str) -> list[Drawn]:
    """Objects of a GeoJSON file: polygons, their category the name of QuPath's classification.

    Raises:
        InputError: with all objects that are no polygons or damaged.
    """
    content = _json(data, where)
    features = content.get("features") if isinstance(content, dict) else content
    if isinstance(content, dict) and content.get("type") == "Feature":
        features = [content]
    if not isinstance(features, list):
        raise InputError(f"{where} has no list of features; export the objects of QuPath as GeoJSON")
    found, faults = [], Faults(where)
    for index, feature in enumerate(features):
        with faults.collected():
            found.append(_feature(feature, f"{where}: feature {index + 1}"))
    faults.check()
    return found


def _feature(feature: Any, where: str) -> Drawn:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in ("Polygon", "MultiPolygon"):
        raise InputError(f"{where} is a {kind}, no Polygon or MultiPolygon; remove it or draw it as an area")
    parts = geometry.get("coordinates")
    parts = [parts] if kind == "Polygon" else parts
    if not isinstance(parts, list) or not parts or not all(isinstance(part, list) and part for part in parts):
        raise InputError(f"{where} has no coordinates")
    properties = feature.get("properties")
    classification = properties.get("classification") if isinstance(properties, dict) else None
    plane = geometry.get("plane")
    z, t = (plane.get(axis) if isinstance(plane, dict) else 0 for axis in "zt")
    position = (z if isinstance(z, int) else 0, t if isinstance(t, int) else 0)
    nucleus = ["nuclei of QuPath's cells are left out, the cells are read"] if feature.get("nucleusGeometry") else []
    rings = [[ring(points, where) for points in part] for part in parts]
    return Drawn(_class_name(classification), rings, plane=position, remarks=nucleus)


def _class_name(classification: Any) -> str:
    """Name of a class as QuPath's versions write it: as ``name``, in parts as ``names``, or alone."""
    if isinstance(classification, dict):
        names = classification.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
        return str(classification.get("name") or joined)
    return classification if isinstance(classification, str) else ""


def read_labelme(data: bytes, where: str) -> list[Drawn]:
    """Objects of a labelme file: polygons, rectangles, circles and masks; those of one label and ``group_id`` are one.

    Raises:
        InputError: with all shapes that are no areas or damaged.
    """
    content = _json(data, where)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise InputError(f"{where} has no list of shapes, as labelme writes it")
    grouped: dict[Any, tuple[list[list[Ring]], list[Pixels]]] = {}
    faults = Faults(where)
    for index, shape in enumerate(shapes):
        with faults.collected():
            called = f"{where}: shape {index + 1}"
            kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None
            if kind not in AREAS:
                raise InputError(f"{called} is a {kind}, no {AREA_NAMES}; remove it or draw it as a polygon")
            label, group = str(shape.get("label") or ""), shape.get("group_id")
            key = (label, index if group is None else f"group {group}")
            polygons, pixels = [], []
            if kind == "mask":
                pixels.append(_labelme_mask(shape, called))
            else:
                polygons.append([_labelme_ring(kind, shape.get("points"), called)])
            known = grouped.setdefault(key, ([], []))
            known[0].extend(polygons)
            known[1].extend(pixels)
    faults.check()
    sides = [content.get(name) for name in ("imageHeight", "imageWidth")]
    image = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None
    return [Drawn(label, polygons, pixels, image=image) for (label, _), (polygons, pixels) in grouped.items()]


AREAS = ("polygon", "rectangle", "circle", "mask")
AREA_NAMES = "polygon, rectangle, circle or mask"

Pixels = tuple[npt.NDArray[np.bool_], tuple[int, int]]


def _labelme_ring(kind: str, points: Any, where: str) -> Ring:
    """The outline of a shape; a rectangle has two opposite corners, a circle its centre and a point on it."""
    if kind == "circle" or (kind == "rectangle" and isinstance(points, list) and len(points) == 2):
        if not isinstance(points, list) or len(points) != 2:
            raise InputError(f"{where} is a circle, which has two points: its centre and one on it")
        (ax, ay), (bx, by) = ring([*points, points[0]], where)[:2].tolist()
        if kind == "circle":
            radius = math.hypot(bx - ax, by - ay)
            return ellipse((ax, ay), (radius, radius), where)
        points = [[ax, ay], [bx, ay], [bx, by], [ax, by]]
    return ring(points, where)


def _labelme_mask(shape: dict[str, Any], where: str) -> Pixels:
    """Pixels of a mask: a PNG in base64, and the corners of its place, both of them inside."""
    (left, top), (right, bottom) = _corners(shape.get("points"), where)
    try:
        png = base64.b64decode(shape["mask"], validate=True)
        size = int.from_bytes(png[20:24], "big"), int.from_bytes(png[16:20], "big")
        if size != (bottom - top + 1, right - left + 1):
            raise ValueError(f"its PNG is {size[0]}x{size[1]}, its place {bottom - top + 1}x{right - left + 1}")
        mask = imagecodecs.png_decode(png)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} has an unreadable mask: {error}") from None
    if mask.ndim != 2:
        raise InputError(f"{where} has a mask of shape {mask.shape}; it has one channel")
    return mask != 0, (left, top)


def _corners(points: Any, where: str) -> list[tuple[int, int]]:
    if not isinstance(points, list) or len(points) != 2:
        raise InputError(f"{where} is a mask, which has two points: its corners")
    return [(int(x), int(y)) for x, y in ring([*points, points[0]], where)[:2].tolist()]


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON file: {error}") from None
