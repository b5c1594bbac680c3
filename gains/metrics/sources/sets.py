"""Instances of images by id, whatever file they came from."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pycocotools import mask as coco_mask

from gains.errors import InputError
from gains.formats.coco import Id, file_name
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


@dataclass(frozen=True)
class GroundTruth:
    """Annotated images.

    Attributes:
        path: file or folder they were read from.
        declared: COCO category id -> name; empty for label images, which have no categories.
        labels: name -> label from 1 of the categories that are evaluated.
        names: image id -> file name, or the id as text where there is none.
        sizes: image id -> ``(height, width)``.
        instances: image id -> annotations.
        ids: what the file calls an image -> image id; empty for label images, which have no ids.
        notes: sentences on what limits the numbers.
        restricted: whether one category was chosen, so that those of predictions beyond it do not matter.
    """

    path: Path
    declared: dict[Id, str]
    labels: dict[str, int]
    names: dict[int, str]
    sizes: dict[int, tuple[int, int]]
    instances: dict[int, InstanceSet]
    ids: dict[Id, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    restricted: bool = False

    def only(self, images: set[int]) -> "GroundTruth":
        """The same truth of some of its images."""
        return replace(
            self,
            names={number: name for number, name in self.names.items() if number in images},
            sizes={number: size for number, size in self.sizes.items() if number in images},
            instances={number: found for number, found in self.instances.items() if number in images},
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

    instances: dict[int, InstanceSet]
    notes: list[str]
    predicted: set[int] = field(default_factory=set)


class ImageNames:
    """Finds images by file name: the whole name without suffix, or its last part where only one image has that."""

    def __init__(self, names: dict[int, str]) -> None:
        self.whole = {_without_suffix(name): image_id for image_id, name in names.items()}
        self.last: dict[str, int | None] = {}
        for name, image_id in self.whole.items():
            stem = PurePosixPath(name).name
            self.last[stem] = None if stem in self.last else image_id

    def find(self, name: str) -> int | None:
        """Image id of a file name (its suffix does not matter), or None."""
        key = _without_suffix(name)
        return self.whole.get(key, self.last.get(PurePosixPath(key).name))


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
