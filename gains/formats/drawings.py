"""Files of drawn objects: GeoJSON as QuPath writes it, ImageJ ROI archives, labelme JSON."""

import io
import json
import re
import zipfile
import zlib
from typing import Any

import numpy as np
import roifile

from gains.errors import InputError
from gains.formats.faults import Faults
from gains.formats.polygons import Drawn, ring

OWN_NAME = re.compile(r"\d+_(?P<category>.+)_\d\.\d+")
"""Of ROIs that this program writes."""
ROI_POLYGONS = (roifile.ROI_TYPE.POLYGON, roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED)


def read_geojson(data: bytes, where: str) -> list[Drawn]:
    """Objects of a GeoJSON file: polygons, their category the name of QuPath's classification.

    Raises:
        InputError: with all objects that are no polygons or damaged.
    """
    content = _json(data, where)
    features = content.get("features") if isinstance(content, dict) else content
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
    name = classification.get("name") if isinstance(classification, dict) else None
    return Drawn(str(name or ""), [[ring(points, where) for points in part] for part in parts])


def read_labelme(data: bytes, where: str) -> list[Drawn]:
    """Objects of a labelme file: polygons and rectangles; those of one label and ``group_id`` are one object.

    Raises:
        InputError: with all shapes that are neither.
    """
    content = _json(data, where)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise InputError(f"{where} has no list of shapes, as labelme writes it")
    grouped: dict[Any, list[Any]] = {}
    faults = Faults(where)
    for index, shape in enumerate(shapes):
        with faults.collected():
            called = f"{where}: shape {index + 1}"
            kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None
            if kind not in ("polygon", "rectangle"):
                raise InputError(f"{called} is a {kind}, no polygon or rectangle; remove it or draw it as a polygon")
            points = shape.get("points")
            if kind == "rectangle" and isinstance(points, list) and len(points) == 2:
                (left, top), (right, bottom) = ring([*points, points[0]], called)[:2]
                points = [[left, top], [right, top], [right, bottom], [left, bottom]]
            label, group = str(shape.get("label") or ""), shape.get("group_id")
            grouped.setdefault((label, index if group is None else f"group {group}"), []).append([ring(points, called)])
    faults.check()
    return [Drawn(label, parts) for (label, _), parts in grouped.items()]


def read_rois(data: bytes, where: str) -> list[Drawn]:
    """Objects of an archive of ImageJ ROIs; of names that this program gave, the category is kept.

    Raises:
        InputError: with all ROIs that are no areas or damaged.
    """
    found, faults = [], Faults(where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.lower().endswith(".roi"):
                    with faults.collected():
                        found.append(_roi(archive.read(name), f"{where}:{name}"))
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{where} is not a readable zip archive: {error}") from None
    faults.check()
    return found


def _roi(data: bytes, where: str) -> Drawn:
    try:
        roi = roifile.ImagejRoi.frombytes(data)
        composite = roi.multi_coordinates is not None
        kind, rings = roi.roitype, [np.asarray(part) for part in (roi.coordinates(multi=True) if composite else [])]
        if not composite and kind in ROI_POLYGONS:
            rings = [np.asarray(roi.coordinates())]
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} is no readable ROI: {error}") from None
    if not composite and kind == roifile.ROI_TYPE.RECT:
        rings = [np.array([[roi.left, roi.top], [roi.right, roi.top], [roi.right, roi.bottom], [roi.left, roi.bottom]])]
    if not rings:
        raise InputError(f"{where} is a {kind.name}, no polygon, freehand area or rectangle; make it one in ImageJ")
    named = OWN_NAME.fullmatch(roi.name or "")
    return Drawn(named["category"] if named else "", [[ring(each, where) for each in rings]])


def _json(data: bytes, where: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON file: {error}") from None
