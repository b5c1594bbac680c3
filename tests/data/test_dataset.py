from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A
import numpy as np
import pytest
import torch

from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import collate, load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.gradient_anomaly import GradientAnomaly
from gains.rle import encode_crop

SIDE = 32


class Rectangles:
    """Ten 16-bit images; image i has i rectangles of alternating category, all overlapping in the middle."""

    categories: ClassVar = ["cell", "nucleus"]

    def __len__(self) -> int:
        return 10

    def __iter__(self) -> Iterator[ImageRecord]:
        for index in range(10):
            instances = []
            for position in range(index):
                box = (position, position, position + 20, position + 22)
                mask = encode_crop(np.ones((22, 20), bool), box, (SIDE, SIDE))
                instances.append(Instance(self.categories[position % 2], mask))
            yield ImageRecord(f"image{index}", np.full((SIDE, SIDE), 1000 * index, np.uint16), instances)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "rectangles"
    prepare(Rectangles(), folder, seed=0)
    return folder


def module(root: Path, categories: list[str] | None = None, **settings: Any) -> InstanceDataModule:
    augmentation = Augmentation([SIDE], 100)
    return InstanceDataModule(load_annotations(root, categories), augmentation=augmentation, batch_size=2, **settings)


def test_image_keeps_its_range_and_the_target_its_overlaps(root: Path) -> None:
    data = module(root)
    for split in ("train", "val", "test"):
        dataset = data.dataset(split)
        for name, (image, target) in zip(dataset.names, map(dataset.__getitem__, range(len(dataset))), strict=True):
            index = int(name.removeprefix("image"))
            assert image.shape == (3, SIDE, SIDE)
            assert image.unique().item() == pytest.approx(1000 * index / 65535)
            assert target["labels"].tolist() == [1 + position % 2 for position in range(index)]
            assert target["masks"].areas().tolist() == [440.0] * index
            if index > 1:
                assert target["masks"].dense()[:2].all(0).sum() == 19 * 21
            assert [box.tolist() for box in target["boxes"]] == [[p, p, p + 20, p + 22] for p in range(index)]


def test_an_image_without_instances_gives_an_empty_target(root: Path) -> None:
    data = module(root, derived={"anomaly": lambda masks, labels, resize: masks})
    split = next(split for split, names in data.splits.items() if "image0" in names)
    dataset = data.dataset(split, augment=True)
    _, target = dataset[dataset.names.index("image0")]
    assert target["boxes"].shape == (0, 4)
    assert len(target["masks"]) == len(target["anomaly"]) == 0


class Corner:
    """One image whose only cell lies at its lower right corner."""

    categories: ClassVar = ["cell"]

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[ImageRecord]:
        mask = encode_crop(np.ones((5, 4), bool), (28, 27, 32, 32), (SIDE, SIDE))
        yield ImageRecord("corner", np.zeros((SIDE, SIDE), np.uint8), [Instance("cell", mask)])


@pytest.mark.parametrize("variant", ["isbi", "chromosome", "nuclei"])
@pytest.mark.parametrize(
    ("move", "left"),
    [(A.Crop(0, 0, 20, 20), 0), (A.Crop(8, 8, 30, 28), 2), (A.Affine(translate_px=9, p=1), 0), (A.NoOp(), 20)],
    ids=["crop", "cut", "shift", "stay"],
)
def test_the_only_cell_may_leave_the_image(tmp_path: Path, variant: str, move: Any, left: int) -> None:
    prepare(Corner(), tmp_path / "corner", seed=0, ratios=(1, 0, 0))
    data = module(tmp_path / "corner", derived={"anomaly": GradientAnomaly(5, 1.0, 0.1, variant)})
    data.augmentation = Augmentation([SIDE], 100, [move])
    _, target = data.dataset("train", augment=True)[0]
    assert target["masks"].areas().sum() == left
    maps: Any = target["anomaly"]  # type: ignore[typeddict-item]
    assert len(maps) == len(target["boxes"]) == len(target["masks"]) == (left > 0)
    assert torch.isfinite(maps.values).all()


def test_derived_targets_see_the_augmented_masks(root: Path) -> None:
    seen = []
    data = module(root, derived={"anomaly": lambda *found: seen.append(found) or "derived"})  # type: ignore[func-returns-value]
    dataset = data.dataset("train", augment=True)
    _, target = dataset[len(dataset) - 1]
    assert target["anomaly"] == "derived"  # type: ignore[comparison-overlap]
    assert torch.equal(seen[-1][0].values, target["masks"].values)  # type: ignore[unreachable]
    assert seen[-1][2] == 1
    assert "anomaly" not in data.dataset("val")[0][1]
    data.augmentation = Augmentation([2 * SIDE], 3 * SIDE)
    data.dataset("train", augment=True)[0]
    assert seen[-1][2] == pytest.approx(2)


def test_one_category_can_be_used_alone(root: Path) -> None:
    none: list[str] = []
    for wrong in ("nucleus", none):
        with pytest.raises(InputError, match="must be a list of names"):
            load_annotations(root, wrong)
    data = module(root, categories=["nucleus"])
    dataset = data.dataset("train")
    for name, (_, target) in zip(dataset.names, map(dataset.__getitem__, range(len(dataset))), strict=True):
        assert target["labels"].tolist() == [1] * (int(name.removeprefix("image")) // 2)
    assert data.annotations.category_ids == [2]


def test_batches_are_lists_and_follow_the_seed(root: Path) -> None:
    def first_ids() -> list[int]:
        torch.manual_seed(4)
        images, targets = next(iter(module(root).train_dataloader()))
        assert isinstance(images, list)
        return [target["image_id"] for target in targets]

    assert first_ids() == first_ids()
    images, targets = collate([(torch.zeros(3, 4, 4), {"image_id": 1}), (torch.zeros(3, 5, 6), {"image_id": 2})])  # type: ignore[typeddict-item]
    assert [tuple(image.shape[1:]) for image in images] == [(4, 4), (5, 6)]
    assert [target["image_id"] for target in targets] == [1, 2]


def test_mistakes_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotations\.json does not exist: prepare the data first"):
        load_annotations(tmp_path)
    with pytest.raises(InputError, match="no category 'mitochondrion'; it has cell, nucleus"):
        load_annotations(root, ["mitochondrion"])
    with pytest.raises(InputError, match="split='all' is unknown"):
        module(root).dataset("all")
