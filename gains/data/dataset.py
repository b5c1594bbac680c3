"""A prepared data set as torch sees it: one image with its target at a time."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gains.contract import Target
from gains.data.augmentation import Augmentation, Augmented
from gains.data.index import Index, open_index
from gains.data.sampler import Draw
from gains.errors import InputError
from gains.formats.coco_ids import Id, number_ids
from gains.images.files import read_image
from gains.images.intensity import Intensity, known_values, to_unit_rgb, value_range
from gains.images.options import MAX_PIXELS, ReadOptions
from gains.masks import InstanceCrops
from gains.rle import RLE

DerivedTarget = Callable[[InstanceCrops, Tensor, float], Any]
"""Computes a further target, such as the anomaly maps, from the augmented masks, their labels and how much larger the
augmented image is than the one on disk (:attr:`gains.data.augmentation.Augmented.resize`)."""


def to_network_range(
    pixels: npt.NDArray[Any], intensity: Intensity = "full_range", name: str = "image"
) -> npt.NDArray[np.float32]:
    """Any image ``(H, W)`` or ``(H, W, 3)`` as the network takes it: RGB float32 ``(H, W, 3)`` in [0, 1].

    ``intensity`` says which values become 0 and 1, see :func:`gains.images.intensity.value_range`.
    """
    values = known_values(pixels, intensity, name, "dataset.intensity")
    return to_unit_rgb(values, value_range(values, intensity))


@dataclass(frozen=True)
class Annotations:
    """``annotations.json`` of a prepared data set, by image.

    Attributes:
        root: the prepared folder.
        images: COCO image entries by name (file name without suffix); an id that is text is replaced by a number.
        categories: used category names; position + 1 is the label.
        category_ids: COCO category id of each label, in order.
        info: where the data set comes from.
        index: all annotations.
        place: position of each image in the index.
        labels: ``(N,)`` label of each annotation, 0 where its category is not used.
        image_ids: the id that the file gives an image, by the number it goes by here.
    """

    root: Path
    images: dict[str, dict[str, Any]]
    categories: list[str]
    category_ids: Sequence[Id]
    info: dict[str, Any]
    index: Index
    place: dict[str, int]
    labels: npt.NDArray[np.int32]
    image_ids: dict[int, Id]

    def fingerprint(self) -> str:
        """SHA-256 of ``annotations.json``."""
        return self.index.fingerprint

    def name_of(self, image_id: int) -> str:
        """Name of the image of an id.

        Raises:
            KeyError: if there is none.
        """
        return self._names[image_id]

    @cached_property
    def _names(self) -> dict[int, str]:
        return {int(entry["id"]): name for name, entry in self.images.items()}

    def rows(self, name: str) -> npt.NDArray[np.int64]:
        """Numbers of an image's annotations of used categories."""
        first, end = self.index.first[self.place[name] : self.place[name] + 2]
        return int(first) + np.flatnonzero(self.labels[first:end])

    def masks(self, name: str) -> list[RLE]:
        """Masks of the annotations of :meth:`rows`."""
        entry = self.images[name]
        size = (int(entry["height"]), int(entry["width"]))
        return [self.index.mask(row, size) for row in self.rows(name).tolist()]

    @property
    def most_instances(self) -> int:
        """Instances in the fullest image, crowd regions not counted."""
        counted = (self.labels > 0) & (self.index.crowd == 0)
        return int(np.bincount(self.index.image_of()[counted], minlength=1).max())

    @property
    def longest_side(self) -> int:
        """Longest side in pixels of any image."""
        return max(max(int(entry["height"]), int(entry["width"])) for entry in self.images.values())


def load_annotations(root: Path, categories: Sequence[str] | None = None) -> Annotations:
    """Read a prepared folder.

    Args:
        root: folder with ``annotations.json``.
        categories: names to use, in the order of their labels; None takes all.

    Raises:
        InputError: if the folder was not prepared, is damaged, or does not know a category.
    """
    path = root / "annotations.json"
    if not path.is_file():
        raise InputError(
            f"{path} does not exist: prepare the data first (gains prepare dataset=... dataset.root={root})"
        )
    if categories is not None and (isinstance(categories, str) or not len(categories)):
        raise InputError(f"dataset.categories={categories} must be a list of names, such as [cell]; null takes all")
    index = open_index(root)
    ids = {entry["name"]: entry["id"] for entry in index.categories}
    names = list(categories) if categories is not None else list(ids)
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise InputError(f"{path} has no category {unknown[0]!r}; it has {', '.join(ids)}")
    stems = [Path(entry["file_name"]).stem for entry in index.images]
    numbers = number_ids(entry["id"] for entry in index.images)
    label = {name: number for number, name in enumerate(names, 1)}
    # The last is for annotations whose category is not listed.
    label_of = np.array([*(label.get(entry["name"], 0) for entry in index.categories), 0], dtype=np.int32)
    return Annotations(
        root,
        {name: _numbered(entry, numbers) for name, entry in zip(stems, index.images, strict=True)},
        names,
        [ids[name] for name in names],
        index.info,
        index,
        {name: place for place, name in enumerate(stems)},
        label_of[index.category],
        {number: name for name, number in numbers.items()},
    )


