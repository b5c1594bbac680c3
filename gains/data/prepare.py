"""From any source to the canonical folder: ``images/``, ``annotations.json`` (COCO, RLE) and ``splits.json``."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from gains.data.source import ImageRecord, Instance, Source
from gains.data.splits import SPLITS, read_groups, split_by_ratio
from gains.errors import InputError
from gains.files import replacing_folder
from gains.formats.coco_ids import Id
from gains.images.files import put_image
from gains.images.options import ReadOptions

SAME_PIXELS = 1.1
"""Images whose pixels differ by no more than this factor are of one pixel size."""


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        root: the folder.
        instances: number of instances of each category.
        splits: image names of train, val and test.
        official: whether the division is the data set's own.
        notes: what reading the images had to tell.
    """

    root: Path
    instances: dict[str, int]
    splits: dict[str, list[str]]
    official: bool
    notes: list[str] = field(default_factory=list)


def prepare(
    source: Source,
    root: str | Path,
    *,
    seed: int,
    ratios: Sequence[int] = (6, 2, 2),
    groups: str | Path | None = None,
    categories: Sequence[str] | None = None,
    overwrite: bool = False,
    info: Mapping[str, Any] | None = None,
) -> Prepared:
    """Write a data set in canonical form; the folder appears complete under its name, or not at all.

    Args:
        source: the data set as distributed, or generated.
        root: folder to create.
        seed: of the split.
        ratios: of train, val and test, where the source has no official division.
        groups: CSV ``image_id,group``; images of one group stay on one side, and ``annotations.json`` keeps the group.
        categories: names to keep, in the order of their ids; None keeps all. Images stay, even without instances.
        overwrite: replace an earlier prepared folder.
        info: further entries for ``info`` in ``annotations.json``.

    Raises:
        InputError: if ``root`` exists, the source is unsound, or a category is unknown.
    """
    root = Path(root)
    check_root(root, overwrite)
    names = list(categories) if categories is not None else list(source.categories)
    unknown = [name for name in names if name not in source.categories]
    if unknown:
        raise InputError(f"dataset.categories has {unknown[0]!r}; the source has {', '.join(source.categories)}")
    reading: ReadOptions | None = getattr(source, "reading", None)
    with replacing_folder(root) as partial:
        (partial / "images").mkdir()
        progress = tqdm(source, total=len(source), desc=f"prepare {root.name}", unit="image", leave=False)
        ids = category_numbers(source, names)
        with tempfile.TemporaryFile(dir=partial) as collected:
            entries, counts, official = write_records(progress, partial / "images", ids, collected)
            images = {Path(image["file_name"]).stem: image for image in entries}
            grouping = read_groups(Path(groups), list(images)) if groups is not None else None
            for name, group in (grouping or {}).items():
                images[name]["group"] = group
            splits = official or split_by_ratio(list(images), seed, ratios, grouping)
            sizes = list(reading.pixel_sizes.values()) if reading else []
            about = {"format": type(source).__name__} | common_pixel_size(sizes, len(images)) | dict(info or {})
            write_coco(partial / "annotations.json", entries, collected, ids, about)
        division = {"seed": seed, "ratios": list(ratios), "official": official is not None} | splits
        (partial / "splits.json").write_text(json.dumps(division, indent=1), encoding="utf-8")
    notes = reading.notes.lines() if reading else []
    if not sum(counts.values()):
        notes.append("no image has an annotation: there is nothing to learn from them")
    instances = {name: counts[number] for name, number in ids.items()}
    return Prepared(root, instances, splits, official is not None, notes)


def common_pixel_size(sizes: Sequence[float], images: int) -> dict[str, float]:
    """``pixel_size_um``, the median, where all images say one and they are nearly the same; else nothing."""
    if len(sizes) < images or max(sizes) > SAME_PIXELS * min(sizes):
        return {}
    return {"pixel_size_um": float(np.median(sizes))}


def check_root(root: Path, overwrite: bool) -> None:
    """See that a prepared folder may be written there, before any work is done.

    Raises:
        InputError: if something is there and ``overwrite`` is false, or it is not a prepared folder.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{root} exists; choose another dataset.root, or replace it with overwrite=true")
    if not (root / "annotations.json").is_file() or not (root / "splits.json").is_file():
        raise InputError(f"{root} is not a prepared data set and is not overwritten; choose another dataset.root")


def category_numbers(source: Source, names: Sequence[str]) -> dict[str, Id]:
    """COCO category id of each name that is kept: the source's own, or counted from 1."""
    own: Sequence[Id] | None = getattr(source, "category_ids", None)
    if own is None:
        return {name: index + 1 for index, name in enumerate(names)}
    ids = dict(zip(source.categories, own, strict=True))
    return {name: ids[name] for name in names}


