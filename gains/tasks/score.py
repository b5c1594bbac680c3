"""``gains score``: any tool's predictions against a ground truth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gains.errors import InputError
from gains.metrics.bootstrap import LEVEL, Resampled, draw_weights, intervals, paired_differences, resample
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.names import BY_NAME, MAIN
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.metrics.sources.label_files import PAGES, LabelReading
from gains.metrics.sources.sets import GroundTruth, Predictions
from gains.metrics.subregions import arrangement_rows
from gains.metrics.summary import per_image
from gains.metrics.table import print_arrangement, print_table
from gains.metrics.threshold import tune_threshold
from gains.plain import write_csv, write_json

TUNING_METRICS = ("aji", "f1_50")


def run(config: DictConfig) -> float:
    """Score, print the tables, write ``results.json``, ``per_image.csv`` and ``arrangement.csv``; returns the segm mAP.

    Raises:
        InputError: if a setting is missing or wrong, or an input file is unsound.
    """
    check_settings(config)
    reading = LabelReading(config.components, config.pages)
    truth = read_ground_truth(config.ground_truth, config.category, reading=reading, crowd=config.crowd)
    predictions = read_predictions(config.predictions, truth, reading=reading)
    compared = read_predictions(config.compare, truth, "compare", reading) if config.compare else None
    files = {"predictions": predictions} | ({"compare": compared} if compared else {})
    truth, left_out = scored_images(truth, files, config.images)
    tuning = choose_threshold(config) if config.tune_threshold else None
    threshold = tuning["chosen"] if tuning else float(config.score_threshold)
    evaluator = filled(truth, predictions, config.max_detections, threshold, arrangement=True)
    results = evaluator.compute()
    results["inputs"] = {"ground_truth": config.ground_truth, "predictions": config.predictions}
    results["notes"] += truth.notes + predictions.notes + left_out
    if tuning:
        results["threshold_tuning"] = tuning
    image_ids, statistics = evaluator.statistics()
    rows = [{"file_name": truth.names[row["image_id"]], **row} for row in per_image(image_ids, statistics)]
    # A single image cannot be resampled.
    samples = config.bootstrap_samples if len(image_ids) > 1 else 0
    weights = draw_weights(len(image_ids), samples, config.seed)
    resampled = resample(statistics, weights)
    if samples:
        results["intervals"] = {"level": LEVEL, "samples": samples, **intervals(resampled)}
    if compared:
        other = filled(truth, compared, config.max_detections, threshold, arrangement=True)
        other_resampled = resample(other.statistics()[1], weights)
        results["comparison"] = {"predictions": config.compare, **other.compute()}
        results["comparison"] |= differences(results, results["comparison"], resampled, other_resampled)
    places = {"results": "results.json", "per image": "per_image.csv", "by lie": "arrangement.csv"}
    write_csv(Path(config.output) / places["per image"], rows)
    write_csv(Path(config.output) / places["by lie"], arrangement_rows(results["arrangement"]))
    write_json(Path(config.output) / places["results"], results)
    print_table(results, title=f"{config.predictions} against {config.ground_truth}")
    print_arrangement(results["arrangement"])
    print("\n".join(f"{name:10} {Path(config.output) / file}" for name, file in places.items()))
    return float(results["metrics"][MAIN])


def check_settings(config: DictConfig) -> None:
    """Find what is missing or out of range before any file is read.

    Raises:
        InputError: naming the setting and what would be right.
    """
    for option in ("ground_truth", "predictions"):
        if config[option] is None:
            raise InputError(f"{option}=PATH is missing; give a COCO json file or a folder of label TIFF or PNG")
    if config.images not in ("all", "predicted"):
        raise InputError(f"images={config.images} is unknown; use all, or predicted for those that predictions name")
    if config.crowd not in (None, "instances"):
        raise InputError(f"crowd={config.crowd} is unknown; use instances, or null for regions that are not counted")
    if config.pages not in (None, *PAGES):
        raise InputError(
            f"pages={config.pages} is unknown; use images, layers, or null for layers where no number is on two pages"
        )
    if config.max_detections < 1:
        raise InputError(f"max_detections={config.max_detections} must be 1 or more")
    if config.bootstrap_samples < 0:
        raise InputError(f"bootstrap_samples={config.bootstrap_samples} must be 0 (no intervals) or more")
    if config.tune_threshold:
        if config.tune_metric not in TUNING_METRICS:
            raise InputError(f"tune_metric={config.tune_metric} must be one of {', '.join(TUNING_METRICS)}")
        for option in ("validation_ground_truth", "validation_predictions"):
            if config[option] is None:
                raise InputError(
                    f"tune_threshold=true needs {option}=PATH: a threshold tuned on the scored images flatters them"
                )


def scored_images(truth: GroundTruth, files: Mapping[str, Predictions], images: str) -> tuple[GroundTruth, list[str]]:
    """The images that are scored, and notes on those that predictions do not name.

    Args:
        truth: all images.
        files: predictions of some of them by the setting that gave them; all are scored on the same images.
        images: ``all``, or ``predicted`` to leave out those that none of the files names.

    Raises:
        InputError: if no image would be left.
    """
    named = set[int]().union(*(each.predicted for each in files.values()))
    notes = []
    if images == "predicted" and named != set(truth.names):
        if not named:
            raise InputError(
                f"images=predicted: the predictions name no image of {truth.path}; nothing is left to score"
            )
        left_out = [name for number, name in truth.names.items() if number not in named]
        notes.append(f"{len(left_out)} images without predictions are left out: {_some(left_out)}")
        truth = truth.only(named)
    for setting, each in files.items():
        missing = [name for number, name in truth.names.items() if number not in each.predicted]
        if missing:
            of = f" in {setting}" if len(files) > 1 else ""
            remedy = "" if images == "predicted" else " (images=predicted leaves out those that no file names)"
            notes.append(
                f"{len(missing)} images have no prediction{of}, all they hold is counted as missed: "
                f"{_some(missing)}{remedy}"
            )
    return truth, notes


def _some(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def filled(
    truth: GroundTruth,
    predictions: Predictions,
    max_detections: int,
    score_threshold: float,
    arrangement: bool = False,
) -> InstanceSegmentationEvaluator:
    """An evaluator that has seen every image of the ground truth, and how its instances lie if asked to."""
    if not truth.names:
        raise InputError(f"{truth.path} lists no images; there is nothing to score")
    evaluator = InstanceSegmentationEvaluator(truth.categories, max_detections, score_threshold, arrangement)
    for image_id, instances in truth.instances.items():
        evaluator.update([predictions.instances[image_id].entry(image_id)], [instances.entry(image_id)])
    return evaluator


def choose_threshold(config: DictConfig) -> dict[str, Any]:
    """The score threshold that is best on the validation files, with the metric at each threshold tried."""
    reading = LabelReading(config.components, config.pages)
    truth = read_ground_truth(
        config.validation_ground_truth, config.category, "validation_ground_truth", reading, config.crowd
    )
    predictions = read_predictions(config.validation_predictions, truth, "validation_predictions", reading)
    truth, _ = scored_images(truth, {"validation_predictions": predictions}, config.images)
    evaluator = filled(truth, predictions, config.max_detections, config.score_threshold)
    chosen, curve = tune_threshold(evaluator, config.tune_metric)
    return {
        "chosen": chosen,
        "metric": config.tune_metric,
        "ground_truth": config.validation_ground_truth,
        "predictions": config.validation_predictions,
        "curve": [{"score_threshold": threshold, "value": value} for threshold, value in curve.items()],
    }


def differences(one: dict[str, Any], other: dict[str, Any], mine: Resampled, its: Resampled) -> dict[str, Any]:
    """Differences ``one - other`` of each metric, with 95% intervals from the same resampled images for both.

    Returns:
        ``differences``: metric -> ``difference``, ``low``, ``high``; ``per_category_differences``: name -> the same.
    """
    ends = intervals(paired_differences(mine, its))

    def table(these: dict[str, float], those: dict[str, float], limits: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {"difference": these[name] - those[name], "low": limits[name][0], "high": limits[name][1]}
            for name in BY_NAME
        }

    per_category = {
        name: table(metrics, other["per_category"][name], ends["per_category"][name])
        for name, metrics in one["per_category"].items()
    }
    return {
        "differences": table(one["metrics"], other["metrics"], ends["metrics"]),
        "per_category_differences": per_category,
    }