def _numbered(entry: dict[str, Any], numbers: Mapping[Id, int]) -> dict[str, Any]:
    """An image entry whose id is a number: mostly the entry itself, so that 100,000 of them are held once."""
    number = numbers[entry["id"]]
    return entry if number == entry["id"] else {**entry, "id": number}


class InstanceDataset(Dataset[tuple[Tensor, Target]]):
    """Images of one split.

    Args:
        annotations: the prepared data set.
        names: images of the split, in order.
        intensity: see :func:`to_network_range`.
        augmentation: applied in training; None leaves images as they are.
        derived: further targets by name, computed after augmentation.
        seed: of the augmentation: an image looks the same whenever it is drawn in the same epoch with the same seed.
    """

    def __init__(
        self,
        annotations: Annotations,
        names: Sequence[str],
        intensity: Intensity = "full_range",
        augmentation: Augmentation | None = None,
        derived: Mapping[str, DerivedTarget] | None = None,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        self.annotations = annotations
        self.names = list(names)
        self.intensity = intensity
        self.augmentation = augmentation
        self.derived = dict(derived or {})

    def __len__(self) -> int:
        return len(self.names)

    def ground_truth(self, index: int) -> tuple[list[RLE], list[int], list[bool]]:
        """Masks, labels and crowd flags of one image as annotated."""
        name, annotations = self.names[index], self.annotations
        rows = annotations.rows(name)
        crowd = [bool(flag) for flag in annotations.index.crowd[rows]]
        return annotations.masks(name), annotations.labels[rows].tolist(), crowd

    def pixels(self, index: int) -> npt.NDArray[Any]:
        """One image as stored, see :func:`gains.images.files.read_image`."""
        entry = self.annotations.images[self.names[index]]
        # Whoever prepared an image has allowed its size.
        allowed = max(MAX_PIXELS, int(entry["height"]) * int(entry["width"]))
        options = ReadOptions(intensity=self.intensity, max_pixels=allowed, prefix="dataset.")
        return read_image(self.annotations.root / "images" / entry["file_name"], options)

    def __getitem__(self, draw: int | Draw) -> tuple[Tensor, Target]:
        """Image ``(3, H, W)`` float32 in [0, 1] and its target (see :class:`Target`).

        Without augmentation the target also holds ``rles`` and ``iscrowd``, what an evaluator compares with. A plain
        index draws the image as in epoch 0.
        """
        index, epoch = draw if isinstance(draw, Draw) else Draw(draw, 0)
        entry = self.annotations.images[self.names[index]]
        image = to_network_range(self.pixels(index), self.intensity, str(entry["file_name"]))
        rles, labels, crowd = self.ground_truth(index)
        size = (int(entry["height"]), int(entry["width"]))
        if image.shape[:2] != size:
            raise InputError(f"{entry['file_name']} is {image.shape[:2]} pixels but annotations.json says {size}")
        if self.augmentation is not None:
            keep = [position for position, is_crowd in enumerate(crowd) if not is_crowd]
            masks = InstanceCrops.from_rle([rles[position] for position in keep], size)
            labels = [labels[position] for position in keep]
            digest = hashlib.sha256(f"{self.seed},{epoch},{self.names[index]}".encode()).digest()
            augmented = self.augmentation(image, masks, int.from_bytes(digest[:4], "little") >> 1)
            image = augmented.image
            target = self._training_target(augmented, labels)
        else:
            target = _target(InstanceCrops.from_rle(rles, size), labels)
            target |= {"rles": rles, "iscrowd": crowd}
        target["image_id"] = int(entry["id"])
        return torch.from_numpy(image).permute(2, 0, 1).contiguous(), target

    def _training_target(self, augmented: Augmented, labels: list[int]) -> Target:
        """Boxes, labels, masks and derived targets of the instances that have not left the image."""
        masks = augmented.masks
        sides = masks.boxes[:, 2:] - masks.boxes[:, :2]
        keep = torch.nonzero((sides > 0).all(1))[:, 0].tolist()
        target = _target(masks.select(keep), [labels[position] for position in keep])
        found = (target["masks"], target["labels"], augmented.resize)
        return cast(Target, {**target, **{name: derive(*found) for name, derive in self.derived.items()}})


def _target(masks: InstanceCrops, labels: list[int]) -> Target:
    """What every target has."""
    return {"boxes": masks.boxes.float(), "labels": torch.tensor(labels, dtype=torch.int64), "masks": masks}


def collate(samples: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """Images and targets of a batch as two lists; padding to one size is the model's business."""
    return [image for image, _ in samples], [target for _, target in samples]
