"""Images with files of drawn objects beside them: QuPath, ImageJ, labelme, and what ``gains predict`` wrote."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile

from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.formats.archives import open_files, unique_names
from gains.formats.drawings import read_geojson, read_labelme, read_rois
from gains.formats.labels import encode_labels
from gains.formats.polygons import Drawn, to_mask
from gains.images.files import check_size, read_image
from gains.images.listing import is_image
from gains.images.options import ReadOptions
from gains.rle import RLE

READERS: dict[str, Callable[[bytes, str], list[Drawn]]] = {
    ".geojson": read_geojson,
    ".rois.zip": read_rois,
    "_rois.zip": read_rois,
    "_roiset.zip": read_rois,
    ".json": read_labelme,
}
LAYERS = ".layers.tif"
TABLES = ("predictions.json", "annotations.json", "results.json")
RESULTS = (".labels.tif", ".categories.tif", ".overlay.png")
"""Pictures that ``gains predict`` writes beside its other formats; they are no images."""


class Drawings:
    """One file of drawn objects for each image, called like it.

    ``NAME.geojson`` (QuPath), ``NAME.rois.zip``, ``NAME_rois.zip`` or ``NAME_RoiSet.zip`` (ImageJ), ``NAME.json``
    (labelme) or ``NAME.layers.tif``; masks may overlap.

    Args:
        source: folder or zip archive of these files and, unless ``images`` is given, the images.
        images: folder or zip archive of the images.
        category: of objects for which the file names none.
        reading: how images are read.

    Raises:
        InputError: if a file lacks its partner, an image has several files, or one is unsound.
    """

    def __init__(
        self,
        source: str | Path | None,
        images: str | Path | None = None,
        category: str = "cell",
        reading: ReadOptions | None = None,
    ) -> None:
        self.reading = reading or ReadOptions()
        self.category = category
        self.files = open_files(source)
        self.image_files = self.files if images is None else open_files(images, "dataset.images")
        drawn = {name: stem for name in self.files.names if (stem := _stem(name)) is not None}
        skipped = (LAYERS, *RESULTS)
        pictures = [
            name
            for name in self.image_files.names
            if is_image(PurePosixPath(name)) and not name.lower().endswith(skipped)
        ]
        self.pairs = self._paired(pictures, drawn)
        self.names = unique_names([picture for picture, _ in self.pairs])
        self.drawn = {
            name: _reader(name)(self.files.read(name), self.files.where(name))
            for _, name in self.pairs
            if not name.lower().endswith(LAYERS)
        }
        found = {each.category or category for objects in self.drawn.values() for each in objects}
        layered = len(self.drawn) < len(self.pairs)
        self.categories = sorted(found | ({category} if layered or not found else set()))

    def _paired(self, pictures: Sequence[str], drawn: dict[str, str]) -> list[tuple[str, str]]:
        """Images with their files."""
        if not drawn:
            raise InputError(
                f"{self.files.where('')} has no file of drawn objects: NAME.geojson, NAME.rois.zip, NAME_rois.zip, "
                "NAME.json (labelme) or NAME.layers.tif"
            )
        pairs, used = [], set[str]()
        for picture in pictures:
            stem = str(PurePosixPath(picture).with_suffix(""))
            files = [name for name, its in drawn.items() if its == stem]
            if len(files) != 1:
                count = "no file" if not files else "several files (" + ", ".join(files) + ")"
                raise InputError(f"{self.image_files.where(picture)} has {count} of drawn objects; it needs one")
            pairs.append((picture, files[0]))
            used.add(files[0])
        for name in drawn.keys() - used:
            raise InputError(f"{self.files.where(name)} has no image of the same name")
        return pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[ImageRecord]:
        for name, (picture, file) in zip(self.names, self.pairs, strict=True):
            where, drawn_in = self.image_files.where(picture), self.files.where(file)
            pixels = read_image(self.image_files.source(picture), self.reading, where)
            size = (int(pixels.shape[0]), int(pixels.shape[1]))
            if file in self.drawn:
                numbered = enumerate(self.drawn[file], start=1)
                instances = [
                    Instance(each.category or self.category, to_mask(each, size, f"{drawn_in}: object {number}"))
                    for number, each in numbered
                ]
            else:
                masks, its = read_layers(self.files.read(file), drawn_in)
                check_size(pixels.shape, its, where, drawn_in, self.reading)
                instances = [Instance(self.category, mask) for mask in masks]
            yield ImageRecord(name, pixels, instances)


def read_layers(data: bytes, where: str) -> tuple[list[RLE], tuple[int, int]]:
    """Masks of a TIFF whose pages are label images, overlaps being on different pages, and their ``(height, width)``.

    Raises:
        InputError: if it is no TIFF of whole numbers.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [page.asarray() for page in file.pages]
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} is no readable TIFF file: {error}") from None
    shapes = {page.shape for page in pages}
    unsigned = all(np.issubdtype(page.dtype, np.unsignedinteger) for page in pages)
    if len(shapes) != 1 or pages[0].ndim != 2 or not unsigned:
        raise InputError(f"{where} has pages of {shapes}; each must be a label image of whole numbers, all of one size")
    return [mask for page in pages for mask in encode_labels(page)], (int(pages[0].shape[0]), int(pages[0].shape[1]))


def _stem(name: str) -> str | None:
    """Name of the image that a file belongs to; None for a file of another kind."""
    if PurePosixPath(name).name in TABLES or name.lower().endswith(".coco.json"):
        return None
    for suffix in (*READERS, LAYERS):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return None


def _reader(name: str) -> Callable[[bytes, str], list[Drawn]]:
    return next(reader for suffix, reader in READERS.items() if name.lower().endswith(suffix))
