"""Every method beside Mask R-CNN: parameters, training step, inference, memory."""

from pathlib import Path

import torch
from benchmark_scenes import build_network, scene, targets
from benchmark_tools import measure, print_rows, write_rows

from gains.cli import config_folder

SIDE = 512


def model_names() -> list[str]:
    """All models that have a configuration, Mask R-CNN first."""
    names = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
    return ["mask_rcnn", *(name for name in names if name != "mask_rcnn" and not name.startswith("_"))]


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the table and write it."""
    image, masks = scene(20, SIDE)
    image = image.to(device)
    rows: list[dict[str, object]] = []
    baseline: tuple[float, float] | None = None
    for name in model_names():
        torch.manual_seed(0)
        network = build_network(name, f"augmentation.test_short_side={SIDE}", num_classes=2).to(device)
        truth = targets(masks, device, dense=False)
        truth[0]["visible_masks"] = truth[0]["masks"]

        def train(network=network, truth=truth):  # type: ignore[no-untyped-def]
            network.train()
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                losses = network([image], truth)
            network.zero_grad()
            sum(losses.values()).backward()

        def infer(network=network):  # type: ignore[no-untyped-def]
            network.eval()
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                network([image])[0]["masks"].to_rle()

        training, inference = measure(train, 2, device), measure(infer, 2, device)
        baseline = baseline or (training.seconds, inference.seconds)
        rows.append(
            {
                "model": name,
                "parameters (M)": round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2),
                "train / mask_rcnn": training.seconds / baseline[0],
                "train s": training.seconds,
                "train MB": training.extra_mb,
                "inference / mask_rcnn": inference.seconds / baseline[1],
                "inference s": inference.seconds,
                "inference MB": inference.extra_mb,
            }
        )
    print_rows(f"Methods, published size, one {SIDE}x{SIDE} image with 20 instances, {device}", rows)
    write_rows(output, rows)
