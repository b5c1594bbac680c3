"""``gains eval``: a checkpoint on a split of a prepared data set."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gains.checkpoint import load_module
from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError
from gains.tasks.build import ensure_prepared
from gains.tasks.evaluation import evaluate, report


def run(config: DictConfig) -> float:
    """Evaluate; returns the segm mAP.

    Raises:
        InputError: without a checkpoint, or if the data has other categories than the model.
    """
    if config.checkpoint is None:
        raise InputError("checkpoint=PATH is missing; pass a file such as outputs/train/.../checkpoints/best.ckpt")
    folder = Path(HydraConfig.get().runtime.output_dir)
    module = load_module(config.checkpoint, {"max_detections": config.dataset.max_detections})
    ensure_prepared(config)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    dataset = config.dataset
    datamodule = InstanceDataModule(
        dataset.root,
        categories=dataset.categories or module.categories,
        intensity=module.recipe["intensity"],
        num_workers=config.num_workers,
        fold=dataset.fold,
        num_folds=dataset.num_folds,
        seed=dataset.seed,
    )
    if datamodule.categories != module.categories:
        raise InputError(
            f"the checkpoint knows the categories {module.categories}, dataset.categories are {datamodule.categories}"
        )
    results = evaluate(module, datamodule, config.split, folder, config.accelerator)
    report(results, folder, Path(config.checkpoint))
    return float(results["metrics"]["segm_map"])
