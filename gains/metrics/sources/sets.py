"""Instances of images by id, whatever file they came from."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as coco_mask

from gains.errors import InputError
from gains.formats.coco import file_name
from gains.formats.coco_ids import Id, to_id
from gains.formats.spool import Spool
from gains.images.listing import page_stem
from gains.rle import RLE


@dataclass
class InstanceSet:
    """Annotations or detections of one image, as parallel lists."""

    masks: list[RLE] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    iscrowd: list[int] = field(default_factory=list)

    def add(self, mask: RLE, label: int, box: list[float] | None = None, score: float = 1.0, iscrowd: int = 0) -> None:
        """Add one; ``box`` is ``[x, y, width, height]``, by default the mask's."""
        x, y, width, height = coco_mask.toBbox(mask).tolist() if box is None else box
        self.masks.append(mask)
        self.labels.append(label)
        self.boxes.append([x, y, x + width, y + height])
        self.scores.append(score)
        self.iscrowd.append(iscrowd)

    def entry(self, image_id: int) -> dict[str, Any]:
        """Prediction or target for the evaluator."""
        return {
            "image_id": image_id,
            "masks": self.masks,
            "labels": self.labels,
            "boxes": self.boxes,
            "scores": self.scores,
            "iscrowd": self.iscrowd,
        }


class ByImage(Mapping[int, InstanceSet]):
    """Instances by image id, of which none is held: those of an image are read whenever they are asked for.

    Args:
        images: ids.
        read: gives the instances of an image.
    """

    def __init__(self, images: Collection[int], read: Callable[[int], InstanceSet]) -> None:
        self._images = images
        self._read = read

    def __getitem__(self, image_id: int) -> InstanceSet:
        if image_id not in self._images:
            raise KeyError(image_id)
        return self._read(image_id)

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


class InstanceStore:
    """Instances of images in a temporary file.

    Args:
        sizes: ``(height, width)`` of the images by id, known when they are read.
    """

    def __init__(self, sizes: Mapping[int, tuple[int, int]]) -> None:
        self._sizes = sizes
        self._kept = Spool()

    def add(self, image_id: int, mask: RLE, label: int, box: list[float] | None = None, score: float = 1.0) -> None:
        """Add one to an image, as :meth:`InstanceSet.add` does."""
        self._kept.add(image_id, (mask["counts"], label, box, score))

    def add_all(self, image_id: int, masks: Iterable[RLE]) -> None:
        """Add masks of the only category, without scores."""
        for mask in masks:
            self.add(image_id, mask, 1)

    def by_image(self) -> ByImage:
        """What was added; nothing can be added after the first of it was read."""
        return ByImage(self._sizes, self._of)

    def _of(self, image_id: int) -> InstanceSet:
        found = InstanceSet()
        for counts, label, box, score in self._kept.of(image_id):
            found.add({"size": list(self._sizes[image_id]), "counts": counts}, label, box, score)
        return found


@dataclass(frozen=True)
class GroundTruth:
    """Annotated images.

    Attributes:
        path: file or folder they were read from.
        declared: COCO category id -> name; empty for label images, which have no categories.
        labels: name -> label from 1 of the categories that are evaluated.
        names: image id -> file name, or the id as text where there is none.
        sizes: image id -> ``(height, width)``.
        instances: image id -> annotations; of these images at least.
        ids: what the file calls an image -> image id; empty for label images, which have no ids.
        notes: sentences on what limits the numbers.
        restricted: whether one category was chosen, so that those of predictions beyond it do not matter.
    """

    path: Path
    declared: dict[Id, str]
    labels: dict[str, int]
    names: dict[int, str]
    sizes: dict[int, tuple[int, int]]
    instances: Mapping[int, InstanceSet]
    ids: dict[Id, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    restricted: bool = False

    def only(self, images: set[int]) -> "GroundTruth":
        """The same truth of some of its images."""
        return replace(
            self,
            names={number: name for number, name in self.names.items() if number in images},
            sizes={number: size for number, size in self.sizes.items() if number in images},
        )

    @property
    def categories(self) -> dict[int, str]:
        """Label -> name, for the evaluator."""
        return {label: name for name, label in self.labels.items()}


@dataclass(frozen=True)
class Predictions:
    """Detections of a ground truth's images.

    Attributes:
        instances: image id of the truth -> detections, for all of its images.
        notes: sentences on how they were read.
        predicted: ids of the images that the file lists, or has a label image of; of a results list, which lists none,
            those with a detection.
    """

    instances: Mapping[int, InstanceSet]
    notes: list[str]
    predicted: set[int] = field(default_factory=set)


class ImageNames:
    """Finds images of a ground truth by file name.

    That is the whole relative name without suffix, or its last part where only one image has that.
    """

    def __init__(self, truth: GroundTruth) -> None:
        self.path = truth.path
        self.whole: dict[str, list[int]] = {}
        self.last: dict[str, list[int]] = {}
        self.taken: dict[int, str] = {}
        for image_id, name in truth.names.items():
            whole = _without_suffix(name)
            self.whole.setdefault(whole, []).append(image_id)
            self.last.setdefault(PurePosixPath(whole).name, []).append(image_id)

    def ids(self, name: str) -> list[int]:
        """Ids of the images that a file name may mean; its suffix does not matter."""
        key = _without_suffix(name)
        return self.whole.get(key) or self.last.get(PurePosixPath(key).name, [])

    def take(self, name: str, owner: str) -> int:
        """Id of the image that a file name means, which no other may mean then.

        Args:
            name: of an image of the predictions.
            owner: the file that has it, for the error.

        Raises:
            InputError: if no image has the name, several have, or the one that has it is taken.
        """
        ids = self.ids(name)
        if not ids:
            raise InputError(f"{owner} has the image {name}, which {self.path} does not have; remove it or rename it")
        if len(ids) > 1:
            raise InputError(
                f"{owner} has the image {name}, and {self.path} {len(ids)} that it may be; give each a name of its "
                "own, or name its folder too"
            )
        if ids[0] in self.taken:
            raise InputError(
                f"{owner} has the images {self.taken[ids[0]]} and {name}, which would both be one of {self.path}; "
                "rename or remove one"
            )
        self.taken[ids[0]] = name
        return ids[0]


def name_of_page(name: str, page: Any) -> str:
    """File name of an image that is a page of the file ``name``, as `gains predict` writes it; else the name alone."""
    path, number = PurePosixPath(file_name(name)), to_id(page)
    if not isinstance(number, int) or not path.name:
        return name
    return str(path.with_name(page_stem(path.stem, number) + path.suffix))


def evaluated_labels(names: Iterable[str], category: str | None, path: Path) -> dict[str, int]:
    """Labels from 1 of the categories to evaluate.

    Raises:
        InputError: if ``category`` is given and not among the names.
    """
    names = list(names)
    if category is None:
        return {name: index + 1 for index, name in enumerate(names)}
    if category not in names:
        raise InputError(f"category={category} is not in {path}; it has {', '.join(names)}")
    return {category: 1}


def _without_suffix(name: str) -> str:
    path = PurePosixPath(file_name(name))
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else str(path)


IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy")
"""What is cut off a file name; anything else after a dot, as in ``plate.3``, belongs to the name."""
