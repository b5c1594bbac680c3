"""Images with files of drawn objects beside them: QuPath, ImageJ, labelme, and what ``gains predict`` wrote."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from gains.data.source import ImageRecord, Instance, read_each
from gains.errors import InputError
from gains.formats.archives import open_files, unique_names
from gains.formats.drawings import read_geojson, read_labelme
from gains.formats.faults import Faults
from gains.formats.imagej_rois import read_roi, read_rois
from gains.formats.layers import layer_categories, read_layers
from gains.formats.polygons import Drawn, to_mask
from gains.images.files import check_size, read_image
from gains.images.listing import is_image
from gains.images.options import ReadOptions

READERS: dict[str, Callable[[bytes, str], list[Drawn]]] = {
    ".geojson": read_geojson,
    ".rois.zip": read_rois,
    "_rois.zip": read_rois,
    "_roiset.zip": read_rois,
    ".roi": lambda data, where: [read_roi(data, where)],
    ".json": read_labelme,
}
LAYERS = ".layers.tif"
TABLES = ("predictions.json", "annotations.json", "results.json", "settings.json")
RESULTS = (".labels.tif", ".categories.tif", ".overlay.png")
"""Pictures that ``gains predict`` writes beside its other formats; they are no images."""


class Drawings:
    """One file of drawn objects for each image, called like it.

    ``NAME.geojson`` (QuPath), ``NAME.rois.zip``, ``NAME_rois.zip``, ``NAME_RoiSet.zip`` or, of one object, ``NAME.roi``
    (ImageJ), ``NAME.json`` (labelme) or ``NAME.layers.tif``; masks may overlap.

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
        self.files = open_files(source, max_pixels=self.reading.max_pixels)
        self.image_files = (
            self.files if images is None else open_files(images, "dataset.images", self.reading.max_pixels)
        )
        drawn = {name: stem for name in self.files.names if (stem := _stem(name)) is not None}
        skipped = (LAYERS, *RESULTS)
        pictures = [
            name
            for name in self.image_files.names
            if is_image(PurePosixPath(name)) and not name.lower().endswith(skipped)
        ]
        self.pairs = self._paired(pictures, drawn)
        self.names = unique_names([picture for picture, _ in self.pairs])
        self.drawn: dict[str, list[Drawn]] = {}
        self.layered: dict[str, dict[int, str]] = {}
        faults = Faults(self.files.where(""))
        for _, name in self.pairs:
            with faults.collected():
                if name.lower().endswith(LAYERS):
                    self.layered[name] = self._layers(name)
                else:
                    self.drawn[name] = self._objects(name)
        faults.check()
        found = {each.category or category for objects in self.drawn.values() for each in objects}
        found |= {name for names in self.layered.values() for name in names.values()}
        unnamed = not found or any(not names for names in self.layered.values())
        self.categories = sorted(found | ({category} if unnamed else set()))

    def _objects(self, name: str) -> list[Drawn]:
        """What is drawn in a file, on one plane."""
        where = self.files.where(name)
        objects = _reader(name)(self.files.read(name), where)
        planes = sorted({each.plane for each in objects if each.plane is not None})
        if len(planes) > 1:
            raise InputError(
                f"{where} has objects on {len(planes)} planes of a stack; save each plane as one image with its objects"
            )
        for each in objects:
            for remark in each.remarks:
                self.reading.notes.add(where, remark)
        return objects

    def _layers(self, name: str) -> dict[int, str]:
        """Categories by number, as far as a file of layers says."""
        categories = layer_categories(self.files.source(name), self.files.where(name))
        if not categories:
            self.reading.notes.add(
                self.files.where(name), f"says no categories (other programs drop them): all are {self.category!r}"
            )
        return categories

    def _paired(self, pictures: Sequence[str], drawn: dict[str, str]) -> list[tuple[str, str]]:
        """Images with their files."""
        if not drawn:
            raise InputError(
                f"{self.files.where('')} has no file of drawn objects: NAME.geojson, NAME.rois.zip, NAME_rois.zip, "
                "NAME.json (labelme) or NAME.layers.tif"
            )
        pairs, used, faults = [], set[str](), Faults(self.files.where(""))
        by_stem: dict[str, list[str]] = {}
        for name, stem in drawn.items():
            by_stem.setdefault(stem, []).append(name)
        for picture in pictures:
            stem = str(PurePosixPath(picture).with_suffix(""))
            used.add(stem)
            files = by_stem.get(stem, [])
            with faults.collected():
                if len(files) != 1:
                    count = "no file" if not files else "several files (" + ", ".join(files) + ")"
                    raise InputError(f"{self.image_files.where(picture)} has {count} of drawn objects; it needs one")
                pairs.append((picture, files[0]))
        for stem in by_stem.keys() - used:
            faults.add(f"{self.files.where(by_stem[stem][0])} has no image of the same name")
        faults.check()
        return pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[ImageRecord]:
        yield from read_each(zip(self.names, self.pairs, strict=True), self._record, self.files.where(""))

    def _record(self, each: tuple[str, tuple[str, str]]) -> ImageRecord:
        name, (picture, file) = each
        where, drawn_in = self.image_files.where(picture), self.files.where(file)
        pixels = read_image(self.image_files.source(picture), self.reading, where)
        size = (int(pixels.shape[0]), int(pixels.shape[1]))
        if file in self.drawn:
            for its in {each.image for each in self.drawn[file] if each.image}:
                check_size(size, its, where, drawn_in, self.reading)
            instances = self._drawn(file, size)
        else:
            masks, its = read_layers(self.files.read(file), drawn_in)
            check_size(pixels.shape, its, where, drawn_in, self.reading)
            instances = [Instance(self._layer_category(file, number), mask) for number, mask in masks]
        return ImageRecord(name, pixels, instances)

    def _layer_category(self, file: str, number: int) -> str:
        """Of a number in a file of layers; one that was painted anew has the only category there is."""
        named = self.layered[file]
        if number in named or not named:
            return named.get(number, self.category)
        if len(only := set(named.values())) == 1:
            return only.pop()
        raise InputError(
            f"{self.files.where(file)} has the number {number}, but says no category of it; draw new objects of "
            "several categories in GeoJSON or ROIs"
        )

    def _drawn(self, file: str, size: tuple[int, int]) -> list[Instance]:
        """The objects of a file, all of those that are outside of the image told at once."""
        instances, faults = [], Faults(self.files.where(file))
        for number, each in enumerate(self.drawn[file], start=1):
            with faults.collected():
                mask = to_mask(each, size, f"{self.files.where(file)}: object {number}")
                instances.append(Instance(each.category or self.category, mask))
        faults.check()
        return instances


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
