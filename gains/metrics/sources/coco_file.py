"""Ground truth and predictions as COCO json."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gains.errors import InputError
from gains.formats.coco import (
    describe,
    is_number,
    new_image_id,
    place,
    read_box,
    read_categories,
    read_coco,
    with_soundness,
)
from gains.formats.coco_ids import Id, number_ids, to_id
from gains.formats.coco_lists import CocoLists, holds_list, read_lists, read_results
from gains.formats.coco_masks import to_rle
from gains.formats.faults import Faults
from gains.formats.stream import top_level
from gains.metrics.sources.sets import (
    ByImage,
    GroundTruth,
    ImageNames,
    InstanceSet,
    InstanceStore,
    Predictions,
    evaluated_labels,
    name_of_page,
)
from gains.rle import RLE, encode_crop


def coco_truth(path: Path, category: str | None, crowd: str | None = None) -> GroundTruth:
    """Ground truth from a COCO file.

    Args:
        path: of the file.
        category: keep this category alone; None keeps all.
        crowd: ``instances`` takes crowd regions as objects.

    Raises:
        InputError: with everything that is wrong in it.
    """
    coco = read_coco(path, category)
    labels = evaluated_labels(coco.categories.values(), category, path)
    ids = number_ids(coco.images)
    sizes = {ids[name]: image.size for name, image in coco.images.items()}
    shared = Counter(image.file_name for image in coco.images.values())
    names = {
        ids[name]: name_of_page(image.file_name, image.extra.get("page") if shared[image.file_name] > 1 else None)
        for name, image in coco.images.items()
    }
    called = {number: name for name, number in ids.items()}

    def annotated(image_id: int) -> InstanceSet:
        found = InstanceSet()
        for each in coco.annotations.of(called[image_id]):
            if each.category in labels:
                found.add(each.mask, labels[each.category], each.box, iscrowd=int(each.crowd and crowd is None))
        return found

    every = 0 < len(coco.annotations) == coco.annotations.crowds and crowd is None
    said = "are crowd regions (iscrowd 1): nothing is left to be found; crowd=instances takes them as objects"
    notes = [f"all annotations of {path} {said}"] if every else []
    sets = ByImage(names, annotated)
    return GroundTruth(path, coco.categories, labels, names, sizes, sets, ids, notes, category is not None)


def coco_predictions(path: Path, truth: GroundTruth) -> Predictions:
    """Predictions from a COCO results list, or from a full COCO file, whose images and categories go by name.

    Raises:
        InputError: if the file or one of its entries is unsound, or does not fit the ground truth.
    """
    if holds_list(path):
        image_ids = _result_images(truth)
        categories = truth.declared or _any_single_category(read_results(path), truth, path)
        entries, required, predicted = read_results(path), True, set[int]()
    else:
        lists = _lists(path)
        image_ids = _images_by_name(lists.images, truth, path)
        categories = _categories_by_name(read_categories(lists.categories, path), truth, path)
        entries, required, predicted = lists.annotations(), False, set(image_ids.values())
    instances = InstanceStore(truth.sizes)
    unscored = 0
    faults = Faults(str(path))
    for index, (entry, sound) in enumerate(with_soundness(entries)):
        with faults.collected():
            if _is_left_out(entry, categories, truth):
                if (number := to_id(entry.get("image_id"))) in image_ids:
                    predicted.add(image_ids[number])
                continue
            where = f"{path}: {describe(entry, index, 'prediction')}"
            given, category = place(entry, where, image_ids, categories)
            image, name = image_ids[given], categories[category]
            predicted.add(image)
            mask = _mask(entry, truth.sizes[image], where, sound)
            score, box = _score(entry, where, required), read_box(entry, where)
            unscored += score is None
            instances.add(image, mask, truth.labels[name], box, 1.0 if score is None else score)
    faults.check()
    notes = [f"{unscored} predictions of {path} have no score and count as 1"] if unscored else []
    return Predictions(instances.by_image(), notes, predicted)


def _lists(path: Path) -> CocoLists:
    """The lists of a full COCO file, or what else it is."""
    try:
        return read_lists(path)
    except InputError:
        if _is_results(path):
            raise InputError(
                f"{path} holds results, not predictions; give the COCO file that the results came from"
            ) from None
        raise


def _is_results(path: Path) -> bool:
    try:
        return any(key == "metrics" for key, _ in top_level(path))
    except (ValueError, RecursionError):
        return False


def _is_left_out(entry: Any, categories: Mapping[Id, str], truth: GroundTruth) -> bool:
    """Whether a prediction is of another category than the one that is scored: then nothing of it is looked at."""
    number = to_id(entry.get("category_id")) if isinstance(entry, dict) else None
    if number is None:
        return False
    return categories[number] not in truth.labels if number in categories else truth.restricted


def _result_images(truth: GroundTruth) -> dict[Id, int]:
    """How a results list may call an image: by id, or by file name where the truth is a folder, which has no ids."""
    if truth.declared:
        return truth.ids
    by_name: dict[Id, int] = {}
    for image_id, name in truth.names.items():
        by_name[name] = image_id
        if name.isdecimal():
            by_name[int(name)] = image_id
    return by_name


def _images_by_name(images: list[Any], truth: GroundTruth, path: Path) -> dict[Id, int]:
    """Image ids of a full COCO file -> those of the truth, by file name and page; by id where there is no name."""
    names = ImageNames(truth)
    found: dict[Id, int] = {}
    faults = Faults(str(path))
    for index, image in enumerate(images):
        with faults.collected():
            image_id = new_image_id(image, index, found, path)
            if "file_name" in image:
                plain = str(image["file_name"])
                of_page = name_of_page(plain, image.get("page"))
                found[image_id] = names.take(of_page if names.ids(of_page) else plain, str(path))
            elif image_id in truth.ids:
                found[image_id] = truth.ids[image_id]
            else:
                raise InputError(f"{path} has the image id {image_id}, which {truth.path} does not have; remove it")
    faults.check()
    return found


def _categories_by_name(categories: dict[Id, str], truth: GroundTruth, path: Path) -> dict[Id, str]:
    """Category ids of a full COCO file -> names of the truth; label images take a single category whatever its name."""
    if not truth.declared and len(categories) == 1:
        return dict.fromkeys(categories, next(iter(truth.labels)))
    if not truth.declared and not set(truth.labels) <= set(categories.values()):
        names = ", ".join(categories.values())
        raise InputError(f"{path} has the categories {names}, label images one; choose it with category=NAME")
    for name in categories.values():
        if truth.declared and not truth.restricted and name not in truth.declared.values():
            wanted = ", ".join(truth.declared.values())
            raise InputError(f"{path} has the category {name}, which {truth.path} does not have; it has {wanted}")
    return categories


def _any_single_category(entries: Iterable[Any], truth: GroundTruth, path: Path) -> dict[Id, str]:
    """A results list against label images: its one category id, whatever it is."""
    given = {to_id(entry.get("category_id")) for entry in entries if isinstance(entry, dict)}
    ids = [number for number in given if number is not None]
    if len(ids) > 1:
        raise InputError(f"{path} has {len(ids)} categories, but {truth.path} holds label images, which have one")
    return dict.fromkeys(ids, next(iter(truth.labels)))


def _mask(entry: Mapping[str, Any], size: tuple[int, int], where: str, sound: bool) -> RLE:
    """A predicted mask, which unlike an annotated one may be empty: it is then a false positive."""
    segmentation = entry.get("segmentation")
    if segmentation is None:
        raise InputError(f"{where} has no segmentation; boxes alone cannot be scored, give RLE or polygons")
    if not sound and isinstance(segmentation, dict) and segmentation.get("size") == list(size):
        empty = encode_crop(np.zeros((0, 0)), (0, 0, 0, 0), size)
        if segmentation.get("counts") in (empty["counts"], [size[0] * size[1]]):
            return empty
    return to_rle(segmentation, size, where, sound)


def _score(entry: Mapping[str, Any], where: str, required: bool) -> float | None:
    score = entry.get("score")
    if score is None and not required:
        return None
    if is_number(score) and float(score or 0) >= 0:
        return float(score or 0)
    raise InputError(f"{where} has score {score!r}; a results list needs a finite number of at least 0 for each")