def write_records(
    records: Iterable[ImageRecord], folder: Path, ids: Mapping[str, Id], collected: BinaryIO
) -> tuple[list[dict[str, Any]], Counter[Id], dict[str, list[str]] | None]:
    """Write the images, and their annotations, which may be too many to hold.

    Args:
        records: the images; they keep the number that their source gave them, if any.
        folder: where the images go.
        ids: category id of each category that is kept.
        collected: gets the COCO entries of the annotations, as JSON with commas between.

    Returns:
        The COCO entries of the images, the number of annotations of each category id, and the official division if
        the source has one.

    Raises:
        InputError: without images, for a name that comes twice, or an empty mask.
    """
    images: list[dict[str, Any]] = []
    counts: Counter[Id] = Counter()
    sides: dict[str, str | None] = {}
    for record in records:
        if record.name in sides:
            raise InputError(f"two images are called {record.name!r}; names without suffix must differ")
        sides[record.name] = record.split
        image = image_entry(record, len(images) + 1 if record.number is None else record.number)
        # The folder gets its name when all of it is on the disk: to wait for each image takes longer than all else.
        put_image(folder / image["file_name"], Path(image["file_name"]).suffix, record.pixels)
        images.append(image)
        kept = [instance for instance in record.instances if instance.category in ids]
        if kept:
            numbers = [ids[instance.category] for instance in kept]
            of_image = enumerate(zip(numbers, annotation_entries(kept, record.name), strict=True), counts.total() + 1)
            entries = [
                {"id": count, "image_id": image["id"], "category_id": number} | entry
                for count, (number, entry) in of_image
            ]
            collected.write(b"," * (counts.total() > 0) + compact(entries)[1:-1])
            counts.update(numbers)
    if not images:
        raise InputError("the source holds no images")
    return images, counts, official_division(sides)


def image_entry(record: ImageRecord, image_id: Id) -> dict[str, Any]:
    """COCO entry of an image; PNG, or TIFF for float pixels."""
    suffix = ".tif" if record.pixels.dtype == np.float32 else ".png"
    height, width = record.pixels.shape[:2]
    own = {"id": image_id, "file_name": record.name + suffix, "height": height, "width": width}
    return own | {key: value for key, value in record.extra.items() if key not in own}


def annotation_entries(instances: Sequence[Instance], image: str) -> list[dict[str, Any]]:
    """COCO entries of the instances of an image without their ids; area and box are those of the mask.

    Raises:
        InputError: for an empty mask.
    """
    masks = [{"size": instance.mask["size"], "counts": instance.mask["counts"]} for instance in instances]
    for mask in masks:
        if isinstance(mask["counts"], bytes):
            mask["counts"] = mask["counts"].decode("ascii")
    areas = [int(coco_mask.area(mask)) for mask in masks]  # it takes at most 255 at once
    if 0 in areas:
        empty = instances[areas.index(0)]
        raise InputError(f"image {image!r} has an instance of {empty.category!r} without a pixel")
    boxes = coco_mask.toBbox(masks).tolist()
    return [
        {"iscrowd": 0} | instance.extra | {"segmentation": mask, "area": area, "bbox": box}
        for instance, mask, area, box in zip(instances, masks, areas, boxes, strict=True)
    ]


def official_division(sides: Mapping[str, str | None]) -> dict[str, list[str]] | None:
    """Names by split where every image has one and no split is empty, else None."""
    splits = {split: sorted(name for name, side in sides.items() if side == split) for split in SPLITS}
    complete = all(splits.values()) and sum(map(len, splits.values())) == len(sides)
    return splits if complete else None


def write_coco(
    path: Path, images: list[dict[str, Any]], collected: BinaryIO, ids: Mapping[str, Id], info: Mapping[str, Any]
) -> None:
    """Write the COCO file of what :func:`write_records` has collected."""
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    with path.open("wb") as file:
        file.write(b'{"images":' + compact(images) + b',"annotations":[')
        collected.seek(0)
        shutil.copyfileobj(collected, file)
        file.write(b'],"categories":' + compact(categories) + b',"info":' + compact(info) + b"}")


def compact(value: Any) -> bytes:
    """JSON without a blank."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")
