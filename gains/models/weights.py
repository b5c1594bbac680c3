"""Start from weights somebody else has trained: torchvision's, or a file.

Of torchvision's two sets of ImageNet weights the first is taken, for every ResNet. torchvision's own detectors start
from it, so figures compare with theirs; it was trained plainly, as the weights that the paper starts from; ResNet-18
has no other, so that all sizes start alike. The second set classifies better, but comes from a long recipe with label
smoothing, mixed images and averaged weights, which nobody has shown to help frozen norms here.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from gains.errors import InputError
from gains.models.classes import carry_classes, class_rows
from gains.models.packing import unpack
from gains.models.recipe import Recipe
from gains.models.released import locate
from gains.models.safetensors_file import SUFFIX, read_safetensors

TORCHVISION_NAMES = {
    "roi_heads.box_head.": "box.head.head.",
    "roi_heads.box_predictor.": "box.head.predictor.",
    "roi_heads.mask_predictor.conv5_mask.": "mask.head.predictor.upsample.",
    **{f"roi_heads.mask_head.{index}.0.": f"mask.head.trunk.{2 * index}." for index in range(4)},
}
"""Prefixes of torchvision's Mask R-CNN and what the same layers are called here."""

IMAGENET = "IMAGENET1K_V1"
"""Which of torchvision's ImageNet weights."""

SECOND_PATH = "inner."
"""Prefix of DoNet's second path, which starts from the weights of the first."""

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
        kept: classes whose heads have been filled; empty where the file does not say its classes.
        new: classes whose heads start anew, though the file has heads for others.
    """

    weights: str
    names: list[str]
    missing: list[str]
    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{len(self.names)} tensors start from {self.weights} weights"
        if self.kept or self.new:
            text += f"; heads kept for {', '.join(self.kept) or 'no class'}"
            text += f", new for {', '.join(self.new)}" if self.new else ""
        if not self.missing:
            return text
        counts = Counter(name.rpartition(".")[0] for name in self.missing)
        parts = ", ".join(list(counts)[:SHOWN]) + (f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else "")
        return f"{text}; {len(self.missing)} were not in them or have another shape and start anew: {parts}"


@dataclass(frozen=True)
class State:
    """Tensors of a file by name, and the names of the classes they were trained for where it says them."""

    tensors: dict[str, Tensor]
    categories: list[str] | None = None


def load_weights(
    network: nn.Module, weights: str, resnet: str, recipe: Recipe | None = None, trust: Sequence[str] = ()
) -> Filled:
    """Copy every tensor whose name and shape fit into a network; heads of classes go by the name of the class.

    Args:
        network: the model to fill.
        weights: ``imagenet`` (torchvision's classifier, downloaded), ``coco`` (torchvision's Mask R-CNN, downloaded),
            or a file: a torchvision classifier or detector state dict, or a checkpoint of this application; or the
            name or URL of such a checkpoint (:func:`gains.models.released.locate`).
        resnet: name of the backbone, needed for ``imagenet``.
        recipe: of the network; with it a checkpoint of other classes fills the heads of those of the same name.
        trust: see :func:`gains.models.build.build_plan`.

    Returns:
        What was filled.

    Raises:
        InputError: if a download cannot be reached, a file cannot be read or holds values that are not finite, or it
            does not fill the whole backbone.
    """
    if weights == "imagenet":
        state = _download(
            weights, lambda: get_model_weights(resnet)[IMAGENET].get_state_dict(progress=True, check_hash=True)
        )
    elif weights == "coco":
        state = _download(
            weights, lambda: MaskRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(progress=True, check_hash=True)
        )
    else:
        state = _read(locate(weights, "model.weights"))
    own = network.state_dict()
    renamed = {_own_name(name): value for name, value in state.tensors.items()}
    kept, new = list[str](), list[str]()
    if recipe is not None and state.categories is not None and state.categories != recipe.categories:
        kept = [name for name in recipe.categories if name in state.categories]
        new = [name for name in recipe.categories if name not in state.categories]
        renamed = _for_classes(network, renamed, state.categories, recipe, trust)
    renamed |= _second_path(own, renamed)
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
    return Filled(weights, sorted(fitting), sorted(name for name in counted if name not in fitting), kept, new)


def _second_path(own: Iterable[str], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for those of the network's second path that weights without one do not have: copies of the first's."""
    lacking = [name for name in own if name.startswith(SECOND_PATH) and name not in theirs]
    first = {name: theirs.get(name.removeprefix(SECOND_PATH)) for name in lacking}
    return {name: value for name, value in first.items() if value is not None}


def _for_classes(
    network: nn.Module, theirs: dict[str, Tensor], old: list[str], recipe: Recipe, trust: Sequence[str]
) -> dict[str, Tensor]:
    """Trained tensors with those that depend on classes made for the classes of the recipe, or left out."""
    own = network.state_dict()
    carried = dict(theirs)
    for name, rows in class_rows(network, recipe.network, len(recipe.categories), trust).items():
        value = carried.pop(name, None)
        if value is None or rows is None:
            continue
        filled = carry_classes(own[name], value, rows, old, recipe.categories)
        if filled is not None:
            carried[name] = filled
    return carried


def _own_name(name: str) -> str:
    """A tensor's name here: without Lightning's prefix; classifier tensors belong to the backbone's body."""
    name = name.removeprefix("network.")
    for theirs, ours in TORCHVISION_NAMES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    if CLASSIFIER.match(name):
        return f"backbone.body.{name}"
    return name


def _download(weights: str, fetch: Callable[[], Any]) -> State:
    try:
        return State(dict(fetch()))
    except (URLError, OSError, RuntimeError) as error:
        raise InputError(
            f"weights={weights}: the download could not be completed ({error}). Pass a local file instead "
            "(model.weights=PATH) or train from scratch (model/pretrained=none)"
        ) from error


def _read(path: Path) -> State:
    if not path.is_file():
        raise InputError(f"weights={path} does not exist; pass a file, 'imagenet', 'coco', or model/pretrained=none")
    if path.suffix == SUFFIX:
        tensors, recipe = read_safetensors(path, f"weights={path}")
        return State(unpack(tensors), _categories(recipe))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"weights={path} cannot be read as a file of weights: {error}") from error
    state = content.get("state_dict", content.get("model", content))
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return State(tensors, _categories(content.get("gains")))


def _categories(recipe: Any) -> list[str] | None:
    """Names of the classes that a recipe says, if it says them."""
    categories = recipe.get("categories") if isinstance(recipe, dict) else None
    named = isinstance(categories, list) and all(isinstance(name, str) for name in categories)
    return categories if named else None
