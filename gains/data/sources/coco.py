"""COCO instance annotations, polygons or RLE, with their images."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from gains.data.source import ImageRecord, Instance, read_each
from gains.errors import InputError
from gains.formats.archives import FolderFiles, ZipFiles, open_files, unique_names
from gains.formats.coco import CocoFile, file_name, read_coco
from gains.formats.coco_ids import Id
from gains.formats.faults import Faults
from gains.images.files import check_size, read_image
from gains.images.options import ReadOptions


class Coco:
    """A COCO json: every annotation is checked before the first image is read.

    Masks keep their overlaps; ids of images and categories, ``iscrowd`` and fields beyond the standard are kept.

    Args:
        source: the json file, or a folder with one json file (``annotations.json`` if there are several).
        images: folder or zip archive of the images; by default ``images`` beside the json file, else its folder. File
            names of the json are looked up in it with, then without their own folder.
        reading: how images are read.
        crowd: ``instances`` takes crowd regions as objects, as some tools mark all their masks so.

    Raises:
        InputError: if the json file or one of its entries is unsound; the message names file and entries.
    """

    def __init__(
        self,
        source: str | Path | None,
        images: str | Path | None = None,
        reading: ReadOptions | None = None,
        crowd: Literal["instances"] | None = None,
    ) -> None:
        if crowd not in (None, "instances"):
            raise InputError(f"dataset.crowd={crowd} is unknown; use instances, or null for regions nobody learns from")
        self.reading = reading or ReadOptions()
        self.path = annotation_file(source)
        self.coco = read_coco(self.path)
        check_file_names(self.coco)
        self.categories = list(self.coco.categories.values())
        self.category_ids = list(self.coco.categories)
        self.instead: dict[str, Any] = {"iscrowd": 0} if crowd == "instances" else {}
        for remark in remarks(self.coco, crowd):
            self.reading.notes.add(str(self.path), remark)
        beside = self.path.parent / "images"
        place = images or (beside if beside.is_dir() else self.path.parent)
        self.files = open_files(place, "dataset.images", self.reading.max_pixels)
        self.by_name: dict[str, str] = {}
        self.by_basename: dict[str, list[str]] = {}
        for name in self.files.names:
            self.by_name.setdefault(file_name(name), name)
            self.by_basename.setdefault(PurePosixPath(file_name(name)).name, []).append(name)

    def __len__(self) -> int:
        return len(self.coco.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        names = unique_names([image.file_name for image in self.coco.images.values()])
        yield from read_each(zip(names, self.coco.images, strict=True), self._record, str(self.path))

    def instances(self, image: Id) -> list[Instance]:
        """Those of an image."""
        found = self.coco.annotations.of(image)
        return [Instance(each.category, each.mask, each.extra | self.instead) for each in found]

    def _record(self, each: tuple[str, Id]) -> ImageRecord:
        name, called = each
        image = self.coco.images[called]
        file = self._find(image.file_name)
        where = self.files.where(file)
        pixels = read_image(self.files.source(file), self.reading, where)
        check_size(pixels.shape, image.size, where, str(self.path), self.reading)
        return ImageRecord(name, pixels, self.instances(called), extra=image.extra, number=called)

    def _find(self, wanted: str) -> str:
        """The image file of an entry, by its whole name or by the last part of it."""
        if wanted in self.by_name:
            return self.by_name[wanted]
        candidates = self.by_basename.get(PurePosixPath(wanted).name, [])
        if len(candidates) == 1:
            return candidates[0]
        raise InputError(
            f"{self.path} lists the image {wanted}, of which {_place(self.files)} has {len(candidates)} files; "
            "give the folder that holds it as dataset.images=DIR"
        )


def check_file_names(coco: CocoFile) -> None:
    """See that each image has a file of its own, whatever its suffix.

    Raises:
        InputError: with all that share one.
    """
    faults = Faults(str(coco.path))
    sharing: dict[str, list[Id]] = {}
    for number, image in coco.images.items():
        sharing.setdefault(str(PurePosixPath(image.file_name).with_suffix("")), []).append(number)
    for numbers in sharing.values():
        if len(numbers) > 1:
            files = " and ".join(dict.fromkeys(coco.images[number].file_name for number in numbers))
            faults.add(
                f"{coco.path}: images {', '.join(map(str, numbers))} are all called {files}; give each a file whose "
                "name differs not in its suffix alone"
            )
    faults.check()


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


def remarks(coco: CocoFile, crowd: str | None) -> list[str]:
    """What is said of a file that teaches less than it seems: no annotations, crowd regions, repeated objects."""
    said, count, crowds = [], len(coco.annotations), coco.annotations.crowds
    if crowds and crowd is None:
        share = f"all its {count}" if crowds == count else f"{crowds} of its {count}"
        said.append(
            f"{share} annotations are crowd regions (iscrowd 1), which nobody learns from; if they are single objects, "
            "dataset.crowd=instances takes them so"
        )
    repeated = coco.annotations.repeated()
    if repeated:
        said.append(f"{repeated} of its {count} annotations repeat another: same image, category and mask")
    return said


def _place(files: FolderFiles | ZipFiles) -> Path:
    """Folder or archive."""
    return files.folder if isinstance(files, FolderFiles) else files.path
