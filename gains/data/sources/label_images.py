"""Images with integer label images beside them, as Cellpose, StarDist and most annotation tools write them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from gains.data.source import ImageRecord, Instance, read_each
from gains.errors import InputError
from gains.formats.archives import FolderFiles, ZipFiles, open_files, unique_names
from gains.formats.cellpose import SEG_ENDING, read_seg, without_results
from gains.formats.faults import Faults
from gains.formats.labels import LABEL_ENDINGS, LABEL_FOLDERS, check_lossless, instances_of, is_label
from gains.images.files import check_size, decode_labels, read_image
from gains.images.listing import IMAGE_SUFFIXES, STORE_SUFFIX, VENDOR_SUFFIXES, note_others
from gains.images.options import ReadOptions

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
IMAGE_ENDING = "_img"
SEG_STEM = SEG_ENDING.removesuffix(".npy")

Key = tuple[str, ...]


class LabelImages:
    """Pixel value k of a label image marks instance k, 0 is background; PNG or TIFF with 8, 16 or 32 bits.

    A file is a label image if it lies in a folder called ``masks`` or ``labels`` (or the singular), or if its name ends
    in ``_masks``, ``_mask``, ``_labels``, ``_label`` or ``_cp_masks``. It belongs to the image of the same name without
    that ending (an image may end in ``_img``), in the same folder or in the folder ``images`` beside its own. Files may
    lie in sub-folders. With ``images`` given, every file of ``source`` is a label image. Cellpose's ``_seg.npy`` is the
    label image of an image that has no other; its pictures of flows and outlines are left out.

    Args:
        source: folder or zip archive of label images and, unless ``images`` is given, images.
        images: folder or zip archive of the images.
        category: name of what the labels mark.
        reading: how images are read.
        components: see :func:`gains.formats.labels.instances_of`.

    Raises:
        InputError: if there are no pairs, or a file lacks its partner.
    """

    def __init__(
        self,
        source: str | Path | None,
        images: str | Path | None = None,
        category: str = "cell",
        reading: ReadOptions | None = None,
        components: bool | None = None,
    ) -> None:
        self.components = components
        self.reading = reading or ReadOptions()
        self.categories = [category]
        self.label_files = open_files(source, max_pixels=self.reading.max_pixels)
        self.image_files = (
            self.label_files if images is None else open_files(images, "dataset.images", self.reading.max_pixels)
        )
        others = [PurePosixPath(self.image_files.where(name)) for name in self.image_files.names if not _is_seg(name)]
        note_others(others, self.reading.notes, also=VENDOR_SUFFIXES)
        if images is None:
            names, results = without_results(_image_names(self.label_files))
            for name in results:
                self.reading.notes.add(self.label_files.where(name), "pictures of Cellpose's results are left out")
            labels = _by_key([name for name in names if is_label(name)], self.label_files)
            pictures = _by_key([name for name in names if not is_label(name)], self.label_files)
        else:
            labels = _by_key(_image_names(self.label_files), self.label_files)
            pictures = _by_key(_image_names(self.image_files), self.image_files)
        segs = _by_key([name for name in self.label_files.names if _is_seg(name)], self.label_files)
        self.beside = {labels[key]: segs[key] for key in labels.keys() & segs.keys()}
        labels = segs | labels
        if not labels:
            raise InputError(
                f"dataset.source={source} has no label images: expected a folder masks or labels beside the folder "
                "images, files ending in _masks, _labels, _label or _seg.npy, or the images' folder as "
                "dataset.images=DIR"
            )
        alone = Faults(str(source))
        for key in sorted(labels.keys() ^ pictures.keys()):
            with alone.collected():
                if key in labels:
                    raise InputError(f"{self.label_files.where(labels[key])} has no image of the same name")
                raise InputError(f"{self.image_files.where(pictures[key])} has no label image of the same name")
        alone.check()
        keys = sorted(labels)
        self.pairs = [(pictures[key], labels[key]) for key in keys]
        self.names = unique_names(["/".join(key) + ".x" for key in keys])

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[ImageRecord]:
        yield from read_each(zip(self.names, self.pairs, strict=True), self._record, self.label_files.where(""))

    def _record(self, each: tuple[str, tuple[str, str]]) -> ImageRecord:
        name, (picture, label) = each
        where = self.image_files.where(picture)
        pixels = read_image(self.image_files.source(picture), self.reading, where)
        labels = self._labels(label)
        self._check_beside(label, labels)
        check_size(pixels.shape, labels.shape, where, self.label_files.where(label), self.reading)
        return ImageRecord(name, pixels, self._instances(label, labels))

    def _labels(self, name: str) -> npt.NDArray[np.int64]:
        """The numbers of a label image."""
        if _is_seg(name):
            return read_seg(self.label_files.read(name), self.label_files.where(name))
        return decode_labels(self.label_files.source(name), self.label_files.where(name), self.reading)

    def _check_beside(self, name: str, labels: npt.NDArray[np.int64]) -> None:
        """Refuse a label image beside a ``_seg.npy`` of other masks: nobody knows which of them was corrected."""
        if name in self.beside and not np.array_equal(labels, self._labels(self.beside[name])):
            seg, where = self.label_files.where(self.beside[name]), self.label_files.where(name)
            raise InputError(f"{where} and {seg} hold other masks of one image; keep the one that was corrected last")

    def _instances(self, name: str, labels: npt.NDArray[np.int64]) -> list[Instance]:
        """All instances of a label image."""
        if not _is_seg(name):
            check_lossless(self.label_files.read(name), self.label_files.where(name))
        masks = instances_of(labels, self.label_files.where(name), self.components)
        if self.components:
            self.reading.notes.add(
                self.label_files.where(name), "its connected parts are the instances (components=true)"
            )
        return [Instance(self.categories[0], mask) for mask in masks]


def _is_seg(name: str) -> bool:
    """Whether this is Cellpose's file of masks."""
    return name.lower().endswith(SEG_ENDING)


def _image_names(files: FolderFiles | ZipFiles) -> list[str]:
    """Files that are images by their suffix."""
    return [name for name in files.names if name.lower().endswith((*IMAGE_SUFFIXES, STORE_SUFFIX))]


def _by_key(names: list[str], files: FolderFiles | ZipFiles) -> dict[Key, str]:
    """File names by what an image and its label image have in common: folder and stem without their markers."""
    keyed: dict[Key, str] = {}
    for name in names:
        path = PurePosixPath(name)
        folder = list(path.parent.parts)
        if folder and folder[-1].lower() in LABEL_FOLDERS + IMAGE_FOLDERS:
            folder.pop()
        stem = path.stem
        for ending in (*LABEL_ENDINGS, IMAGE_ENDING, SEG_STEM):
            if stem.lower().endswith(ending):
                stem = stem[: -len(ending)]
                break
        other = keyed.setdefault((*folder, stem), name)
        if other != name:
            raise InputError(f"{files.where(name)} and {files.where(other)} would be one image; rename one of them")
    return keyed
