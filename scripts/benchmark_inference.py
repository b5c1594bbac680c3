"""Inference of GAInS and our Mask R-CNN against torchvision's, and the cost of pasting and encoding many masks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_scenes import full_size, jittered, scene, torchvision_mask_rcnn
from benchmark_tools import measure_in_turn, print_rows, write_rows
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from gains.models.parts.roi.masks import RoIMasks
from gains.operating_point import OperatingPoint


def fixed(boxes: Tensor) -> dict[str, Tensor]:
    """Boxes as detections of class 1, the best first."""
    scores = torch.linspace(0.99, 0.5, len(boxes), device=boxes.device)
    return {"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.int64, device=boxes.device), "scores": scores}


def ours(model: str, image: Tensor, boxes: Tensor) -> Callable[[], None]:
    """Detect, draw and encode with one of our models."""
    network: Any = full_size(model, f"augmentation.test_short_side={image.shape[-1]}").to(image.device).eval()
    network.operating_point = OperatingPoint(min_score=1.0)  # the box stage keeps nothing, at its full cost
    detect = network.box.detect

    def detect_fixed(*arguments: Any) -> list[dict[str, Tensor]]:
        return [fixed(boxes) for _ in detect(*arguments)]

    network.box.detect = detect_fixed

    def call() -> None:
        with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, enabled=image.is_cuda):
            found = network([image])
        found[0]["masks"].to_rle()

    return call


def theirs(image: Tensor, boxes: Tensor) -> Callable[[], None]:
    """The same with torchvision: full-size float masks, thresholded and encoded."""
    network = torchvision_mask_rcnn().to(image.device).eval()
    network.transform.min_size = (image.shape[-1],)
    found = fixed(boxes)

    def postprocess(*_: Any) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        return [found["boxes"]], [found["scores"]], [found["labels"]]

    network.roi_heads.postprocess_detections = postprocess

    def call() -> None:
        with torch.inference_mode(), torch.autocast(image.device.type, torch.bfloat16, enabled=image.is_cuda):
            found = network([image])
        encode(found[0]["masks"])

    return call


def encode(masks: Tensor) -> None:
    """Full-size probabilities ``(D, 1, H, W)`` to COCO RLE, one after the other."""
    for mask in masks[:, 0]:
        coco_mask.encode(np.asfortranarray((mask >= 0.5).cpu().numpy().astype(np.uint8)))


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the tables and write them."""
    rows = []
    for detections, side in ((100, 512), (500, 1024)):
        image, masks = scene(detections, side)
        image, boxes = image.to(device), jittered(masks.boxes.float(), detections).clamp(0, side).to(device)
        grids = torch.rand(detections, 28, 28, device=device)
        calls: dict[str, Callable[[], Any]] = {
            "torchvision mask_rcnn": theirs(image, boxes),
            "mask_rcnn": ours("mask_rcnn", image, boxes),
            "gains": ours("gains", image, boxes),
            "paste and encode: torchvision": lambda g=grids, b=boxes, s=side: encode(  # type: ignore[misc]
                paste_masks_in_image(g[:, None], b, (s, s))
            ),
            "paste and encode: ours": lambda g=grids, b=boxes, s=side: RoIMasks(g, b, (s, s)).to_rle(),  # type: ignore[misc]
        }
        found = measure_in_turn(calls, 3, device)
        for name, result in found.items():
            base = "paste and encode: torchvision" if name.startswith("paste") else "torchvision mask_rcnn"
            rows.append(
                {
                    "detections": detections,
                    "image": f"{side}x{side}",
                    "what": name,
                    "seconds": result.seconds,
                    "/ torchvision": result.seconds / found[base].seconds,
                    "/ mask_rcnn": result.seconds / found["mask_rcnn"].seconds,
                    "extra MB": result.extra_mb,
                }
            )
    print_rows(f"Inference, ResNet-50 FPN, {device}", rows)
    write_rows(output, rows)
