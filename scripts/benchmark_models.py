"""Every method beside Mask R-CNN: parameters, training step, inference, memory."""

import multiprocessing
from pathlib import Path
from typing import Any

import torch
from benchmark_scenes import FixedProposals, calm, full_size, jittered, scene, targets
from benchmark_tools import measure, print_rows, write_rows

from gains.config import config_folder
from gains.models.parts.roi.amodal import VisibleMasks
from gains.operating_point import OperatingPoint
from gains.rle import RLE

SIDE = 512
INSTANCES = 20
PROPOSALS = 512


def model_names() -> list[str]:
    """All models that have a configuration, Mask R-CNN first."""
    names = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
    return ["mask_rcnn", *(name for name in names if name != "mask_rcnn")]


def measure_model(name: str, device: str, side: int = SIDE, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Parameters, seconds and memory of one model on one square image of ``side`` pixels."""
    image, masks = scene(INSTANCES, side)
    image = image.to(device)
    torch.manual_seed(0)
    # Untrained methods differ in how sure they are: without a score cut all of them draw 100 masks.
    network: Any = full_size(name, f"augmentation.test_short_side={side}", *overrides)
    network.operating_point = OperatingPoint(min_score=0)
    calm(network)
    if hasattr(network, "rpn"):  # RoIs near the truth, as a trained RPN gives: a full share of them is foreground
        network.rpn = FixedProposals(network.rpn, jittered(masks.boxes.float(), PROPOSALS).to(device))
    network.to(device)
    truth = targets(masks, device, dense=False)
    truth[0]["visible_masks"] = VisibleMasks()(masks, truth[0]["labels"].cpu()).to(device)

    found: list[list[RLE]] = []

    def train() -> None:
        network.train()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            losses = network([image], truth)
        network.zero_grad()
        sum(losses.values()).backward()

    def infer() -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            found.append(network([image])[0]["masks"].to_rle())

    training, inference = measure(train, 3, device), measure(infer, 3, device)
    return {
        "model": name,
        "parameters (M)": round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2),
        "train s": training.seconds,
        "train MB": training.extra_mb,
        "masks": len(found[0]),
        "inference s": inference.seconds,
        "inference MB": inference.extra_mb,
    }


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    rows: list[dict[str, Any]] = []
    # Each in a process of its own: memory that one has given back to the allocator would hide the growth of the next.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in model_names():
            row = pool.apply(measure_model, (name, device))
            baseline = rows[0] if rows else row
            measured = ("train s", "train MB", "inference s", "inference MB")
            ratios = {f"{what} / mask_rcnn": row[what] / max(baseline[what], 1e-9) for what in measured}
            rows.append({**row, **ratios})
    print_rows(f"Methods, published size, one {SIDE}x{SIDE} image with {INSTANCES} instances, {device}", rows)
    write_rows(output, rows)
