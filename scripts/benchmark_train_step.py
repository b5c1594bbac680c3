"""A training step of GAInS against our Mask R-CNN, and of that against torchvision's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmark_scenes import FixedProposals, anomaly, full_size, jittered, scene, targets, torchvision_mask_rcnn
from benchmark_tools import (
    extra_memory,
    in_new_process,
    keep_no_freed_memory,
    measure,
    measure_in_turn,
    print_rows,
    write_rows,
)

from gains.masks import InstanceCrops
from gains.models.parts.roi.mask_head import mask_targets, roi_targets
from gains.models.parts.roi.sampling import RoISampler

SIDE = 512
FOREGROUND = 128
TORCHVISION, SAMPLED = "torchvision mask_rcnn", "gains, 32 anomaly RoIs"
MODELS = (TORCHVISION, "mask_rcnn", "gains", SAMPLED)


def step(network: Any, masks: InstanceCrops, device: str, dense: bool) -> Callable[[], None]:
    """One forward and backward pass on one 512 x 512 image; targets are made anew, as a data loader would."""
    image = torch.rand(3, SIDE, SIDE, device=device)
    network.to(device).train()
    network.rpn = FixedProposals(network.rpn, jittered(masks.boxes.float().to(device), 4 * FOREGROUND))
    truth = targets(masks, device, dense)

    def call() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            losses: dict[str, Any] = network([image], truth)
        network.zero_grad()
        sum(losses.values()).backward()

    return call


def target_cost(masks: InstanceCrops) -> Callable[[], None]:
    """GAMM and RoI targets of one image, what GAInS adds to a step outside the network."""
    boxes = masks.boxes.float()
    sampler = RoISampler(512, 0.25)
    truth: Any = {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64), "masks": masks}

    def call() -> None:
        truth["anomaly"] = anomaly(masks)
        samples = sampler([jittered(boxes, 4 * FOREGROUND)], [truth]).positives()
        mask_targets(samples, [truth])
        roi_targets(samples, [truth], lambda target: target["anomaly"])

    return call


def call_of(name: str, instances: int, device: str) -> Callable[[], None]:
    """A step of one of the four models in the table."""
    _, masks = scene(instances, SIDE)
    if name == TORCHVISION:
        return step(torchvision_mask_rcnn(), masks, device, dense=True)
    sample = ["model.network.mask.anomaly_rois_per_image=32"] if name == SAMPLED else []
    return step(full_size(name.split(",")[0], *sample), masks, device, dense=False)


def first_step_memory(name: str, instances: int, device: str) -> float:
    """Memory of a first step, gradients included; to be run in a process of its own, where nothing is left to reuse."""
    keep_no_freed_memory()
    return extra_memory(call_of(name, instances, device), device)


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows = []
    for instances in (6, 400):
        _, masks = scene(instances, SIDE)
        memory = {name: in_new_process(first_step_memory, name, instances, device) for name in MODELS}
        found = measure_in_turn({name: call_of(name, instances, device) for name in MODELS}, 7, device)
        ours, theirs = found["mask_rcnn"].seconds, found[TORCHVISION].seconds
        for name, result in found.items():
            rows.append(
                {
                    "instances": instances,
                    "model": name,
                    "seconds": result.seconds,
                    "images/s": 1 / result.seconds,
                    "/ mask_rcnn": result.seconds / ours,
                    "/ torchvision": result.seconds / theirs,
                    "extra MB": memory[name],
                }
            )
        preparation = measure(target_cost(masks)).seconds
        rows.append(
            {
                "instances": instances,
                "model": "GAMM and targets (CPU)",
                "seconds": preparation,
                "images/s": 1 / preparation,
                "/ mask_rcnn": preparation / ours,
                "/ torchvision": preparation / theirs,
                "extra MB": 0.0,
            }
        )
    print_rows(f"Training step, ResNet-50 FPN, one {SIDE}x{SIDE} image, {FOREGROUND} foreground RoIs, {device}", rows)
    write_rows(output, rows)
