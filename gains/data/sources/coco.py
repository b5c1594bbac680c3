"""COCO instance annotations, polygons or RLE, with their images."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.formats.archives import FolderFiles, ZipFiles, check_relative, open_files, unique_names
from gains.formats.coco import to_rle
from gains.images.files import check_size, read_image
from gains.images.options import ReadOptions

# "group" is what prepare writes from a groups file, which alone decides the split.
STANDARD_IMAGE = ("id", "file_name", "height", "width", "license", "flickr_url", "coco_url", "date_captured", "group")
STANDARD_ANNOTATION = ("id", "image_id", "category_id", "segmentation", "area", "bbox")


class Coco:
    """A COCO json: every annotation is checked before the first image is read.

    Masks keep their overlaps, ``iscrowd`` and fields beyond the standard are kept, category ids may be any numbers.

    Args:
        source: the json file, or a folder with one json file (``annotations.json`` if there are several).
        images: folder or zip archive of the images; by default ``images`` beside the json file, else its folder. File
            names of the json are looked up in it with, then without their own folder.
        reading: how images are read.

    Raises:
        InputError: if the json file or one of its entries is unsound; the message names file and entry.
    """

    def __init__(
        self, source: str | Path | None, images: str | Path | None = None, reading: ReadOptions | None = None
    ) -> None:
        self.reading = reading or ReadOptions()
        self.path = annotation_file(source)
        coco = read_coco(self.path)
        self.category_names = self._categories(coco["categories"])
        self.categories = list(self.category_names.values())
        self.images = self._images(coco["images"])
        self.instances: dict[int, list[Instance]] = {image_id: [] for image_id in self.images}
        for annotation in coco["annotations"]:
            self._add(annotation)
        beside = self.path.parent / "images"
        self.files = open_files(images or (beside if beside.is_dir() else self.path.parent), "dataset.images")
        self.by_basename: dict[str, list[str]] = {}
        for name in self.files.names:
            self.by_basename.setdefault(PurePosixPath(name).name, []).append(name)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        names = unique_names([image["file_name"] for image in self.images.values()])
        for name, (image_id, image) in zip(names, self.images.items(), strict=True):
            file = self._find(image["file_name"])
            where = self.files.where(file)
            pixels = read_image(self.files.source(file), self.reading, where)
            check_size(pixels.shape, (image["height"], image["width"]), where, str(self.path), self.reading)
            extra = {key: value for key, value in image.items() if key not in STANDARD_IMAGE}
            yield ImageRecord(name, pixels, self.instances[image_id], extra=extra)

    def _categories(self, entries: list[Any]) -> dict[int, str]:
        """Names by id, ascending."""
        try:
            names = {int(entry["id"]): str(entry["name"]) for entry in entries}
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{self.path}: each category needs id and name") from None
        if not names or len(names) != len(entries) or len(set(names.values())) != len(names):
            raise InputError(f"{self.path}: categories must be there, and differ in id and in name")
        return dict(sorted(names.items()))

    def _images(self, entries: list[Any]) -> dict[int, dict[str, Any]]:
        """Image entries by id, in the order of the file."""
        images: dict[int, dict[str, Any]] = {}
        for entry in entries:
            try:
                sizes = {key: int(entry[key]) for key in ("id", "height", "width")}
                image = {**entry, **sizes, "file_name": str(entry["file_name"])}
            except (KeyError, TypeError, ValueError):
                raise InputError(f"{self.path}: each image needs id, file_name, height and width") from None
            check_relative(image["file_name"], str(self.path))
            if image["id"] in images:
                raise InputError(f"{self.path}: two images have id {image['id']}")
            images[image["id"]] = image
        return images

    def _add(self, annotation: Any) -> None:
        """Check one annotation and keep it as an instance."""
        if not isinstance(annotation, dict):
            raise InputError(f"{self.path}: an annotation must be an object, not {type(annotation).__name__}")
        where = f"{self.path}: annotation {annotation.get('id')}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not isinstance(image, int) or image not in self.images:
            raise InputError(f"{where} belongs to image_id {image}, which is not among the images")
        if not isinstance(category, int) or category not in self.category_names:
            raise InputError(f"{where} has category_id {category}, which is not among the categories")
        size = (self.images[image]["height"], self.images[image]["width"])
        extra = {key: value for key, value in annotation.items() if key not in STANDARD_ANNOTATION}
        mask = to_rle(annotation.get("segmentation"), size, where)
        self.instances[image].append(Instance(self.category_names[category], mask, extra))

    def _find(self, file_name: str) -> str:
        """The image file of an entry, by its whole name or by the last part of it."""
        name = PurePosixPath(file_name.replace("\\", "/"))
        candidates = self.by_basename.get(name.name, [])
        if name.as_posix() in candidates:
            return name.as_posix()
        if len(candidates) == 1:
            return candidates[0]
        raise InputError(
            f"{self.path} lists the image {file_name}, of which {_place(self.files)} has {len(candidates)} files; "
            "give the folder that holds it as dataset.images=DIR"
        )


def annotation_file(source: str | Path | None) -> Path:
    """The json file of a source.

    Raises:
        InputError: if there is none, or several without an ``annotations.json``.
    """
    if source is None:
        raise InputError("dataset.source is not set; give the COCO json file as dataset.source=PATH")
    path = Path(source)
    if path.is_file():
        return path
    found = sorted(path.glob("*.json"))
    named = path / "annotations.json"
    if named in found or len(found) == 1:
        return named if named in found else found[0]
    raise InputError(f"dataset.source={path} must be a COCO json file, or a folder with one; it has {len(found)}")


def read_coco(path: Path) -> dict[str, Any]:
    """The json file with its three lists.

    Raises:
        InputError: if it is not that.
    """
    try:
        coco = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(coco, dict) or not isinstance(coco.get(key), list):
            raise InputError(f"{path} has no list {key!r}; a COCO file has images, annotations and categories")
    result: dict[str, Any] = coco
    return result


def _place(files: FolderFiles | ZipFiles) -> Path:
    """Folder or archive."""
    return files.folder if isinstance(files, FolderFiles) else files.path
