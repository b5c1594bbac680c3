"""Which images train, validate and test a run, found out before it starts."""

import numpy as np
from omegaconf import DictConfig, open_dict

from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError


def evaluated_split(config: DictConfig, datamodule: InstanceDataModule) -> str | None:
    """The split that is evaluated after training; None where that is ``test`` by default and holds no image.

    Raises:
        InputError: if there is nothing to train on, or the split that was asked for is unknown or holds no image.
    """
    splits, root = datamodule.splits, datamodule.annotations.root
    if not splits.get("train"):
        raise InputError(f"{root} has no image to train on; see dataset.ratios and dataset.fold")
    if config.split is None:
        return "test" if splits.get("test") else None
    if config.split not in splits:
        raise InputError(f"split={config.split} is unknown; use one of {', '.join(splits)}")
    if not splits[config.split]:
        filled = ", ".join(name for name, images in splits.items() if images)
        raise InputError(f"split={config.split}: {root} has no image in it; there are some in {filled}")
    return str(config.split)


def adapt_to_splits(config: DictConfig, datamodule: InstanceDataModule) -> list[str]:
    """Leave validation out where there is nothing to validate on, or take the training images on request.

    Returns:
        A line on each part of a run that is left out, or is not what it seems.

    Raises:
        InputError: if training images are to stand in for validation images that are there.
    """
    notes = []
    annotations = datamodule.annotations
    crowd = np.concatenate([annotations.index.crowd[annotations.rows(name)] for name in datamodule.splits["train"]])
    if crowd.all():
        why = f"all {len(crowd)} annotations are crowd regions" if len(crowd) else "they have no annotation"
        remedy = "; prepare with dataset.crowd=instances if these are objects" if len(crowd) else ""
        notes.append(f"nothing to learn in the training images: {why}{remedy}")
    val = datamodule.splits.get("val")
    if config.validate_on == "train":
        if val:
            raise InputError(f"validate_on=train: {annotations.root} has {len(val)} validation images; take them (val)")
        datamodule.validated = "train"
        notes.append(
            "validated on the training images (validate_on=train): such numbers say nothing about other images"
        )
    elif not val:
        with open_dict(config):
            config.trainer.limit_val_batches = 0
        notes.append("no validation images: the last checkpoint is kept, not the best")
    if evaluated_split(config, datamodule) is None:
        notes.append("no test images: nothing is evaluated after training")
    return notes
