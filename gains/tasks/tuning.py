"""After training: the score threshold and the NMS that are best on the validation images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gains.data.datamodule import InstanceDataModule
from gains.errors import InputError
from gains.metrics.threshold import tune_threshold
from gains.models.checkpoint import load_network, store_operating_point
from gains.tasks.testing import run_test
from gains.training.module import InstanceSegmentation
from gains.training.shares import Share

METRICS = ("aji", "f1_50")
"""What a threshold can be chosen by: metrics that depend on it."""

NMS_TRIED = (("box", 0.3), ("box", 0.5), ("box", 0.7), ("mask", 0.3), ("mask", 0.5), ("mask", 0.7))


def check_tuning(config: DictConfig, datamodule: InstanceDataModule) -> None:
    """Find before training what would stop the tuning after it.

    Raises:
        InputError: for an unknown metric, or without validation images.
    """
    if config.tune and config.tune_metric not in METRICS:
        raise InputError(f"tune_metric={config.tune_metric} must be one of {', '.join(METRICS)}")
    if config.tune and not datamodule.splits["val"]:
        raise InputError("tune=true chooses on validation images, and there are none; see dataset.ratios")


def tune(checkpoint: Path, datamodule: InstanceDataModule, config: DictConfig) -> dict[str, Any]:
    """Choose score threshold and NMS on the validation images, and store them in a checkpoint.

    Where several processes have trained, all must call it; the first stores what all have found.

    Args:
        checkpoint: of the run; its operating point is replaced.
        datamodule: the run's data.
        config: of the run.

    Returns:
        ``metric``, the ``chosen`` settings, and ``tried``: each NMS with its best threshold and the metric there.
    """
    network, recipe = load_network(checkpoint, trust=config.trust)
    stored = recipe.operating_point
    others = [(nms, iou) for nms, iou in NMS_TRIED if (nms, iou) != (stored.nms, stored.nms_iou)]
    best, best_value, tried = stored, float("-inf"), []
    # The stored NMS comes first: it stays where nothing is better.
    for nms, iou in [(stored.nms, stored.nms_iou), *others]:
        point = replace(
            stored, nms=nms, nms_iou=iou, nms_across_categories=stored.nms_across_categories and nms == "mask"
        )
        module = InstanceSegmentation(network, replace(recipe, operating_point=point))
        threshold, value = _best_threshold(module, datamodule, config)
        tried.append({"nms": nms, "nms_iou": iou, "score_threshold": threshold, config.tune_metric: value})
        if value > best_value:
            best, best_value = replace(point, score_threshold=threshold), value
    count = len(datamodule.splits["val"])
    if Share.of(count).first:
        store_operating_point(checkpoint, best)
        print(
            f"tuned on {count} validation images: nms={best.nms} nms_iou={best.nms_iou} "
            f"score_threshold={best.score_threshold} ({config.tune_metric} {best_value:.4f})"
        )
    return {"metric": config.tune_metric, "chosen": best.to_plain(), "tried": tried}


def _best_threshold(
    module: InstanceSegmentation, datamodule: InstanceDataModule, config: DictConfig
) -> tuple[float, float]:
    """The best score threshold at a module's NMS, and the metric there."""
    share = Share.of(len(datamodule.dataset("val")))
    run_test(module, datamodule, "val", config.trainer.accelerator, share)
    with module.evaluator.sync_context():
        threshold, curve = tune_threshold(module.evaluator, config.tune_metric)
    return threshold, curve[threshold]
