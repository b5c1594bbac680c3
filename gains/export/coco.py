"""COCO JSON with run-length encoded masks, which may overlap."""

import json
import shutil
import tempfile
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
    """Join files of :func:`write_coco` into one data set, with new image and annotation ids.

    The annotations of one image are held at a time.
    """
    images: list[dict[str, Any]] = []
    rest: dict[str, Any] = {"categories": []}
    count = 0
    with replacing(target) as temporary, tempfile.TemporaryFile("w+", dir=target.parent, encoding="ascii") as collected:
        for image_id, (_, path) in enumerate(written, 1):
            content = json.loads(path.read_text())
            rest = {name: content[name] for name in ("categories", "info")}
            images.append({**content["images"][0], "id": image_id})
            annotations = [
                {**annotation, "id": number, "image_id": image_id}
                for number, annotation in enumerate(content["annotations"], count + 1)
            ]
            if annotations:
                collected.write((", " if count else "") + json.dumps(annotations, allow_nan=False)[1:-1])
                count += len(annotations)
        collected.seek(0)
        with temporary.open("w", encoding="ascii") as file:
            file.write('{"images": ' + json.dumps(images, allow_nan=False) + ', "annotations": [')
            shutil.copyfileobj(collected, file)
            file.write("], " + json.dumps(rest, allow_nan=False)[1:])
