"""Settings of a run that only the prepared data tell."""

import math

from omegaconf import DictConfig, OmegaConf

from gains.data.dataset import Annotations
from gains.errors import InputError
from gains.models.parts.roi.rpn import PER_DETECTION
from gains.tasks.sizes import fit_sizes

QUERIES_PER_INSTANCE = 1.25
"""Queries of a query-based method for each instance of the fullest image; some will be spent on nothing."""


def set_from_data(config: DictConfig, annotations: Annotations) -> list[str]:
    """Fill in what only the prepared data tells: number of classes, target label, anchors, enough proposals or queries.

    Returns:
        Sizes of the objects with settings that would fit them better, notes on what was raised and what stays too low.

    Raises:
        InputError: if GAMM's target category is not among the categories.
    """
    categories = annotations.categories
    target = config.dataset.target_category
    if target is not None and target not in categories:
        raise InputError(f"dataset.target_category={target!r} is not among the categories {', '.join(categories)}")
    config.num_classes = len(categories)
    config.target_label = None if target is None else categories.index(target) + 1
    return [*fit_sizes(config, annotations), *fit_caps(config, annotations.most_instances)]


def fit_caps(config: DictConfig, most: int) -> list[str]:
    """Raise proposals and queries to what the fullest image needs in training.

    Args:
        config: of the run; changed.
        most: instances in the fullest image.

    Returns:
        Notes on what was raised, and on a ``max_detections`` that is too low.
    """
    notes = []
    needed = {}
    if "rpn" in config.model.network:
        needed = dict.fromkeys(("proposals.pre_nms[0]", "proposals.post_nms[0]"), PER_DETECTION * most)
    if "queries" in config.model.network:
        needed = {"queries": math.ceil(QUERIES_PER_INSTANCE * most)}
    for name, count in needed.items():
        value = OmegaConf.select(config.model, name)
        if value < count:
            OmegaConf.update(config.model, name, count)
            notes.append(f"model.{name} is raised from {value} to {count}: an image holds {most} instances")
    if config.max_detections < most:
        notes.append(
            f"max_detections={config.max_detections} is less than the {most} instances of the fullest image: "
            "some cannot be found there; raise it"
        )
    return notes
