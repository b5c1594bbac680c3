"""A checkpoint on its own: plain data, enough to build its model again and predict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from gains import __version__
from gains.errors import InputError
from gains.training.module import InstanceSegmentation

TRUSTED = ("gains.", "torchvision.ops.", "torch.nn.")
"""Where the classes of a model may come from: a checkpoint is data, it must not name arbitrary code to run."""


def make_recipe(
    network: Mapping[str, Any],
    categories: list[str],
    intensity: str,
    max_detections: int,
    name: str,
    image_side: int | None = None,
) -> dict[str, Any]:
    """What a checkpoint holds beside weights.

    Args:
        network: resolved ``_target_`` tree of the model, as plain data.
        categories: names; position + 1 is the label.
        intensity: how pixel values become [0, 1].
        max_detections: cap per image.
        name: of the model, for people.
        image_side: longest side in pixels of the images it learned from: how much prediction shows it at a time.
    """
    return {
        "version": __version__,
        "model": name,
        "network": dict(network),
        "categories": list(categories),
        "intensity": intensity,
        "max_detections": max_detections,
        "image_side": image_side,
    }


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint as plain data.

    Raises:
        InputError: if the file is missing, unreadable, or not a checkpoint of this application.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"checkpoint={path} does not exist; pass a file such as outputs/train/.../checkpoints/best.ckpt"
        )
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"checkpoint={path} cannot be read: it is damaged or not a checkpoint ({error})") from error
    if not isinstance(content, dict) or "gains" not in content or "state_dict" not in content:
        raise InputError(f"checkpoint={path} was not written by gains train")
    return content


def load_module(path: str | Path, overrides: Mapping[str, Any] | None = None) -> InstanceSegmentation:
    """Build the model of a checkpoint and fill in its weights, ready to predict.

    Args:
        path: checkpoint file.
        overrides: values that replace entries of the recipe (``max_detections``, ...).

    Returns:
        The module in eval mode, on the CPU.

    Raises:
        InputError: see :func:`read_checkpoint`; also if it names code outside this application.
    """
    content = read_checkpoint(path)
    recipe = {**content["gains"], **(overrides or {})}
    _check_targets(recipe["network"], path)
    network = instantiate(recipe["network"], _convert_="all")
    module = InstanceSegmentation(network, recipe["categories"], max_detections=recipe["max_detections"], recipe=recipe)
    module.load_state_dict(content["state_dict"])
    return module.eval()


def _check_targets(node: Any, path: str | Path) -> None:
    """Refuse a recipe that would run anything but the parts of a model."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None and not str(target).startswith(TRUSTED):
            raise InputError(f"checkpoint={path} names {target!r}, which is no part of a model; it is not loaded")
        for value in node.values():
            _check_targets(value, path)
    elif isinstance(node, list):
        for value in node:
            _check_targets(value, path)
