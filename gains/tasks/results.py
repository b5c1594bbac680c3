"""What train and eval share: run a model over a split, write results and pictures, print the table."""

from pathlib import Path
from typing import Any

from gains.comparison.collect import RESULTS
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import InstanceDataset
from gains.metrics.stored import StoredStatistics, write_statistics
from gains.metrics.table import print_table
from gains.plain import write_json
from gains.reports.evaluation import write_evaluation_report
from gains.tasks.testing import run_test
from gains.training.callbacks import PredictionWriter
from gains.training.module import InstanceSegmentation
from gains.training.shares import Share


def evaluate(
    module: InstanceSegmentation,
    checkpoint: Path,
    datamodule: InstanceDataModule,
    split: str,
    folder: Path,
    accelerator: str = "auto",
    training_seconds: float | None = None,
    tuning: dict[str, Any] | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Evaluate on one split; write results, their statistics, predictions, ``report.html`` and ``figures/``.

    Where several processes have trained, all must call it: each evaluates its share of the images, all come to the same
    results, and the first writes them.

    Args:
        module: the model.
        checkpoint: file it was loaded from, named in the results.
        datamodule: its data.
        split: ``train``, ``val`` or ``test``.
        folder: of the run.
        accelerator: Lightning's name of the device to run on.
        training_seconds: how long training took, where that is known.
        tuning: how the operating point was chosen, where it was.
        seed: of the training, where that is known.

    Returns:
        ``metrics``, ``per_category`` (see :class:`InstanceSegmentationEvaluator`), and what was evaluated.
    """
    point = module.recipe.operating_point
    dataset = datamodule.dataset(split)
    share = Share.of(len(dataset))
    writer = PredictionWriter(folder, datamodule.annotations, point.score_threshold, share)
    seconds = run_test(module, datamodule, split, accelerator, share, [writer])
    capped = sum(share.gather([module.capped_images]))
    if capped and share.first:
        print(
            f"note: in {capped} of {len(dataset)} images the network found as many instances as "
            f"max_detections={point.max_detections} allows in an image or tile; some may be missing, raise it"
        )
    results = {
        "dataset": str(datamodule.annotations.root),
        "split": split,
        "model": module.recipe.model,
        "checkpoint": str(checkpoint),
        **({} if seed is None else {"seed": seed}),
        **module.results,
        "operating_point": point.to_plain(),
        "tuning": tuning,
        "costs": costs(module, training_seconds, seconds * share.processes / len(dataset)),
    }
    stored, per_image = stored_statistics(module, dataset), module.evaluator.per_image()
    if share.first:
        write_statistics(folder / "statistics.npz", stored)
        write_json(folder / RESULTS, results)
        precision = stored.precision()
        write_evaluation_report(folder, dataset, writer.entries, results, per_image, precision, writer.anomalies)
    return results


def costs(module: InstanceSegmentation, training: float | None, inference: float) -> dict[str, Any]:
    """Seconds of training and of inference per image, and how many parameters the network has."""
    return {
        "training_seconds": training,
        "inference_seconds_per_image": inference,
        "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
    }


def stored_statistics(module: InstanceSegmentation, dataset: InstanceDataset) -> StoredStatistics:
    """What comparisons need of an evaluation, its images by name."""
    names = {int(dataset.annotations.images[name]["id"]): name for name in dataset.names}
    evaluator = module.evaluator
    with evaluator.sync_context():
        image_ids, statistics = evaluator.statistics()
    images = [names[image_id] for image_id in image_ids]
    return StoredStatistics(images, statistics, evaluator.score_threshold, evaluator.max_detections)


def report(results: dict[str, Any], folder: Path) -> None:
    """Print the table, and where everything is."""
    print_table(results, title=f"{results['model']} on {results['dataset']} ({results['split']})")
    print_places(folder, results["checkpoint"])


def print_places(folder: Path, checkpoint: str | Path) -> None:
    """Print where what a run has written is."""
    places = {
        "checkpoint": checkpoint,
        "results": folder / RESULTS,
        "predictions": folder / "predictions.json",
        "report": folder / "report.html",
        "pictures": folder / "figures",
        "W&B offline run": next(folder.glob("wandb/offline-run-*"), None),
        "run folder": folder,
    }
    for name, place in places.items():
        if place is not None and Path(place).exists():
            print(f"{name:16} {place}")
