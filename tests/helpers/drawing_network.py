"""A small network that draws random numbers while it trains, and a run of it with what every run has."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import albumentations as A
import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.masks import InstanceCrops
from gains.models.recipe import Recipe
from gains.rle import encode_crop
from gains.training.checkpoints import BestCheckpoint, LastCheckpoint, WholeCheckpoints
from gains.training.module import InstanceSegmentation
from gains.training.resume import ExactResume
from gains.training.schedule import ValidationSchedule
from helpers.blob_finder import Masks

SIDE = 24


class Noise:
    """Images of noise, each with one rectangle annotated."""

    categories: ClassVar = ["cell"]

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[ImageRecord]:
        draw = np.random.default_rng(0)
        for index in range(self.count):
            mask = encode_crop(np.ones((10, 12), bool), (index % 4, 3, index % 4 + 12, 13), (SIDE, SIDE))
            pixels = draw.integers(0, 256, (SIDE, SIDE), np.uint8)
            yield ImageRecord(f"image{index:02d}", pixels, [Instance("cell", mask)])


def prepare_noise(root: Path, count: int = 15, ratios: Sequence[int] = (3, 1, 1)) -> Path:
    prepare(Noise(count), root, seed=0, ratios=ratios)
    return root


class DrawingNetwork(nn.Module):
    """Its loss depends on the pixels it is shown and on a random number, its one detection on its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, SIDE))
        self.norm = nn.BatchNorm1d(SIDE)

    def forward(self, images: list[Tensor], targets: list[Any] | None = None) -> Any:
        if targets is not None:
            rows = self.norm(torch.stack([adaptive_avg_pool1d(image.mean((0, 2))[None], SIDE)[0] for image in images]))
            drawn = torch.rand(SIDE)
            return {"loss_draw": ((rows * drawn - self.weight) ** 2).mean()}
        shift = int(abs(float(self.weight.sum())) * 1000) % 7
        box = torch.tensor([[shift, 3, shift + 12, 13]])
        masks = InstanceCrops.from_crops([torch.ones(10, 12, dtype=torch.uint8)], box, (SIDE, SIDE))
        found = {"boxes": box.float(), "labels": torch.ones(1, dtype=torch.int64), "scores": torch.ones(1)}
        return [{**found, "masks": Masks(masks)} for _ in images]


def start(
    root: Path, folder: Path, resume: Path | None = None, extra: Sequence[pl.Callback] = (), **settings: Any
) -> pl.Trainer:
    """Train, or go on; ``settings`` are those of the trainer, and a few more."""
    torch.manual_seed(0)
    augmentation = Augmentation([SIDE, SIDE - 4], 100, [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.5)])
    data = InstanceDataModule(
        load_annotations(root),
        augmentation=augmentation,
        batch_size=2,
        num_workers=settings.pop("workers", 0),
        run_seed=3,
    )
    module = InstanceSegmentation(
        DrawingNetwork(), Recipe({}, data.categories, SIDE), optimizer=lambda groups: torch.optim.Adam(groups, 0.1)
    )
    schedule = ValidationSchedule(settings.pop("val_check_interval", 4), settings.pop("check_val_every_n_epoch", None))
    checkpoints = str(folder / "checkpoints")
    last = LastCheckpoint(checkpoints, settings.pop("minutes", 10))
    defaults: dict[str, Any] = {"max_steps": 13, "max_epochs": -1, "log_every_n_steps": 1, "accelerator": "cpu"}
    defaults["enable_progress_bar"] = False
    trainer = pl.Trainer(
        **(defaults | settings),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[schedule, ExactResume(3), *extra, BestCheckpoint(checkpoints, module.monitor), last],
        plugins=[WholeCheckpoints()],
        default_root_dir=str(folder),
    )
    trainer.fit(module, data, ckpt_path=resume, weights_only=True)
    return trainer
