"""The overlapping cervical cytology challenge of ISBI 2014, in the MATLAB files of its organisers.

Official division: 45 training, 90 validation and 810 test images. The later distribution has the 900 of the latter two
in one file, ``testset.mat``, whose first 90 are the validation images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.formats.archives import FolderFiles, ZipFiles, open_files
from gains.formats.labels import encode_components, encode_mask
from gains.formats.matlab import Cells, read_cell_arrays

OFFICIAL = {"train": 45, "val": 90, "test": 810}
FILE_NAMES = {"train": ("isbi_train", "trainset"), "val": ("isbi_test90",), "test": ("testset",)}


@dataclass(frozen=True)
class _Part:
    """Images ``offset`` to ``offset + count`` of one pair of files."""

    split: str
    images: Cells
    cytoplasm: Cells
    nuclei: Cells
    where: str
    offset: int
    count: int


class ISBI2014:
    """Cells with ``cytoplasm`` (full masks that overlap) and ``nucleus`` (components of the image's nucleus mask).

    Args:
        source: folder or zip archive with ``isbi_train.mat`` and ``isbi_train_GT.mat``, and as far as there are
            ``isbi_test90.mat`` and ``testset.mat`` with theirs; or one images file, its ``_GT.mat`` beside it.

    Raises:
        InputError: if there is no pair of files, or a pair does not fit together.
    """

    categories = ["cytoplasm", "nucleus"]  # noqa: RUF012

    def __init__(self, source: str | Path | None) -> None:
        path = Path(source) if source is not None else None
        chosen = path.name if path is not None and path.suffix.lower() == ".mat" and path.is_file() else None
        self.files = open_files(path.parent if chosen and path else source)
        pairs = _pairs(self.files, chosen)
        if not pairs:
            raise InputError(
                f"dataset.source={source} has no images file with its ground truth, such as isbi_train.mat with "
                "isbi_train_GT.mat"
            )
        self.parts = [part for split, pair in pairs.items() for part in self._read(split, *pair, "val" in pairs)]
        counts = {part.split: part.count for part in self.parts}
        self.official = counts == OFFICIAL
        if not self.official:
            print(f"note: {counts} images are not the official 45/90/810; the split will be seeded by dataset.ratios")

    def __len__(self) -> int:
        return sum(part.count for part in self.parts)

    def __iter__(self) -> Iterator[ImageRecord]:
        for part in self.parts:
            for index in range(part.offset, part.offset + part.count):
                name = f"{part.split}_{index - part.offset + 1:03d}"
                pixels = part.images[index]
                masks = [("cytoplasm", mask) for mask in part.cytoplasm[index]]
                for kind, mask in [*masks, ("nucleus", part.nuclei[index])]:
                    if mask.shape != pixels.shape:
                        raise InputError(f"{part.where}: a {kind} mask of image {index + 1} has another size than it")
                instances = [Instance(kind, encode_mask(mask)) for kind, mask in masks]
                instances += [Instance("nucleus", rle) for rle in encode_components(part.nuclei[index])]
                yield ImageRecord(name, np.asarray(pixels), instances, part.split if self.official else None)

    def _read(self, split: str, images_file: str, truth_file: str, has_validation: bool) -> list[_Part]:
        """The parts that a pair of files holds: one, or two where validation and test share a file."""
        images = read_cell_arrays(self.files.read(images_file), self.files.where(images_file))
        truth = read_cell_arrays(self.files.read(truth_file), self.files.where(truth_file))
        where = self.files.where(truth_file)
        cytoplasm, nuclei = (_ending(truth, ending, where) for ending in ("_cytoplasm", "_nuclei"))
        if len(images) != 1:
            raise InputError(
                f"{self.files.where(images_file)} must hold one cell array of images, not {sorted(images)}"
            )
        pixels = next(iter(images.values()))
        if not len(pixels) == len(cytoplasm) == len(nuclei):
            raise InputError(f"{where} has ground truth of {len(cytoplasm)} images, {images_file} has {len(pixels)}")
        both = OFFICIAL["val"] + OFFICIAL["test"]
        if split != "test" or len(pixels) != both:
            return [_Part(split, pixels, cytoplasm, nuclei, where, 0, len(pixels))]
        first = OFFICIAL["val"]
        test = _Part("test", pixels, cytoplasm, nuclei, where, first, both - first)
        return [test] if has_validation else [_Part("val", pixels, cytoplasm, nuclei, where, 0, first), test]


def _pairs(files: FolderFiles | ZipFiles, chosen: str | None) -> dict[str, tuple[str, str]]:
    """Images file and ground truth file of each split that is there.

    Args:
        files: where to look.
        chosen: the only images file to take.
    """
    by_stem = {PurePosixPath(name).stem.lower(): name for name in files.names if name.lower().endswith(".mat")}
    pairs: dict[str, tuple[str, str]] = {}
    for split, stems in FILE_NAMES.items():
        for stem in stems:
            images, truth = by_stem.get(stem), by_stem.get(f"{stem}_gt")
            if images and truth and chosen in (None, images):
                pairs.setdefault(split, (images, truth))
            elif images and chosen in (None, images):
                raise InputError(f"{files.where(images)} has no ground truth beside it: {stem}_GT.mat is missing")
    return pairs


def _ending(arrays: dict[str, Cells], ending: str, where: str) -> Cells:
    """The cell array whose name ends so: the challenge calls it train_..., then test_..."""
    for name, cells in arrays.items():
        if name.lower().endswith(ending):
            return cells
    raise InputError(f"{where} has no variable ending in {ending!r}; it has {', '.join(sorted(arrays))}")
