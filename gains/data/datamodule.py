"""The LightningDataModule: prepared folder and splits to batches."""

from collections.abc import Mapping

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from gains.contract import Target
from gains.data.augmentation import Augmentation
from gains.data.dataset import Annotations, DerivedTarget, InstanceDataset, collate
from gains.data.splits import load_splits
from gains.errors import InputError
from gains.images.intensity import Intensity


class InstanceDataModule(pl.LightningDataModule):
    """Batches of a prepared data set.

    Args:
        annotations: the prepared data set (:func:`gains.data.dataset.load_annotations`).
        intensity: how pixel values become [0, 1].
        augmentation: of the training images.
        derived: further targets that the model asks for, by name.
        batch_size: training images per step and device.
        num_workers: processes that load and augment.
        fold: index of the cross-validation fold that is the test split; None uses ``splits.json``.
        num_folds: number of folds.
        seed: of the division into folds.
        splits: names of the images of each split; None takes those of the data set.
    """

    def __init__(
        self,
        annotations: Annotations,
        intensity: Intensity = "full_range",
        augmentation: Augmentation | None = None,
        derived: Mapping[str, DerivedTarget] | None = None,
        batch_size: int = 4,
        num_workers: int = 0,
        fold: int | None = None,
        num_folds: int = 5,
        seed: int = 0,
        splits: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.annotations = annotations
        own = load_splits(annotations.root, fold=fold, num_folds=num_folds, seed=seed)
        self.splits = own if splits is None else dict(splits)
        self.intensity = intensity
        self.augmentation = augmentation or Augmentation([256], 1333)
        self.derived = dict(derived or {})
        self.batch_size = batch_size
        self.num_workers = num_workers

    @property
    def categories(self) -> list[str]:
        """Category names; position + 1 is the label."""
        return self.annotations.categories

    def dataset(self, split: str, augment: bool = False) -> InstanceDataset:
        """The images of ``train``, ``val`` or ``test``, augmented and with derived targets on request.

        Raises:
            InputError: for another name, or a split without images.
        """
        if split not in self.splits:
            raise InputError(f"split={split!r} is unknown; use one of {', '.join(self.splits)}")
        names = self.splits[split]
        if not names:
            raise InputError(f"{self.annotations.root}/splits.json has no image in {split!r}")
        return InstanceDataset(
            self.annotations,
            names,
            self.intensity,
            self.augmentation if augment else None,
            self.derived if augment else None,
        )

    def _loader(self, split: str, batch_size: int, shuffle: bool) -> DataLoader[tuple[Tensor, Target]]:
        """A DataLoader whose workers stay alive between epochs."""
        return DataLoader(
            self.dataset(split, augment=shuffle),
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=shuffle and len(self.splits[split]) >= batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
            pin_memory=self.trainer is not None and self.trainer.accelerator.__class__.__name__ == "CUDAAccelerator",
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Shuffled, augmented training batches."""
        return self._loader("train", self.batch_size, shuffle=True)

    def evaluation_dataloader(self, split: str) -> DataLoader[tuple[Tensor, Target]]:
        """Images of any split as they are, one at a time: sizes differ."""
        return self._loader(split, 1, shuffle=False)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Validation images."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Test images."""
        return self.evaluation_dataloader("test")
