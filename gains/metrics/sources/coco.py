"""Ground truth and predictions as COCO json."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gains.errors import InputError
from gains.formats.coco import to_rle
from gains.metrics.sources.instances import GroundTruth, ImageNames, Instances, Predictions, evaluated_labels
from gains.rle import RLE, encode_crop


def coco_truth(path: Path, category: str | None) -> GroundTruth:
    """Ground truth from a COCO file.

    Raises:
        InputError: if the file or one of its entries is unsound.
    """
    content = _lists(_load(path), path, ("images", "annotations", "categories"))
    declared = _categories(content["categories"], path)
    labels = evaluated_labels(declared.values(), category, path)
    names: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for image in content["images"]:
        image_id = _integer(image, "id", f"{path}: an image")
        if image_id in names:
            raise InputError(f"{path}: image id {image_id} occurs twice; ids must be unique")
        where = f"{path}: image {image_id}"
        sizes[image_id] = (_integer(image, "height", where), _integer(image, "width", where))
        names[image_id] = str(image.get("file_name", image_id))
    instances = {image_id: Instances() for image_id in names}
    for index, annotation in enumerate(content["annotations"]):
        where = f"{path}: {_describe(annotation, index, 'annotation')}"
        image_id, name = _place(annotation, where, sizes, declared)
        mask = to_rle(annotation.get("segmentation"), sizes[image_id], where)
        if name in labels:
            crowd = int(bool(annotation.get("iscrowd", 0)))
            instances[image_id].add(mask, labels[name], _box(annotation, where), iscrowd=crowd)
    return GroundTruth(path, declared, labels, names, sizes, instances)


def coco_predictions(path: Path, truth: GroundTruth) -> Predictions:
    """Predictions from a COCO results list, or from a full COCO file, whose images and categories go by name.

    Raises:
        InputError: if the file or one of its entries is unsound, or does not fit the ground truth.
    """
    content = _load(path)
    if isinstance(content, list):
        image_ids = _result_images(truth)
        categories = truth.declared or _any_single_category(content, truth, path)
        entries, required = content, True
    else:
        if isinstance(content, dict) and "metrics" in content:
            raise InputError(f"{path} holds results, not predictions; give the COCO file that the results came from")
        lists = _lists(content, path, ("images", "annotations", "categories"))
        image_ids = _images_by_name(lists["images"], truth, path)
        categories = _categories_by_name(_categories(lists["categories"], path), truth, path)
        entries, required = lists["annotations"], False
    instances = {image_id: Instances() for image_id in truth.names}
    unscored = 0
    for index, entry in enumerate(entries):
        where = f"{path}: {_describe(entry, index, 'prediction')}"
        image_id, name = _place(entry, where, image_ids, categories)
        image_id = image_ids[image_id]
        mask = _mask(entry, truth.sizes[image_id], where)
        score = _score(entry, where, required)
        unscored += score is None
        if name in truth.labels:
            box = _box(entry, where)
            instances[image_id].add(mask, truth.labels[name], box, 1.0 if score is None else score)
    notes = [f"{unscored} predictions of {path} have no score and count as 1"] if unscored else []
    return Predictions(instances, notes)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from None


def _lists(content: Any, path: Path, keys: tuple[str, ...]) -> dict[str, list[Any]]:
    """The content, once it is known to hold these lists of objects."""
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f"{path} has no list {key!r}; a COCO file has images, annotations and categories")
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise InputError(f"{path}: every entry of {key!r} must be an object")
    result: dict[str, list[Any]] = content
    return result


def _categories(entries: list[Any], path: Path) -> dict[int, str]:
    """Names by id, ascending."""
    names: dict[int, str] = {}
    for entry in entries:
        category_id = _integer(entry, "id", f"{path}: a category")
        name = str(entry.get("name", category_id))
        if category_id in names or name in names.values():
            raise InputError(f"{path}: category {category_id} ({name}) occurs twice; ids and names must be unique")
        names[category_id] = name
    if not names:
        raise InputError(f"{path} declares no categories; evaluation needs at least one")
    return dict(sorted(names.items()))


def _result_images(truth: GroundTruth) -> dict[Any, int]:
    """How a results list may call an image: by id, or by file name where the truth is a folder, which has no ids."""
    if truth.declared:
        return {image_id: image_id for image_id in truth.names}
    by_name: dict[Any, int] = {name: image_id for image_id, name in truth.names.items()}
    return by_name | {int(name): image_id for name, image_id in list(by_name.items()) if name.isdecimal()}


def _images_by_name(images: list[Any], truth: GroundTruth, path: Path) -> dict[Any, int]:
    """Image ids of a full COCO file -> those of the truth, by file name; by id where there is no name."""
    names, found = ImageNames(truth.names), {}
    for image in images:
        image_id = image.get("id")
        if "file_name" in image:
            match = names.find(str(image["file_name"]))
        else:
            match = image_id if image_id in truth.names else None
        if match is None:
            called = image.get("file_name", f"id {image_id}")
            raise InputError(f"{path} lists the image {called}, which {truth.path} does not have; remove it there")
        found[image_id] = match
    return found


def _categories_by_name(categories: dict[int, str], truth: GroundTruth, path: Path) -> dict[int, str]:
    """Category ids of a full COCO file -> names of the truth; label images take a single category whatever its name."""
    if not truth.declared and len(categories) == 1:
        return dict.fromkeys(categories, next(iter(truth.labels)))
    if not truth.declared and not set(truth.labels) <= set(categories.values()):
        raise InputError(f"{path} has several categories, label images one; choose it with category=NAME")
    for name in categories.values():
        if truth.declared and name not in truth.declared.values():
            wanted = ", ".join(truth.declared.values())
            raise InputError(f"{path} has the category {name}, which {truth.path} does not have; it has {wanted}")
    return categories


def _any_single_category(entries: list[Any], truth: GroundTruth, path: Path) -> dict[int, str]:
    """A results list against label images: its one category id, whatever it is."""
    ids: set[Any] = {entry.get("category_id") for entry in entries if isinstance(entry, dict)}
    if len(ids) > 1:
        raise InputError(f"{path} has {len(ids)} categories, but {truth.path} holds label images, which have one")
    return dict.fromkeys(ids, next(iter(truth.labels)))


def _describe(entry: Any, index: int, kind: str) -> str:
    if not isinstance(entry, dict):
        return f"entry {index + 1}"
    return f"annotation {entry['id']}" if "id" in entry else f"{kind} {index + 1}"


def _place(entry: Any, where: str, images: Mapping[Any, Any], categories: Mapping[int, str]) -> tuple[Any, str]:
    """Image id and category name of an entry."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be an object, not {type(entry).__name__}")
    for key, known in (("image_id", images), ("category_id", categories)):
        if key not in entry:
            raise InputError(f"{where} has no {key}")
        if isinstance(entry[key], (list, dict)) or entry[key] not in known:
            some = ", ".join(str(value) for value in list(known)[:5]) + (", ..." if len(known) > 5 else "")
            raise InputError(f"{where} has {key} {entry[key]!r}, which is not declared; declared are {some or 'none'}")
    return entry["image_id"], categories[entry["category_id"]]


