"""What ``prepare`` and ``train`` say about the sizes of objects, and the settings that follow from them."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig

from gains.data.dataset import Annotations
from gains.data.sizes import (
    ObjectSizes,
    Scaling,
    fitting_anchors,
    fitting_crop,
    fitting_scale,
    fitting_window,
    object_sizes,
    quantiles,
)
from gains.errors import InputError
from gains.models.recipe import LearnedSizes

LONG_SIDE = 1333
"""Of images in network pixels where no augmentation is chosen yet, as in all of them."""

APART = 1.6
"""A setting is not spoken of where it is within this factor of what would be suggested."""


def fit_sizes(config: DictConfig, annotations: Annotations) -> list[str]:
    """Set ``model.anchor_sizes=auto``, where it is asked for.

    Args:
        config: of a run; changed.
        annotations: of its data.

    Returns:
        Sizes of the objects, and what would fit them better than the settings of the run.

    Raises:
        InputError: if the anchors are text but not ``auto``.
    """
    dataset = config.dataset
    sizes = object_sizes(annotations, _scaling(config))
    notes = sizes.lines()
    if not notes:
        return []
    suggested = suggestions(sizes, dataset, annotations, config.augmentation.test_short_side)
    anchors = fitting_anchors(sizes)
    chosen = config.model.get("anchor_sizes")
    if isinstance(chosen, str):
        if chosen != "auto":
            raise InputError(f"model.anchor_sizes={chosen} must be auto or a list of five sides in pixels")
        config.model.anchor_sizes = anchors
        notes.append(f"model.anchor_sizes={anchors} fit the objects")
    elif isinstance(chosen, ListConfig) and "rpn" in config.model.network and _apart(chosen[0], anchors[0]):
        suggested.append(f"model.anchor_sizes=auto (which takes {anchors}, not {list(chosen)})")
    return [*notes, *(f"suggested: {setting}" for setting in suggested)]


def learned_sizes(config: DictConfig, annotations: Annotations, images: Collection[str]) -> LearnedSizes:
    """How large the objects of some images, those of training, are to the network of a run and in the images."""
    sizes = object_sizes(annotations, _scaling(config), images)
    pixel = pixel_size_of(config.dataset, annotations.info)
    return LearnedSizes(quantiles(sizes.source), quantiles(sizes.network), pixel, config.dataset.target_category)


def pixel_size_of(dataset: DictConfig, info: Mapping[str, Any]) -> float | None:
    """Side of a pixel of the images in micrometres: as set, else as ``prepare`` has read it; None if neither.

    Raises:
        InputError: if it is no positive number.
    """
    side = info.get("pixel_size_um") if dataset.pixel_size_um is None else dataset.pixel_size_um
    if side is None:
        return None
    if isinstance(side, bool) or not isinstance(side, (int, float)) or not 0 < side < math.inf:
        raise InputError(f"dataset.pixel_size_um={side} must be the side of a pixel in micrometres, above 0")
    return float(side)


def prepared_sizes(dataset: DictConfig, annotations: Annotations) -> list[str]:
    """Sizes of the objects at the settings of a ``dataset`` node, and what would fit them better."""
    sizes = object_sizes(annotations, Scaling(dataset.short_side, LONG_SIDE, dataset.short_side, dataset.crop))
    notes = sizes.lines()
    pixel = pixel_size_of(dataset, annotations.info)
    if pixel is not None:
        notes.append(f"a pixel of the images is {pixel:g} µm wide")
    anchors = [f"model.anchor_sizes=auto (which takes {fitting_anchors(sizes)})"] if notes else []
    fitting = suggestions(sizes, dataset, annotations, dataset.short_side)
    return [*notes, *(f"suggested: {setting}" for setting in [*fitting, *anchors])]


def suggestions(sizes: ObjectSizes, dataset: DictConfig, annotations: Annotations, short_side: int) -> list[str]:
    """Crops, else another scale than ``short_side``, and GAMM's window, where what is set is far from what fits."""
    found = []
    crop = None if dataset.crop else fitting_crop(sizes, annotations.longest_side)
    if crop is not None:
        found.append(f"dataset.crop=true dataset.short_side={crop} (whole images show objects too small)")
    scale = fitting_scale(sizes)
    if crop is None and scale is not None:
        smaller = "small" if scale > 1 else "large"
        found.append(f"augmentation.short_sides=[{round(short_side * scale)}] (the smallest objects are {smaller})")
    window = fitting_window(sizes, dataset.target_category)
    if window is not None and _apart(dataset.gamm.window, window):
        found.append(f"dataset.gamm.window={window} (pixels of the images; it is {dataset.gamm.window})")
    return found


def _scaling(config: DictConfig) -> Scaling:
    augmentation, dataset = config.augmentation, config.dataset
    return Scaling(dataset.short_side, augmentation.long_side, augmentation.test_short_side, dataset.crop)


def _apart(value: float, fitting: float) -> bool:
    return not fitting / APART < value < fitting * APART
