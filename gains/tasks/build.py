"""From configuration to objects: data and model. Every task that needs one builds it here."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import Annotations, load_annotations
from gains.errors import InputError
from gains.models.build import build_plan, network_plan
from gains.models.recipe import Recipe, TrainingData
from gains.models.weights import load_weights
from gains.operating_point import SETTINGS, OperatingPoint
from gains.prediction.scale import MIN_TILE
from gains.tasks.prepare import generator_settings, prepare_dataset, summary
from gains.tasks.sizes import learned_sizes
from gains.tasks.transforms import transforms
from gains.training.module import InstanceSegmentation


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


def build_datamodule(config: DictConfig, annotations: Annotations) -> InstanceDataModule:
    """The data of a run."""
    if not OmegaConf.is_dict(config.model.targets):
        raise InputError(f"model.targets={config.model.targets} must be a group of settings, such as {{}}")
    derived = instantiate(config.model.targets, _convert_="all")
    return InstanceDataModule(
        annotations,
        intensity=config.dataset.intensity,
        augmentation=Augmentation(
            list(config.augmentation.short_sides),
            config.augmentation.long_side,
            transforms(config.augmentation.transforms),
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
