"""GeoJSON as QuPath imports it: detections with outline, class and measurements."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from gains.export.csv import readable
from gains.export.export import Export
from gains.files import replacing

COLOURS = [[228, 26, 28], [55, 126, 184], [77, 175, 74], [152, 78, 163], [255, 127, 0], [166, 86, 40], [247, 129, 191]]
"""One per category, in turn (ColorBrewer Set1)."""

NOT_MEASUREMENTS = ("id", "category", "overlap_ids", "parent_id", "left", "top", "width", "height", "x", "y")


def write_geojson(path: Path, export: Export) -> None:
    """One feature per instance, with the columns of its table as measurements, which QuPath shows in its own."""
    names = [name for name in export.table.columns if name not in NOT_MEASUREMENTS]
    rows = readable(export.table)[names].astype(float).to_dict("records")
    numbered = enumerate(zip(export.outlines, rows, strict=True))
    features = [_feature(export, index, shape, row) for index, (shape, row) in numbered]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False))


def _feature(export: Export, index: int, shape: BaseGeometry, measurements: dict[str, float]) -> dict[str, Any]:
    label = int(export.instances.labels[index])
    geometry = dict(shapely.geometry.mapping(shape))
    if export.page is not None:
        geometry["plane"] = _plane(export.position, export.page)
    name = export.instances.categories[label - 1]
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "detection",
            "name": str(index + 1),
            "classification": {"name": name, "color": COLOURS[(label - 1) % len(COLOURS)]},
            # JSON has neither NaN nor infinity.
            "measurements": {name: value for name, value in measurements.items() if math.isfinite(value)},
        },
    }


def _plane(position: Mapping[str, int], page: int) -> dict[str, int]:
    """A member of QuPath's own: channel (-1: all), slice and time point, which pages without a meaning are to it."""
    known = "Z" in position or "T" in position
    return {"c": -1, "z": position.get("Z", 0), "t": position.get("T", 0) if known else page - 1}
