"""What train and eval share: run a model over a split, write results and pictures, print the table."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from gains.data.datamodule import InstanceDataModule
from gains.metrics.table import print_table, write_json
from gains.reports.evaluation import write_evaluation_report
from gains.training.callbacks import PredictionWriter
from gains.training.module import InstanceSegmentation


def evaluate(
    module: InstanceSegmentation,
    checkpoint: Path,
    datamodule: InstanceDataModule,
    split: str,
    folder: Path,
    accelerator: str = "auto",
) -> dict[str, Any]:
    """Evaluate on one split; write ``results.json``, ``predictions.json``, ``report.html`` and ``figures/``.

    Args:
        module: the model.
        checkpoint: file it was loaded from, named in the results.
        datamodule: its data.
        split: ``train``, ``val`` or ``test``.
        folder: of the run.
        accelerator: Lightning's name of the device to run on.

    Returns:
        ``metrics``, ``per_category`` (see :class:`InstanceSegmentationEvaluator`), and what was evaluated.
    """
    writer = PredictionWriter(folder, datamodule.annotations.category_ids)
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        logger=False,
        callbacks=[writer],
        enable_model_summary=False,
        default_root_dir=str(folder),
    )
    trainer.test(module, dataloaders=datamodule.evaluation_dataloader(split), verbose=False)
    results = {
        "dataset": str(datamodule.annotations.root),
        "split": split,
        "model": module.recipe.get("model"),
        "checkpoint": str(checkpoint),
        **module.results,
    }
    write_json(folder / "results.json", results)
    dataset = datamodule.dataset(split)
    write_evaluation_report(folder, dataset, writer.entries, results, module.evaluator.per_image())
    return results


def report(results: dict[str, Any], folder: Path) -> None:
    """Print the table, and where everything is."""
    print_table(results, title=f"{results['model']} on {results['dataset']} ({results['split']})")
    places = {
        "checkpoint": results["checkpoint"],
        "results": folder / "results.json",
        "predictions": folder / "predictions.json",
        "report": folder / "report.html",
        "pictures": folder / "figures",
        "W&B offline run": next(folder.glob("wandb/offline-run-*"), None),
        "run folder": folder,
    }
    for name, place in places.items():
        if place is not None:
            print(f"{name:16} {place}")
