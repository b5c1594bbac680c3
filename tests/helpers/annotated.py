"""Prepared folders of which only the annotations matter."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gains.data.dataset import Annotations, load_annotations
from gains.rle import encode_crop


def write_annotations(
    root: Path,
    sizes: Mapping[str, tuple[int, int]],
    objects: Mapping[str, Sequence[Mapping[str, Any]]],
    categories: Sequence[str],
) -> Annotations:
    """Write ``annotations.json`` and load it.

    Args:
        root: made if it is not there.
        sizes: height and width of each image, by name; their ids count from 1.
        objects: of each image, with ``label`` and whatever else is not to be as of one pixel at the upper left.
        categories: names; their ids count from 1.
    """
    ids = {name: number for number, name in enumerate(sizes, 1)}
    images = [
        {"id": ids[name], "file_name": f"{name}.png", "height": height, "width": width}
        for name, (height, width) in sizes.items()
    ]
    annotations = [
        {
            "image_id": ids[name],
            "category_id": found["label"],
            "area": 1,
            "segmentation": encode_crop(np.ones((1, 1), bool), (0, 0, 1, 1), sizes[name]),
            **found,
        }
        for name, of_image in objects.items()
        for found in of_image
    ]
    entries = [{"id": number, "name": name} for number, name in enumerate(categories, 1)]
    root.mkdir(parents=True, exist_ok=True)
    coco = {"images": images, "annotations": annotations, "categories": entries}
    (root / "annotations.json").write_text(json.dumps(coco))
    return load_annotations(root)
