"""Start from weights somebody else has trained: torchvision's, or a file."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from gains.errors import InputError

TORCHVISION_NAMES = {
    "roi_heads.box_head.": "box.head.head.",
    "roi_heads.box_predictor.": "box.head.predictor.",
    "roi_heads.mask_predictor.conv5_mask.": "mask.head.predictor.upsample.",
    **{f"roi_heads.mask_head.{index}.0.": f"mask.head.trunk.{2 * index}." for index in range(4)},
}
"""Prefixes of torchvision's Mask R-CNN and what the same layers are called here."""

CLASSIFIER = re.compile(r"(conv1|bn1|layer[1-4])\.")
"""Beginnings of names of torchvision's classifiers."""

SHOWN = 12
"""At most that many parts that were not filled are named."""


@dataclass(frozen=True)
class Filled:
    """Which tensors of a network have been filled from weights, and which have not.

    Attributes:
        weights: where they come from.
        names: of the tensors that were filled, sorted.
        missing: names of the network's other tensors, sorted; they stay as they were.
    """

    weights: str
    names: list[str]
    missing: list[str]

    def __str__(self) -> str:
        text = f"{len(self.names)} tensors start from {self.weights} weights"
        if not self.missing:
            return text
        counts = Counter(name.rpartition(".")[0] for name in self.missing)
        parts = ", ".join(list(counts)[:SHOWN]) + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
        return f"{text}; {len(self.missing)} were not in them or have another shape and start anew: {parts}"


def load_weights(network: nn.Module, weights: str, resnet: str) -> Filled:
    """Copy every tensor whose name and shape fit into a network.

    Args:
        network: the model to fill.
        weights: ``imagenet`` (torchvision's classifier, downloaded), ``coco`` (torchvision's Mask R-CNN, downloaded),
            or the path of a file: a torchvision classifier or detector state dict, or a checkpoint of this application.
        resnet: name of the backbone, needed for ``imagenet``.

    Returns:
        What was filled.

    Raises:
        InputError: if a download cannot be reached, a file cannot be read or holds values that are not finite, or it
            does not fill the whole backbone.
    """
    if weights == "imagenet":
        state = _download(
            weights, lambda: get_model_weights(resnet).DEFAULT.get_state_dict(progress=True, check_hash=True)
        )
    elif weights == "coco":
        state = _download(
            weights, lambda: MaskRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(progress=True, check_hash=True)
        )
    else:
        state = _read(Path(weights))
    own = network.state_dict()
    renamed = {_own_name(name): value for name, value in state.items()}
    fitting = {name: value for name, value in renamed.items() if name in own and own[name].shape == value.shape}
    broken = [name for name, value in fitting.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(f"weights={weights}: {len(broken)} of its tensors are not finite (first: {broken[0]})")
    # Counts of batches mean nothing, and older files lack them.
    counted = [name for name in own if not name.endswith("num_batches_tracked")]
    body = [name for name in counted if name.startswith("backbone.body.")]
    missing = [name for name in body if name not in fitting]
    if missing:
        raise InputError(
            f"weights={weights}: {len(missing)} of the {len(body)} tensors of the backbone {resnet} are not in it or "
            f"have another shape (first: {missing[0]}); pass weights of the same model/size"
        )
    network.load_state_dict(fitting, strict=False)
    return Filled(weights, sorted(fitting), sorted(name for name in counted if name not in fitting))


def _own_name(name: str) -> str:
    """A tensor's name here: without Lightning's prefix; classifier tensors belong to the backbone's body."""
    name = name.removeprefix("network.")
    for theirs, ours in TORCHVISION_NAMES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if CLASSIFIER.match(name):
        return f"backbone.body.{name}"
    return name


def _download(weights: str, fetch: Callable[[], Any]) -> dict[str, Tensor]:
    try:
        return dict(fetch())
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"weights={weights}: the download could not be completed ({error}). Pass a local file instead "
            "(model.weights=PATH) or train from scratch (model/pretrained=none)"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"weights={path} does not exist; pass a file, 'imagenet', 'coco', or model/pretrained=none")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"weights={path} cannot be read as a file of weights: {error}") from error
    state = content.get("state_dict", content.get("model", content))
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
