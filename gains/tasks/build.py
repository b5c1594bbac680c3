"""From configuration to objects: data, model, trainer. Every task that needs one builds it here."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gains.checkpoint import make_recipe
from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.errors import InputError
from gains.models.parts.weights import load_weights
from gains.module import InstanceSegmentation


def ensure_prepared(config: DictConfig) -> None:
    """Generate a synthetic data set that is not there yet; anything else has to be prepared by its owner.

    Raises:
        InputError: if a data set with files of its own is not prepared.
    """
    root = Path(config.dataset.root)
    if (root / "annotations.json").is_file():
        return
    if not config.dataset.format._target_.startswith("gains.data.synthetic."):
        raise InputError(
            f"dataset.root={root} holds no prepared data. Prepare it once: "
            f"gains prepare dataset={config.dataset.name} dataset.source=PATH dataset.root={root}"
        )
    prepare(instantiate(config.dataset.format), root, seed=config.dataset.seed, ratios=tuple(config.dataset.ratios))


def set_from_data(config: DictConfig) -> list[str]:
    """Fill in what only the prepared data tells: ``num_classes`` and ``target_label``.

    Returns:
        The used category names.

    Raises:
        InputError: if GAMM's target category is not among them.
    """
    categories = load_annotations(Path(config.dataset.root), config.dataset.categories).categories
    target = config.dataset.gamm.target_category
    if target is not None and target not in categories:
        raise InputError(f"dataset.gamm.target_category={target!r} is not among the categories {', '.join(categories)}")
    config.num_classes = len(categories)
    config.target_label = None if target is None else categories.index(target) + 1
    return categories


def build_datamodule(config: DictConfig) -> InstanceDataModule:
    """The data of a run."""
    dataset = config.dataset
    return InstanceDataModule(
        dataset.root,
        categories=dataset.categories,
        intensity=dataset.intensity,
        augmentation=Augmentation(
            list(config.augmentation.short_sides),
            config.augmentation.long_side,
            list(instantiate(config.augmentation.transforms)),
        ),
        derived=instantiate(config.model.targets),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        fold=dataset.fold,
        num_folds=dataset.num_folds,
        seed=dataset.seed,
    )


def build_module(config: DictConfig, categories: list[str]) -> InstanceSegmentation:
    """The model with its optimiser, pretrained weights loaded where asked for."""
    plan: dict[str, Any] = OmegaConf.to_container(config.model.network, resolve=True)  # type: ignore[assignment]
    network = instantiate(plan, _convert_="all")
    if config.model.weights is not None:
        filled = load_weights(network, config.model.weights, config.model.resnet)
        print(f"{len(filled)} tensors start from {config.model.weights} weights")
    return InstanceSegmentation(
        network,
        categories,
        optimizer=instantiate(config.model.optimizer),
        schedule=OmegaConf.to_container(config.model.schedule),  # type: ignore[arg-type]
        backbone_lr_factor=config.model.backbone_lr_factor,
        max_detections=config.dataset.max_detections,
        score_threshold=config.score_threshold,
        recipe=make_recipe(
            plan, categories, config.dataset.intensity, config.dataset.max_detections, config.model.name
        ),
    )


def build_trainer(config: DictConfig, folder: Path) -> pl.Trainer:
    """The Lightning trainer with its loggers and callbacks, writing to the run folder."""
    settings = OmegaConf.to_container(config.trainer, resolve=True)
    assert isinstance(settings, dict)
    interval = settings.get("val_check_interval")
    if isinstance(interval, int) and 0 < settings.get("max_steps", -1) < interval:
        # A run shorter than the interval is still validated once, at its end.
        settings["val_check_interval"] = settings["max_steps"]
    loggers = [instantiate(entry, save_dir=str(folder)) for entry in config.logger.loggers.values()]
    callbacks = [instantiate(entry) for entry in config.callbacks.values() if entry is not None]
    return pl.Trainer(**settings, logger=loggers, callbacks=callbacks, default_root_dir=str(folder))
