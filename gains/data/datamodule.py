"""The LightningDataModule: prepared folder and splits to batches."""

import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.accelerators import CUDAAccelerator
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from gains.contract import Target
from gains.data.augmentation import Augmentation
from gains.data.dataset import Annotations, DerivedTarget, InstanceDataset, collate
from gains.data.sampler import TrainingSampler
from gains.data.splits import load_splits
from gains.errors import InputError
from gains.images.intensity import Intensity

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, the end of a job, and the warnings that schedulers send some time before."""


GRACE = 30  # seconds that a data worker lives on after a SIGTERM


def outlive_stop_signals(worker: int = 0) -> None:
    """In a data worker: a signal to all processes of a run must not take the next batch away before it has saved."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    # The main process sends it to workers that it does not end otherwise: it works, a little later.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE))


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
        run_seed: of the order of training images and their augmentation.
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
        run_seed: int = 0,
    ) -> None:
        super().__init__()
        self.annotations = annotations
        own = load_splits(annotations.root, annotations.images, fold=fold, num_folds=num_folds, seed=seed)
        self.splits = own if splits is None else dict(splits)
        self.intensity = intensity
        self.augmentation = augmentation or Augmentation([256], 1333)
        self.derived = dict(derived or {})
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.run_seed = run_seed
        self.position = (0, 0)
        self.validated = "val"  # the split; another one where a run is to be validated on what it trains on

    def start(self, epoch: int, batches: int) -> None:
        """Let training begin in an epoch (from 0) of which some batches are done."""
        self.position = (epoch, batches)

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
            seed=self.run_seed,
        )

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Shuffled, augmented training batches, from where :meth:`start` says on."""
        dataset = self.dataset("train", augment=True)
        epoch, batches = self.position
        processes, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
        sampler = TrainingSampler(dataset, self.run_seed, processes, rank, epoch, batches * self.batch_size)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=len(sampler) >= self.batch_size,
            **self._loading(),
        )

    def evaluation_dataloader(
        self, split: str, places: Sequence[int] | None = None
    ) -> DataLoader[tuple[Tensor, Target]]:
        """Images of any split as they are, one at a time: sizes differ; all, or those at some places."""
        dataset = self.dataset(split)
        chosen = dataset if places is None else Subset(dataset, places)
        return DataLoader(chosen, batch_size=1, **self._loading())

    def _loading(self) -> dict[str, Any]:
        """Workers that stay alive between epochs, and go on where a signal asks the run to stop."""
        return {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "worker_init_fn": outlive_stop_signals,
            "collate_fn": collate,
            "pin_memory": self.trainer is not None and isinstance(self.trainer.accelerator, CUDAAccelerator),
        }

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Validation images."""
        return self.evaluation_dataloader(self.validated)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Target]]:
        """Test images."""
        return self.evaluation_dataloader("test")
