"""One network in several precisions and memory layouts, with its dense part compiled: seconds, memory, agreement."""

from typing import Any

import torch
from benchmark_scenes import FixedProposals, calm, full_size, jittered, scene, targets
from benchmark_tools import measure

INSTANCES, PROPOSALS = 20, 256
VARIANTS = {
    "float32": {},
    "TF32": {"tf32": True},
    "bfloat16": {"bfloat16": True},
    "bfloat16, channels-last": {"bfloat16": True, "channels_last": True},
    "bfloat16, channels-last, compiled backbone": {"bfloat16": True, "channels_last": True, "compiled": True},
}


def precisions(device: str, side: int = 512, overrides: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A row for each variant of GAInS on one square image; the loss stands against that of float32."""
    rows: list[dict[str, Any]] = []
    for name, variant in VARIANTS.items():
        row = {"variant": name, **row_of(device, side, overrides, **variant)}
        baseline = rows[0] if rows else row
        ratios = {f"{what} / float32": row[what] / baseline[what] for what in ("train s", "inference s", "loss")}
        rows.append({**row, **ratios})
    return rows


def row_of(
    device: str,
    side: int,
    overrides: tuple[str, ...],
    tf32: bool = False,
    bfloat16: bool = False,
    channels_last: bool = False,
    compiled: bool = False,
) -> dict[str, Any]:
    """Seconds and memory of a training step and of inference, and the loss of the first step."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.manual_seed(0)
    image, masks = scene(INSTANCES, side)
    network: Any = full_size("gains", f"augmentation.test_short_side={side}", *overrides)
    calm(network)
    network.rpn = FixedProposals(network.rpn, jittered(masks.boxes.float(), PROPOSALS).to(device))
    network.to(device, memory_format=torch.channels_last if channels_last else torch.preserve_format)
    if compiled:  # on a processor only that it can be traced: the compiler of C++ is not needed
        network.backbone = torch.compile(network.backbone, backend="inductor" if device == "cuda" else "eager")
    images, truth = [image.to(device)], targets(masks, device, dense=False)
    losses: list[float] = []

    def train() -> None:
        network.train()
        torch.manual_seed(1)
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            loss = sum(network(images, truth).values())
        network.zero_grad()
        loss.backward()
        losses.append(loss.item())

    def infer() -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            network(images)[0]["masks"].to_rle()

    training, inference = measure(train, 3, device), measure(infer, 3, device)
    found = {"train s": training.seconds, "train MB": training.extra_mb, "inference s": inference.seconds}
    return {**found, "loss": losses[0]}
