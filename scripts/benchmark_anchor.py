"""Ours beside a plain torchvision Mask R-CNN, trained from scratch on one split for the same processor time.

The anchor is torchvision's own class with ResNet-18 and heads of full size, SGD at 0.02, flips, batches of 4. Ours is
``gains train model=gains`` as it comes, with as many steps as the anchor's processor time buys. Both see the same
images in the same order, and are scored by the same evaluator on the same test images.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from benchmark_tools import print_rows, write_rows
from omegaconf import DictConfig
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from gains.config import compose
from gains.contract import Batch
from gains.data.datamodule import InstanceDataModule
from gains.masks import InstanceCrops
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.tasks.build import build_datamodule, build_module, prepared_annotations
from gains.tasks.from_data import set_from_data
from gains.training.module import InstanceSegmentation
from gains.training.optim import warmup_and_steps

DATASET, METHOD = "crossing_chromosomes", "gains"
SIDE, STEPS, IMAGES = 256, 500, 200
PILOT = 10
"""Steps by which the time of one of ours is estimated."""
FOLDER = Path("outputs") / "benchmark_anchor"


def configuration(steps: int, side: int, images: int) -> DictConfig:
    """Settings of ours; data, batches and flips are those of both."""
    return compose(
        "train",
        f"dataset={DATASET}",
        f"model={METHOD}",
        f"dataset.root={FOLDER / f'images_{images}x{side}'}",
        f"dataset.format.num_images={images}",
        f"dataset.format.image_size={side}",
        f"dataset.short_side={side}",
        f"trainer.max_steps={steps}",
        "num_workers=0",
    )


def torchvision_resnet18(classes: int, side: int, most: int) -> MaskRCNN:
    """The anchor: nothing frozen, heads of full size, images of ``side`` pixels, ``most`` detections of each."""
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    return MaskRCNN(backbone, classes + 1, min_size=side, max_size=side, box_detections_per_img=most)


def dense(batch: Batch) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """A batch as torchvision takes it, with full-size masks."""
    images, targets = batch
    return images, [
        {"boxes": target["boxes"], "labels": target["labels"], "masks": target["masks"].dense()} for target in targets
    ]


def batches(data: InstanceDataModule) -> Iterator[Batch]:
    """Training batches without end, epoch after epoch."""
    for epoch in itertools.count():
        data.start(epoch, 0)
        yield from data.train_dataloader()


def train_anchor(network: MaskRCNN, data: InstanceDataModule, config: DictConfig, steps: int) -> float:
    """Train it; returns the processor time in seconds."""
    begin = time.process_time()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_steps(steps, **config.model.schedule))
    network.train()
    for batch in itertools.islice(batches(data), steps):
        loss = torch.stack(list(network(*dense(batch)).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.trainer.gradient_clip_val)
        optimizer.step()
        schedule.step()
    return time.process_time() - begin


def train_ours(config: DictConfig, data: InstanceDataModule, steps: int) -> tuple[InstanceSegmentation, float]:
    """Build and train; returns the module and the processor time in seconds."""
    pl.seed_everything(config.seed, verbose=False)
    module = build_module(config, data)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        limit_val_batches=0,
        gradient_clip_val=config.trainer.gradient_clip_val,
        enable_model_summary=False,
        **quiet,
    )
    begin = time.process_time()
    data.start(0, 0)
    trainer.fit(module, data)
    return module, time.process_time() - begin


@torch.no_grad()
def anchor_metrics(network: MaskRCNN, data: InstanceDataModule, most: int) -> dict[str, float]:
    """Metrics of the test images, as :func:`our_metrics` has them."""
    evaluator = InstanceSegmentationEvaluator(dict(enumerate(data.categories, 1)), max_detections=most)
    network.eval()
    for images, targets in data.evaluation_dataloader("test"):
        found = [
            {**one, "masks": InstanceCrops.from_dense(one["masks"][:, 0] >= 0.5).to_rle()} for one in network(images)
        ]
        evaluator.update(found, [{**target, "masks": target["rles"]} for target in targets])
    metrics: dict[str, float] = evaluator.compute()["metrics"]
    return metrics


@torch.no_grad()
def our_metrics(module: InstanceSegmentation, data: InstanceDataModule) -> dict[str, float]:
    """Metrics of the test images."""
    module.eval()
    module.on_test_epoch_start()
    for index, batch in enumerate(data.evaluation_dataloader("test")):
        module.test_step(batch, index)
    metrics: dict[str, float] = module.evaluator.compute()["metrics"]
    return metrics


def main(
    output: Path | None, device: str, steps: int = STEPS, side: int = SIDE, images: int = IMAGES
) -> list[dict[str, Any]]:
    """Train both, print and write a row of each; ``device`` does not count, processor time is that of a CPU."""
    config = configuration(steps, side, images)
    annotations = prepared_annotations(config.dataset)
    set_from_data(config, annotations)
    data = build_datamodule(config, annotations)
    most = int(config.max_detections)
    pl.seed_everything(config.seed, verbose=False)
    anchor = torchvision_resnet18(len(annotations.categories), side, most)
    seconds = train_anchor(anchor, data, config, steps)
    _, pilot = train_ours(config, data, PILOT)
    bought = max(1, round(seconds / pilot * PILOT))
    module, ours = train_ours(config, data, bought)
    rows = []
    for name, count, spent, metrics in (
        ("torchvision Mask R-CNN, ResNet-18", steps, seconds, anchor_metrics(anchor, data, most)),
        (METHOD, bought, ours, our_metrics(module, data)),
    ):
        shown = {key: round(float(metrics[key] or 0), 4) for key in ("segm_map", "segm_map_50", "aji")}
        rows.append({"model": name, "steps": count, "processor s": round(spent, 1), **shown})
    print_rows(f"{DATASET}, {side} px, {images} images, batches of {config.batch_size}", rows)
    write_rows(output, rows)
    return rows
