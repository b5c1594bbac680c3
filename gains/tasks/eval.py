"""``gains eval``: a checkpoint on a split of a prepared data set."""

from pathlib import Path

from omegaconf import DictConfig

from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import Annotations, load_annotations
from gains.data.splits import load_splits
from gains.errors import InputError
from gains.metrics.names import MAIN
from gains.models.checkpoint import load_network
from gains.models.recipe import Recipe
from gains.models.released import locate
from gains.operating_point import SETTINGS
from gains.tasks.build import division, prepared_annotations
from gains.tasks.folders import begin, check_unused, run_folder
from gains.tasks.notices import silence_notices
from gains.tasks.results import evaluate, report
from gains.tasks.trainer import lightning_name
from gains.training.module import InstanceSegmentation


def run(config: DictConfig) -> float:
    """Evaluate; returns the segm mAP.

    Raises:
        InputError: without a checkpoint, or if it cannot be evaluated on the data.
    """
    if config.checkpoint is None:
        raise InputError("checkpoint=PATH is missing; pass a file such as outputs/train/.../checkpoints/best.ckpt")
    folder = run_folder()
    silence_notices()
    config.accelerator = lightning_name(config.accelerator)
    config.checkpoint = str(locate(config.checkpoint))
    check_unused(folder)
    network, recipe = load_network(config.checkpoint, {name: config[name] for name in SETTINGS}, config.trust)
    annotations = shared_annotations(config.dataset, recipe)
    module = InstanceSegmentation(network, recipe, evaluated=annotations.categories)
    datamodule = InstanceDataModule(
        annotations,
        intensity=recipe.intensity,
        num_workers=config.num_workers,
        splits=evaluated_splits(recipe, annotations, config),
    )
    datamodule.dataset(config.split)  # refused where it holds no image
    begin(config, folder)
    results = evaluate(module, Path(config.checkpoint), datamodule, config.split, folder, config.accelerator)
    report(results, folder)
    return float(results["metrics"][MAIN])


def shared_annotations(dataset: DictConfig, recipe: Recipe) -> Annotations:
    """The prepared data set with the categories that it shares with a model, by name, or with those asked for.

    Raises:
        InputError: if there is none, or one is asked for that the model does not know.
    """
    annotations = prepared_annotations(dataset)
    unknown = [name for name in annotations.categories if name not in recipe.categories]
    if dataset.categories is not None and unknown:
        raise InputError(f"dataset.categories has {unknown[0]!r}; the checkpoint knows {', '.join(recipe.categories)}")
    shared = [name for name in recipe.categories if name in annotations.categories]
    if not shared:
        raise InputError(
            f"the checkpoint knows {', '.join(recipe.categories)}, the data set {annotations.root} has "
            f"{', '.join(annotations.categories)}: no category is the same, there is nothing to evaluate"
        )
    for text, names in (
        ("of the checkpoint are not in the data set", [name for name in recipe.categories if name not in shared]),
        ("of the data set are unknown to the checkpoint", unknown),
    ):
        if names:
            print(f"categories that {text} are not evaluated: {', '.join(names)}")
    return load_annotations(annotations.root, shared)


def evaluated_splits(recipe: Recipe, annotations: Annotations, config: DictConfig) -> dict[str, list[str]]:
    """The division of the data set into splits: that which the checkpoint was trained with, if it was on this data.

    Raises:
        InputError: if another division is asked for, or the images to be evaluated seem to have been trained on.
    """
    if config.split_from not in ("checkpoint", "dataset"):
        raise InputError(f"split_from={config.split_from} is unknown; use checkpoint or dataset")
    settings = division(config.dataset)
    splits = load_splits(annotations.root, annotations.images, **settings)
    if config.split_from == "dataset" or recipe.data is None:
        return splits
    if recipe.data.annotations == annotations.fingerprint():
        if settings["fold"] is not None and splits != recipe.data.splits:
            raise InputError(
                f"dataset.fold={settings['fold']} divides the images otherwise than the training of the checkpoint "
                "did; leave it out, or ask for it with split_from=dataset"
            )
        return recipe.data.splits
    seen = {*recipe.data.splits.get("train", ()), *recipe.data.splits.get("val", ())}
    known = [name for name in splits.get(config.split, ()) if name in seen]
    if known:
        raise InputError(
            f"{len(known)} images of split={config.split} have names that the checkpoint was trained or chosen with "
            f"(first: {known[0]}), in annotations that have changed since; if they are others, split_from=dataset"
        )
    return splits
