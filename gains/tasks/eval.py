"""``gains eval``: a checkpoint on a split of a prepared data set."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError
from gains.metrics.names import MAIN
from gains.models.checkpoint import load_network
from gains.operating_point import SETTINGS
from gains.tasks.build import division, prepared_annotations
from gains.tasks.environment import write_environment
from gains.tasks.notices import silence_notices
from gains.tasks.results import evaluate, report
from gains.training.module import InstanceSegmentation


def run(config: DictConfig) -> float:
    """Evaluate; returns the segm mAP.

    Raises:
        InputError: without a checkpoint, or if the data has other categories than the model.
    """
    if config.checkpoint is None:
        raise InputError("checkpoint=PATH is missing; pass a file such as outputs/train/.../checkpoints/best.ckpt")
    folder = Path(HydraConfig.get().runtime.output_dir)
    silence_notices()
    network, recipe = load_network(config.checkpoint, {name: config[name] for name in SETTINGS}, config.trust)
    module = InstanceSegmentation(network, recipe)
    if config.dataset.categories is None:
        config.dataset.categories = recipe.categories
    annotations = prepared_annotations(config.dataset)
    if annotations.categories != recipe.categories:
        raise InputError(
            f"the checkpoint knows the categories {recipe.categories}, dataset.categories are {annotations.categories}"
        )
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    write_environment(folder)
    datamodule = InstanceDataModule(
        annotations,
        intensity=recipe.intensity,
        num_workers=config.num_workers,
        **division(config.dataset),
    )
    results = evaluate(module, Path(config.checkpoint), datamodule, config.split, folder, config.accelerator)
    report(results, folder)
    return float(results["metrics"][MAIN])
