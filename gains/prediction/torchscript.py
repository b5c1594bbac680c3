"""A model as TorchScript: one file that runs without this package, in Python or C++, for images of one size."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gains.errors import InputError
from gains.files import replacing
from gains.models.parts.roi.masks import RoIMasks
from gains.prediction.predictor import Predictor

BOX_TOLERANCE = 0.01
SCORE_TOLERANCE = 1e-4

Output = tuple[Tensor, Tensor, Tensor, Tensor]


class Traceable(nn.Module):
    """One image in, plain tensors out, which is all that a trace can hold."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Output:
        """Boxes ``(K, 4)`` xyxy, labels ``(K,)``, scores ``(K,)``, mask grids ``(K, M, M)`` of ``(3, H, W)``."""
        found = self.network([image])[0]
        masks = found["masks"]
        if not isinstance(masks, RoIMasks):
            raise TypeError(f"its masks are {type(masks).__name__}, not a grid per box as two-stage models give")
        return found["boxes"], found["labels"], found["scores"], masks.probabilities


def export_torchscript(predictor: Predictor, path: str | Path, size: tuple[int, int]) -> None:
    """Trace a model, check the trace against the model, and write it.

    The file takes a float image ``(3, H, W)`` in [0, 1] of exactly the given size and returns ``boxes (K, 4)`` xyxy in
    pixels, ``labels (K,)`` from 1, ``scores (K,)`` and ``masks (K, M, M)``, probabilities on a grid over each box (0.5
    is the outline). Whoever loads it needs torch and ``import torchvision``, whose operators it uses. Tiling and
    stitching are not in it. The extra file ``gains.json`` inside names the categories, the size and the intensity.

    A trace records one path through the code, so it is run on several images with different numbers of detections and
    must give what the model gives; that is checked here for this very model, and nothing is written if it does not.

    Args:
        predictor: the loaded model.
        path: of the file, such as ``model.pt``.
        size: height and width of the images it will get.

    Raises:
        InputError: if the model cannot be traced, or its trace gives other results.
    """
    name = predictor.recipe.model
    if predictor.recipe.operating_point.nms == "mask":
        raise InputError(
            f"{name} cannot be exported at nms=mask, which works on masks in the image; load it at nms=box"
        )
    model = Traceable(predictor.network).eval()
    images = [image.to(predictor.device) for image in probes(size)]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # The tracer warns of every size it takes for a constant; the comparison below decides whether that matters.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(model, (images[0],), check_trace=False)
            different = _compare(model, traced, images)
    # A trace can fail, now or when it runs, with any error of the code it follows.
    except Exception as error:
        raise InputError(f"{name} cannot be exported as TorchScript: {error}") from error
    if different:
        raise InputError(f"{name} cannot be exported as TorchScript: a trace of it gives {different}")
    about = {"categories": predictor.categories, "size": list(size), "intensity": predictor.intensity}
    with replacing(Path(path)) as temporary:
        torch.jit.save(traced, str(temporary), _extra_files={"gains.json": json.dumps(about)})


def probes(size: tuple[int, int]) -> list[Tensor]:
    """Images ``(3, H, W)`` on which different numbers of things are found: noise, nothing, blobs of several sizes."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(3, *size, generator=generator)
    images = [noise, torch.zeros(3, *size)]
    for cells in (3, 6, 12):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        images.append(nn.functional.interpolate(coarse, size, mode="bicubic")[0].clamp(0, 1))
    return images


def _compare(model: nn.Module, traced: nn.Module, images: Sequence[Tensor]) -> str:
    """What differs between a model and its trace; empty if nothing does."""
    for image in images:
        expected: Output = model(image)
        found: Output = traced(image)
        if len(expected[0]) != len(found[0]):
            return f"{len(found[0])} detections where there are {len(expected[0])}"
        for name, mine, its, tolerance in zip(
            ("boxes", "labels", "scores", "masks"),
            expected,
            found,
            (BOX_TOLERANCE, 0.0, SCORE_TOLERANCE, SCORE_TOLERANCE),
            strict=True,
        ):
            difference = float((mine - its).abs().max()) if mine.numel() else 0.0
            if difference > tolerance:
                return f"{name} that are off by {difference:g}"
    return ""
