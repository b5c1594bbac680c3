"""From configuration to objects: data, model, trainer. Every task that needs one builds it here."""

import inspect
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import Annotations, load_annotations
from gains.errors import InputError
from gains.models.build import build_plan, network_plan
from gains.models.parts.roi.rpn import PER_DETECTION
from gains.models.recipe import Recipe, TrainingData
from gains.models.weights import load_weights
from gains.operating_point import SETTINGS, OperatingPoint
from gains.prediction.predictor import MIN_TILE
from gains.tasks.prepare import generator_settings, prepare_dataset, summary
from gains.tasks.sizes import fit_sizes, learned_sizes
from gains.training.checkpoints import WholeCheckpoints
from gains.training.finite import FiniteGuard
from gains.training.module import InstanceSegmentation
from gains.training.precision import choose_precision, precision_note
from gains.training.resume import ExactResume
from gains.training.schedule import ValidationSchedule

QUERIES_PER_INSTANCE = 1.25
"""Queries of a query-based method for each instance of the fullest image; some will be spent on nothing."""


def prepared_annotations(dataset: DictConfig) -> Annotations:
    """The prepared data set. A generated one that is not there yet is generated.

    Raises:
        InputError: if files of somebody's own are not prepared, or a generated set was drawn with other settings.
    """
    root, wanted = Path(dataset.root), generator_settings(dataset)
    if wanted is not None and not (root / "annotations.json").is_file():
        print(summary(prepare_dataset(dataset)))
    elif not (root / "annotations.json").is_file():
        raise InputError(
            f"dataset.root={root} holds no prepared data. Prepare it once: "
            f"gains prepare dataset={dataset.name} dataset.source=PATH dataset.root={root}"
        )
    annotations = load_annotations(root, dataset.categories)
    drawn = annotations.info.get("generated")
    if wanted is not None and drawn is not None and drawn != wanted:
        raise InputError(
            f"{root} was generated with {drawn}, asked for is {wanted}. Generate it anew "
            f"(gains prepare dataset={dataset.name} ... overwrite=true) or choose another dataset.root"
        )
    return annotations


def set_precision(config: DictConfig) -> list[str]:
    """Replace ``trainer.precision=auto`` by what this machine computes fast, see :mod:`gains.training.precision`.

    Returns:
        What was chosen, where there was a choice.

    Raises:
        InputError: for a precision that would move boxes.
    """
    asked, accelerator = config.trainer.precision, config.trainer.accelerator
    config.trainer.precision = choose_precision(asked, accelerator)
    note = precision_note(asked, config.trainer.precision, accelerator)
    return [note] if note else []


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


def build_datamodule(config: DictConfig, annotations: Annotations) -> InstanceDataModule:
    """The data of a run."""
    derived = instantiate(config.model.targets, _convert_="all")
    return InstanceDataModule(
        annotations,
        intensity=config.dataset.intensity,
        augmentation=Augmentation(
            list(config.augmentation.short_sides),
            config.augmentation.long_side,
            list(instantiate(config.augmentation.transforms)),
            crop=crop_side(config.dataset),
        ),
        derived={name: derive for name, derive in derived.items() if derive is not None},
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        run_seed=config.seed,
        **division(config.dataset),
    )


def division(dataset: DictConfig) -> dict[str, Any]:
    """Which division of the data set is used, as arguments of :class:`InstanceDataModule`."""
    return {"fold": dataset.fold, "num_folds": dataset.num_folds, "seed": dataset.seed}


def build_module(config: DictConfig, datamodule: InstanceDataModule) -> InstanceSegmentation:
    """The model with its optimiser, pretrained weights loaded where asked for."""
    annotations = datamodule.annotations
    recipe = Recipe(
        network_plan(config),
        annotations.categories,
        seen_side(config, annotations),
        config.dataset.intensity,
        config.model.name,
        OperatingPoint(**{name: config[name] for name in SETTINGS}),
        TrainingData(annotations.fingerprint(), datamodule.splits),
        sizes=learned_sizes(config, annotations, datamodule.splits["train"]),
    )
    network = build_plan(recipe.network, config.trust)
    if config.model.weights is not None:
        print(load_weights(network, config.model.weights, config.model.resnet, recipe, config.trust))
    return InstanceSegmentation(
        network,
        recipe,
        optimizer=instantiate(config.model.optimizer),
        schedule=OmegaConf.to_container(config.model.schedule),  # type: ignore[arg-type]
        backbone_lr_factor=config.model.backbone_lr_factor,
    )


def crop_side(dataset: DictConfig) -> int | None:
    """Side in pixels of the crops of training, which is that of the tiles of prediction; None where images stay whole.

    Raises:
        InputError: if ``dataset.crop`` is no yes or no, or crops are smaller than the smallest tile.
    """
    if not isinstance(dataset.crop, bool):
        raise InputError(f"dataset.crop={dataset.crop} must be true or false; dataset.short_side is the side of crops")
    if dataset.crop and dataset.short_side < MIN_TILE:
        raise InputError(f"dataset.short_side={dataset.short_side} must be at least {MIN_TILE} with dataset.crop=true")
    return int(dataset.short_side) if dataset.crop else None


def seen_side(config: DictConfig, annotations: Annotations) -> int:
    """Longest side in pixels of what the network is shown of an image at a time: the whole, or a crop."""
    return min(annotations.longest_side, crop_side(config.dataset) or annotations.longest_side)


def build_trainer(config: DictConfig, folder: Path) -> pl.Trainer:
    """The Lightning trainer with its loggers and callbacks, writing to the run folder.

    Raises:
        InputError: if a setting is no argument of Lightning's trainer.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config.trainer, resolve=True)  # type: ignore[assignment]
    known = set(inspect.signature(pl.Trainer).parameters) - {"logger", "callbacks", "plugins", "default_root_dir"}
    for name in settings:
        if name not in known:
            raise InputError(f"trainer.{name} is no setting of the trainer; there are {', '.join(sorted(known))}")
    interval, every_n_epoch = settings.pop("val_check_interval", None), settings.pop("check_val_every_n_epoch", None)
    callbacks = [instantiate(entry) for entry in config.callbacks.values() if entry is not None]
    return pl.Trainer(
        **settings,
        check_val_every_n_epoch=None,
        logger=loggers,
        callbacks=[ValidationSchedule(interval, every_n_epoch), ExactResume(config.seed), FiniteGuard(), *callbacks],
        plugins=[WholeCheckpoints()],
        default_root_dir=str(folder),
    )
