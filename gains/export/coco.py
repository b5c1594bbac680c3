"""COCO JSON with run-length encoded masks, which may overlap."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gains.export.export import Export
from gains.files import replacing


def coco_document(export: Export) -> dict[str, Any]:
    """A COCO data set of one image, its annotations with an additional ``score``; ids are those of all formats.

    A plane of a stack has a name of its own, and ``source`` and ``page`` besides.
    """
    instances = export.instances
    height, width = instances.size
    image: dict[str, Any] = {"id": 1, "file_name": export.file_name, "height": height, "width": width}
    if export.page is not None:
        image |= {"source": export.source, "page": export.page}
    areas = instances.masks.areas().long().tolist()
    annotations = [
        {
            "id": index + 1,
            "image_id": 1,
            "category_id": int(instances.labels[index]),
            "segmentation": rle,
            "area": areas[index],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
            "score": float(instances.scores[index]),
        }
        for index, (rle, (x0, y0, x1, y1)) in enumerate(
            zip(instances.masks.to_rle(), instances.boxes.tolist(), strict=True)
        )
    ]
    return {
        "info": {"description": "instances predicted by gains; masks may overlap"},
        "images": [image],
        "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(instances.categories)],
    }


def write_coco(path: Path, export: Export) -> None:
    """Write :func:`coco_document`."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(coco_document(export), allow_nan=False))


def merge_coco(written: Sequence[tuple[str, Path]], target: Path) -> None:
    """Join files of :func:`write_coco` into one data set, with new image and annotation ids."""
    joined: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    for _, path in written:
        content = json.loads(path.read_text())
        image_id = len(joined["images"]) + 1
        joined["info"], joined["categories"] = content["info"], content["categories"]
        joined["images"].append({**content["images"][0], "id": image_id})
        for annotation in content["annotations"]:
            number = len(joined["annotations"]) + 1
            joined["annotations"].append({**annotation, "id": number, "image_id": image_id})
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(joined, allow_nan=False))
