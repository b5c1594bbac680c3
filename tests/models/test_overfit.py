"""Every method learns four generated images by heart: whatever loss, target or mask is wrong, it cannot."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from gains.config import compose, config_folder
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.masks import InstanceCrops
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.models.build import build_network

METHODS = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml") if not path.stem.endswith("_r101"))
SMALLEST = [
    "num_classes=1",
    "target_label=1",
    "model/size=small",
    "model/pretrained=none",
    "model.rois_per_image=32",
    "model.proposals={pre_nms: [100, 100], post_nms: [60, 60]}",
    "augmentation=none",
]


@dataclass(frozen=True)
class Budget:
    """What a method needs to reach AP50 0.9: ``overfit`` of its YAML, which has to be there.

    Attributes:
        steps: of all four images at once.
        lr: highest learning rate of AdamW; it rises over the first tenth of the run and then falls to 0.
        side: of the images in pixels; cells measure a quarter to a third of it.
        width: of the pyramid and the mask heads.
    """

    steps: int
    lr: float
    side: int
    width: int


def budget_of(name: str) -> Budget:
    """A method's budget."""
    return Budget(**compose("train", f"model={name}").model.overfit)


def assemble(name: str, budget: Budget) -> tuple[nn.Module, dict[str, Callable[..., Any]]]:
    """The network, and the further targets it asks the data for."""
    width = f"model.width={{fpn: {budget.width}, box: 64, mask: {budget.width}}}"
    given = [f"model={name}", f"augmentation.test_short_side={budget.side}", width, *SMALLEST]
    config = compose("train", *given)
    network: Any = build_network(config)
    # Three quarters of the backbone's weights, which would take half the time to see 2 x 2 cells.
    network.backbone.body.layer4.requires_grad_(False)
    derived = instantiate(config.model.targets, _convert_="all")
    return network, {name: derive for name, derive in derived.items() if derive is not None}


def four_images(side: int, derived: dict[str, Callable[..., Any]]) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Images with two to four overlapping cells each; nuclei are left out."""
    images, targets = [], []
    for index, record in enumerate(OverlappingCells(4, side, seed=3, instances=(2, 4))):
        cells = [instance.mask for instance in record.instances if instance.category == "cytoplasm"]
        masks, labels = InstanceCrops.from_rle(cells, (side, side)), torch.ones(len(cells), dtype=torch.int64)
        target = {"boxes": masks.boxes.float(), "labels": labels, "masks": masks, "image_id": index}
        targets.append(target | {name: derive(masks, labels) for name, derive in derived.items()})
        images.append(torch.from_numpy(record.pixels).float().div(255).expand(3, -1, -1))
    return images, targets


def train(network: nn.Module, images: list[Tensor], targets: list[dict[str, Any]], budget: Budget) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, budget.lr, total_steps=budget.steps, pct_start=0.1)
    network.train()
    for _ in range(budget.steps):
        optimizer.zero_grad(set_to_none=True)
        sum(network(images, targets).values()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def average_precision_50(network: nn.Module, images: list[Tensor], targets: list[dict[str, Any]]) -> float:
    evaluator = InstanceSegmentationEvaluator({1: "cytoplasm"})
    predictions = [{**found, "masks": found["masks"].to_rle()} for found in network.eval()(images)]
    evaluator.update(predictions, [{**target, "masks": target["masks"].to_rle()} for target in targets])
    return float(evaluator.compute()["metrics"]["segm_map_50"])


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_four_images_are_learned_by_heart(name: str) -> None:
    budget = budget_of(name)
    torch.manual_seed(1)
    network, derived = assemble(name, budget)
    images, targets = four_images(budget.side, derived)
    train(network, images, targets, budget)
    assert average_precision_50(network, images, targets) >= 0.9
