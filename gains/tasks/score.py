"""``gains score``: any tool's predictions against a ground truth."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from gains.errors import InputError
from gains.metrics.bootstrap import LEVEL, differences, draw_weights, intervals, resample
from gains.metrics.names import MAIN
from gains.metrics.sources import read_ground_truth, read_predictions
from gains.metrics.sources.label_files import PAGES, LabelReading
from gains.metrics.sources.scored import filled, scored_images
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
