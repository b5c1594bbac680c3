"""Gradients of losses in one process with the whole batch, and in two that share it and average, as DDP does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn

from gains.config import compose
from gains.masks import InstanceCrops
from gains.models.build import build_network
from gains.models.parts.query.dual_path import QueryOutput
from gains.models.parts.query.losses import class_loss, mask_losses
from gains.models.parts.query.matching import Truth

SIDE = 64
BOXES = [[[4, 4, 30, 28], [30, 20, 60, 60], [8, 36, 24, 60]], [[20, 10, 50, 40]]]
"""Objects of two images: three and one."""
SETTINGS = ["model/pretrained=none", "model.width={fpn: 16, box: 16, mask: 16}", "model.norm=group"]


def condinst(images: list[int]) -> list[Tensor]:
    """Gradient of all of CondInst's losses on some of the two images."""
    torch.manual_seed(0)
    network = build_network(compose("train", "model=condinst", "num_classes=1", "augmentation=none", *SETTINGS)).train()
    pixels = torch.rand(2, 3, SIDE, SIDE)
    targets = [target(BOXES[index]) for index in images]
    sum(network([pixels[index] for index in images], targets).values()).backward()
    return [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def target(boxes: list[list[int]]) -> dict[str, Any]:
    ones = [torch.ones(bottom - top, right - left, dtype=torch.uint8) for left, top, right, bottom in boxes]
    corners = torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4)
    labels = torch.ones(len(boxes), dtype=torch.int64)
    masks = InstanceCrops.from_crops(ones, corners, (SIDE, SIDE))
    return {"boxes": corners.float(), "labels": labels, "masks": masks, "image_id": torch.tensor(0)}


def queries(images: list[int]) -> list[Tensor]:
    """Gradients of FastInst's class and mask losses: masks are flat, so that it does not matter where they are read."""
    torch.manual_seed(0)
    logits, flat = nn.Parameter(torch.randn(2, 6, 3)), nn.Parameter(torch.randn(2, 6, 1, 1))
    output = QueryOutput(logits[images], flat[images].expand(-1, -1, 8, 8))
    truths, matches = [], []
    for index in images:
        count = [3, 0][index]  # the second image is empty
        whole = target([[0, 0, SIDE, SIDE]] * count)["masks"]
        unused = torch.zeros(count, 0, 0)
        truths.append(Truth(torch.zeros(count, dtype=torch.int64), whole, unused, unused))
        matches.append((torch.arange(count), torch.arange(count)))
    crossed, dice = mask_losses(output, truths, matches, (SIDE, SIDE), 16)
    (class_loss(output, truths, matches) + crossed + dice).backward()
    assert logits.grad is not None
    assert flat.grad is not None
    return [logits.grad, flat.grad]


WORK: dict[str, Callable[[list[int]], list[Tensor]]] = {"condinst": condinst, "queries": queries}


def share(rank: int, name: str, folder: str) -> None:
    """One process of two: its image's gradients, averaged over both."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = WORK[name]([rank])
    for gradient in found:
        distributed.all_reduce(gradient)
        gradient.div_(2)
    if rank == 0:
        torch.save(found, Path(folder) / "shared.pt")
    distributed.destroy_process_group()


def shared_gradients(name: str, folder: Path) -> list[Tensor]:
    """What two processes come to."""
    multiprocessing.spawn(share, (name, str(folder)), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    found: list[Tensor] = torch.load(folder / "shared.pt", weights_only=True)
    return found
