"""``report.html`` where the truth is known: metrics, and predictions beside ground truths, the worst first."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gains.arrays import FloatArray
from gains.data.dataset import InstanceDataset
from gains.drawing import Picture as Drawing
from gains.drawing import enlarge, zoom_of
from gains.drawing.compared import Matched, draw_compared, match
from gains.drawing.scale_bar import add_scale_bar
from gains.export.overlay import view
from gains.images.raster import ArrayRaster
from gains.masks import InstanceCrops
from gains.metrics.average_precision import IOU_THRESHOLDS, RECALL_THRESHOLDS
from gains.metrics.names import BY_NAME, HEADLINES, METRICS
from gains.metrics.subregions import arrangement_rows
from gains.prediction.records import THUMBNAIL_SIDE, webp
from gains.reports.html import (
    Picture,
    bullets,
    cards,
    curves,
    gallery,
    histograms,
    number,
    section,
    settings_table,
    table,
    write_page,
)
from gains.rle import RLE, run_lengths

MAX_PICTURES = 60
"""The worst that many images are shown; the table has all."""
IMAGE_METRICS = ("f1_50", "aji", "pq", "dice")
SETTINGS = ("model", "checkpoint", "dataset", "split", "seed")
EXPLAINED = (
    "Instances with scores from {:g} are shown and counted. An instance has the same colour in truth and prediction; "
    "what was missed, and what is false, is dashed in black and white."
)


def write_evaluation_report(
    folder: Path,
    dataset: InstanceDataset,
    predictions: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    per_image: Sequence[Mapping[str, Any]],
    precision: Mapping[str, FloatArray] | None = None,
    anomalies: Mapping[str, Drawing] | None = None,
) -> Path:
    """Write ``report.html`` of ``gains eval``.

    Args:
        folder: of the run.
        dataset: the evaluated images.
        predictions: entries of a COCO results list (``image_id``, ``category_id``, ``score``, ``segmentation``).
        results: as the evaluator computes them, with ``model``, ``checkpoint``, ``dataset`` and ``split`` if known.
        per_image: rows of :meth:`InstanceSegmentationEvaluator.per_image`.
        precision: category -> :meth:`gains.metrics.average_precision.Ranking.precision` of its masks.
        anomalies: image name -> the image beside the gradient anomaly that was predicted in it (GAInS).

    Returns:
        The page.
    """
    metrics = results["metrics"]
    ids = {name: int(dataset.annotations.images[name]["id"]) for name in dataset.names}
    found = _counted(predictions, ids.values(), metrics["score_threshold"])
    images = _images(per_image, {name: len(found[image_id]) for name, image_id in ids.items()}, ids)
    matched = {name: _matched(dataset, index, found[ids[name]]) for index, name in enumerate(dataset.names)}
    figures = [
        _compared(dataset, str(name), found[ids[str(name)]], matched[str(name)], row)
        for name, row in images.head(MAX_PICTURES).iterrows()
    ]
    ious = [value for each in matched.values() for value in each.iou[each.truth >= 0].tolist()]
    shown = {metric.title: _metric(metrics.get(metric.name)) for metric in HEADLINES}
    overall = [
        [metric.title, *(values.get(metric.name) for values in _columns(results).values())] for metric in METRICS
    ]
    header = ["image", "truths", "missed", "predictions", "false", *(BY_NAME[name].title for name in IMAGE_METRICS)]
    parts = [
        cards({"images": number(len(ids)), **shown}),
        section("Metrics", table(["metric", *_columns(results)], overall), bullets(results.get("notes", []), "notes")),
        *([section("By how instances lie", _arrangement(results))] if results.get("arrangement") else []),
        *([section("Precision and recall", precision_recall(precision))] if precision else []),
        section("Per image", histograms({BY_NAME[name].title: images[name].dropna() for name in IMAGE_METRICS[:3]})),
        section("Instances", histograms({"IoU of matched instances": ious, **_distributions(dataset, found)})),
        section(
            "Worst images first",
            bullets([EXPLAINED.format(metrics["score_threshold"])], "notes"),
            gallery(figures),
        ),
        *([section("Predicted gradient anomaly", *_anomalies(anomalies))] if anomalies else []),
        section("All images", table(header, [list(row) for row in images.itertuples()])),
        section("Settings", settings_table(_settings(results))),
    ]
    path = folder / "report.html"
    lead = " on ".join(str(results[name]) for name in ("model", "dataset") if results.get(name))
    write_page(path, "Evaluation", f"{lead}, split {results.get('split', '')}", parts)
    return path


def _counted(
    predictions: Sequence[Mapping[str, Any]], image_ids: Iterable[int], threshold: float
) -> dict[int, list[Mapping[str, Any]]]:
    """The predictions of each image that count, the surest first."""
    found: dict[int, list[Mapping[str, Any]]] = {image_id: [] for image_id in image_ids}
    for entry in sorted(predictions, key=lambda entry: -float(entry["score"])):
        if entry["score"] >= threshold:
            found[int(entry["image_id"])].append(entry)
    return found


def _settings(results: Mapping[str, Any]) -> dict[str, Any]:
    """What was evaluated, how, and what it cost, where that is known."""
    metrics = results["metrics"]
    return (
        {name: results[name] for name in SETTINGS if name in results}
        | {name: metrics[name] for name in ("score_threshold", "max_detections") if name in metrics}
        | {name.replace("_", " "): value for name, value in results.get("costs", {}).items()}
    )


def _anomalies(pictures: Mapping[str, Drawing]) -> tuple[str, str]:
    """What the maps are, and those of the images that have some."""
    encoded = {name: webp(picture) for name, picture in pictures.items()}
    meaning = (
        "High where instances touch, overlap or cross; 1 elsewhere. Of overlapping instances the larger value shows."
    )
    figures = [([Picture(image, image)], name, "") for name, image in encoded.items()]
    return bullets([meaning], "notes"), gallery(figures)


def precision_recall(precision: Mapping[str, FloatArray]) -> str:
    """A panel of curves at IoU 0.5, 0.75 and 0.9 for each category, over all scores."""
    chosen = {f"IoU {IOU_THRESHOLDS[index]:g}": index for index in (0, 5, 8)}
    panels = [
        f'<div class="panel"><h3>{escape(category)}</h3>'
        + curves({name: (RECALL_THRESHOLDS, values[index]) for name, index in chosen.items()}, "recall", "precision")
        + "</div>"
        for category, values in precision.items()
    ]
    return f'<div class="charts">{"".join(panels)}</div>'


def _arrangement(results: Mapping[str, Any]) -> str:
    """Recall and IoU of each group that occurs, and recall of the parts that others cover."""
    rows = [row for row in arrangement_rows(results["arrangement"]) if row["n_ground_truth"]]
    header = ["category", "instances", "truths", "recall", "mean IoU", "covered part", "the rest", "precision"]
    return table(header, [list(row.values()) for row in rows])


def _images(
    per_image: Sequence[Mapping[str, Any]], predicted: Mapping[str, int], ids: Mapping[str, int]
) -> pd.DataFrame:
    """Counts, and metrics averaged over the categories, of each image; the worst first.

    Returns:
        By name: ``truths``, ``missed``, ``predictions``, ``false`` and :data:`IMAGE_METRICS`.
    """
    rows = pd.DataFrame(per_image)
    rows["hits"] = (rows.recall_50 * rows.n_ground_truth).fillna(0).round().astype(int)
    images = rows.groupby("image_id").agg(truths=("n_ground_truth", "sum"), hits=("hits", "sum"))
    images = images.join(rows.groupby("image_id")[list(IMAGE_METRICS)].mean()).loc[list(ids.values())]
    images.index = pd.Index(list(ids))
    images["missed"] = images.truths - images.hits
    images["predictions"] = pd.Series(predicted)
    images["false"] = images.predictions - images.hits
    # An image without truth and prediction has no F1: nothing is wrong with it, so it comes last.
    images = images.sort_values(["f1_50", "aji"], na_position="last")
    return images[["truths", "missed", "predictions", "false", *IMAGE_METRICS]]


def _distributions(
    dataset: InstanceDataset, found: Mapping[int, Sequence[Mapping[str, Any]]]
) -> dict[str, list[float]]:
    """Areas in pixels of truths and predictions, and scores."""
    entries = [entry for each in found.values() for entry in each]
    truths = [rle for index in range(len(dataset.names)) for rle in dataset.ground_truth(index)[0]]
    return {
        "area of truths (pixels)": [_area(rle) for rle in truths],
        "area of predictions (pixels)": [_area(entry["segmentation"]) for entry in entries],
        "score of predictions": [float(entry["score"]) for entry in entries],
    }


def _area(rle: RLE) -> float:
    return float(run_lengths(rle)[1::2].sum())


def _matched(dataset: InstanceDataset, index: int, found: Sequence[Mapping[str, Any]]) -> Matched:
    """Which predictions of one image are which truths."""
    truths, labels, crowd = dataset.ground_truth(index)
    ids = dataset.annotations.category_ids
    owners = [ids.index(entry["category_id"]) + 1 for entry in found]
    return match(truths, labels, [entry["segmentation"] for entry in found], owners, crowd)


def _compared(
    dataset: InstanceDataset,
    name: str,
    found: Sequence[Mapping[str, Any]],
    matched: Matched,
    measured: "pd.Series[Any]",
) -> tuple[list[Picture], str, str]:
    """Ground truth and prediction of one image, side by side."""
    entry, index = dataset.annotations.images[name], dataset.names.index(name)
    size = (int(entry["height"]), int(entry["width"]))
    image = ArrayRaster(dataset.pixels(index))
    rles = [dataset.ground_truth(index)[0], [item["segmentation"] for item in found]]
    (picture, truths), (_, predicted) = (
        view(InstanceCrops.from_rle(each, size), image, THUMBNAIL_SIDE) for each in rles
    )
    scores = np.array([float(item["score"]) for item in found])
    drawn = draw_compared(picture, truths, predicted, matched, scores)
    plain = webp(enlarge(picture, zoom_of(picture)))
    notes = [
        f"ground truth: {len(truths)}, {measured.missed:.0f} missed",
        f"prediction: {len(predicted)}, {measured['false']:.0f} false",
    ]
    pictures = [
        Picture(webp(add_scale_bar(each, each.shape[1] / size[1])), plain, note)
        for each, note in zip(drawn, notes, strict=True)
    ]
    line = ", ".join(f"{BY_NAME[metric].title}: {_metric(measured[metric])}" for metric in IMAGE_METRICS)
    return pictures, name, line


def _columns(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """All categories together and, if there are several, each."""
    per_category = results.get("per_category", {})
    return {"all": results["metrics"], **(per_category if len(per_category) > 1 else {})}


def _metric(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