def _mask(entry: Mapping[str, Any], size: tuple[int, int], where: str) -> RLE:
    """A predicted mask, which unlike an annotated one may be empty: it is then a false positive."""
    segmentation = entry.get("segmentation")
    if segmentation is None:
        raise InputError(f"{where} has no segmentation; boxes alone cannot be scored, give RLE or polygons")
    if isinstance(segmentation, dict) and segmentation.get("size") == list(size):
        empty = encode_crop(np.zeros((0, 0)), (0, 0, 0, 0), size)
        if segmentation.get("counts") in (empty["counts"], [size[0] * size[1]]):
            return empty
    return to_rle(segmentation, size, where)


def _score(entry: Mapping[str, Any], where: str, required: bool) -> float | None:
    score = entry.get("score")
    if score is None and not required:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise InputError(f"{where} has score {score!r}; a results list needs a finite number for each")
    return float(score)


def _box(entry: Mapping[str, Any], where: str) -> list[float] | None:
    box = entry.get("bbox")
    if not box:
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
        raise InputError(f"{where} has bbox {box!r}; it must be [x, y, width, height] in pixels")
    return [float(side) for side in box]


def _integer(entry: Mapping[str, Any], key: str, where: str) -> int:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{where} has {key} {value!r}; it must be a whole number")
    return value
