"""GeoJSON as QuPath imports it: detections with outline, class and measurements."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from gains.files import replacing
from gains.instances import Instances

COLOURS = [[228, 26, 28], [55, 126, 184], [77, 175, 74], [152, 78, 163], [255, 127, 0], [166, 86, 40], [247, 129, 191]]
"""One per category, in turn (ColorBrewer Set1)."""

NOT_MEASUREMENTS = ("id", "category", "overlap_ids", "left", "top", "width", "height", "x", "y")


def write_geojson(path: Path, instances: Instances, shapes: Sequence[BaseGeometry], table: pd.DataFrame) -> None:
    """One feature per instance.

    Args:
        path: of the file.
        instances: of one image.
        shapes: their outlines.
        table: its measurements (see :func:`gains.export.measure.measure`), shown by QuPath in its tables.
    """
    names = [name for name in table.columns if name not in NOT_MEASUREMENTS]
    rows = table[names].astype(float).to_dict("records")
    features = [
        _feature(instances, index, shape, row) for index, (shape, row) in enumerate(zip(shapes, rows, strict=True))
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def _feature(instances: Instances, index: int, shape: BaseGeometry, measurements: dict[str, float]) -> dict[str, Any]:
    label = int(instances.labels[index])
    return {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(shape),
        "properties": {
            "objectType": "detection",
            "name": str(index + 1),
            "classification": {"name": instances.categories[label - 1], "color": COLOURS[(label - 1) % len(COLOURS)]},
            # JSON has no NaN.
            "measurements": {name: value for name, value in measurements.items() if value == value},
        },
    }
