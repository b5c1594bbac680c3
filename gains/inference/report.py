"""``report.html``: what was found, to look at; and, where the truth is known, how far from it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gains.data.dataset import InstanceDataset
from gains.data.images import read_image
from gains.inference.export.overlay import view
from gains.inference.html import (
    Picture,
    bullets,
    cards,
    gallery,
    histograms,
    number,
    section,
    settings_table,
    table,
    write_page,
)
from gains.inference.raster import ArrayRaster
from gains.inference.records import THUMBNAIL_SIDE, Record, jpeg
from gains.inference.render import draw_instances, enlarge, zoom_of
from gains.masks import InstanceCrops
from gains.metrics.report import TITLES

MAX_PICTURES = 120
"""More would make a page that no browser likes to open; the tables name every image."""

IMAGE_METRICS = ("f1_50", "aji", "pq", "dice")


def write_prediction_report(
    path: Path, records: Sequence[Record], settings: Mapping[str, Any], failures: Sequence[str]
) -> None:
    """Write the report of ``gains predict``.

    Args:
        path: of the page.
        records: of all images in the folder of results.
        settings: that they were predicted with.
        failures: what is wrong with files that could not be.
    """
    scores = [score for record in records for score in record.scores]
    pixel = settings.get("pixel_size_um")
    factor, unit = (pixel**2, "µm²") if pixel else (1, "pixels")
    areas = [area * factor for record in records for area in record.areas]
    overlapping = sum(record.overlapping for record in records)
    summary = {
        "images": number(len(records)),
        "instances": number(len(scores)),
        "instances per image, median": number(_median([record.count for record in records])),
        f"area, median ({unit})": number(_median(areas)),
        "score, median": number(_median(scores)),
        "overlap another instance": f"{overlapping / len(scores):.0%}" if scores else "-",
    }
    parts = [cards(summary)]
    if failures:
        parts.append(section("Could not be predicted", bullets(failures, "failures")))
    notes = _notes(records)
    if notes:
        parts.append(section("Notes", bullets(notes, "notes")))
    charts: dict[str, Sequence[float]] = {f"area ({unit})": areas, "score": scores}
    if len(records) > 2:
        charts["instances per image"] = [record.count for record in records]
    parts.append(section("Distributions", histograms(charts)))
    rows = [_row(record, factor) for record in records]
    header = ["image", "width", "height", "instances", f"median area ({unit})", "median score", "overlapping"]
    figures = [
        (
            [Picture(record.drawn, record.plain)],
            record.name,
            f"{record.count} instances, {record.overlapping} overlapping",
        )
        for record in records[:MAX_PICTURES]
    ]
    parts += [section("Pictures", gallery(figures)), section("Images", table(header, rows))]
    parts.append(section("Settings", settings_table(settings)))
    write_page(path, "Predicted instances", f"{settings.get('model')} ({settings.get('checkpoint')})", parts)


def write_evaluation_report(
    folder: Path,
    dataset: InstanceDataset,
    predictions: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    per_image: Sequence[Mapping[str, Any]],
    max_pictures: int = 60,
) -> Path:
    """Write ``report.html`` of ``gains eval``: ground truth beside predictions, the worst images first.

    Args:
        folder: of the run.
        dataset: the evaluated images.
        predictions: entries of a COCO results list (``image_id``, ``category_id``, ``score``, ``segmentation``).
        results: as the evaluator computes them, with ``model``, ``dataset`` and ``split`` if known.
        per_image: rows of :meth:`InstanceSegmentationEvaluator.per_image`.
        max_pictures: the worst that many images are shown; the table has all.

    Returns:
        The page.
    """
    threshold = float(results["metrics"].get("score_threshold", 0.5))
    found: dict[int, list[Mapping[str, Any]]] = {}
    for entry in predictions:
        if entry["score"] >= threshold:
            found.setdefault(int(entry["image_id"]), []).append(entry)
    ids = [int(dataset.annotations.images[name]["id"]) for name in dataset.names]
    measured = {image_id: _over_categories(per_image, image_id) for image_id in ids}
    # An image without truth and prediction has no F1: nothing is wrong with it, so it comes last.
    worst = sorted(
        range(len(ids)),
        key=lambda index: (_or_one(measured[ids[index]]["f1_50"]), _or_one(measured[ids[index]]["aji"])),
    )
    figures = [
        _compared(dataset, index, found.get(ids[index], []), measured[ids[index]]) for index in worst[:max_pictures]
    ]
    rows = [
        [
            dataset.names[index],
            *(measured[ids[index]][name] for name in ("n_ground_truth", "n_predictions", *IMAGE_METRICS)),
        ]
        for index in worst
    ]
    metrics = results["metrics"]
    shown = {title: _metric(metrics.get(name)) for name, title in TITLES.items() if name in HEADLINES}
    overall = [[title, *(values.get(name) for values in _columns(results).values())] for name, title in TITLES.items()]
    parts = [
        cards({"images": number(len(ids)), **shown}),
        section("Metrics", table(["metric", *_columns(results)], overall), bullets(results.get("notes", []), "notes")),
        section(
            "Per image",
            histograms(
                {TITLES[name]: _defined(measured[image_id][name] for image_id in ids) for name in IMAGE_METRICS[:3]}
            ),
        ),
        section(f"Worst images first (scores from {threshold:g})", gallery(figures)),
        section(
            "All images", table(["image", "truths", "predictions", *(TITLES[name] for name in IMAGE_METRICS)], rows)
        ),
    ]
    path = folder / "report.html"
    lead = " on ".join(str(results[name]) for name in ("model", "dataset") if results.get(name))
    write_page(path, "Evaluation", f"{lead}, split {results.get('split', '')}", parts)
    return path


HEADLINES = ("segm_map", "segm_map_50", "aji", "pq", "f1_50")


def _row(record: Record, factor: float) -> list[Any]:
    area = _median(record.areas) * factor
    numbers = [record.width, record.height, record.count, area, _median(record.scores), record.overlapping]
    return [record.name, *numbers]


def _notes(records: Sequence[Record]) -> list[str]:
    notes = []
    capped = [record.name for record in records if record.capped_tiles]
    if capped:
        notes.append(
            f"In {len(capped)} image(s), such as {capped[0]}, the network found as many instances in a tile as it may; "
            "some may be missing. A smaller tile gives each fewer to find."
        )
    if len(records) > MAX_PICTURES:
        notes.append(f"Pictures of the first {MAX_PICTURES} of {len(records)} images are shown; the table has all.")
    return notes


def _compared(
    dataset: InstanceDataset, index: int, found: Sequence[Mapping[str, Any]], measured: Mapping[str, float]
) -> tuple[list[Picture], str, str]:
    """Ground truth and prediction of one image, side by side."""
    entry = dataset.annotations.images[dataset.names[index]]
    size = (int(entry["height"]), int(entry["width"]))
    image = ArrayRaster(read_image(dataset.annotations.root / "images" / entry["file_name"]))
    truth, _, _ = dataset.ground_truth(index)
    ordered = sorted(found, key=lambda item: -float(item["score"]))
    pictures = []
    for rles, note in ((truth, "ground truth"), ([item["segmentation"] for item in ordered], "prediction")):
        picture, masks = view(InstanceCrops.from_rle(rles, size), image, THUMBNAIL_SIDE)
        plain = jpeg(enlarge(picture, zoom_of(picture)))
        pictures.append(Picture(jpeg(draw_instances(picture, masks)), plain, f"{note}: {len(rles)}"))
    line = ", ".join(f"{TITLES[name]}: {_metric(measured[name])}" for name in IMAGE_METRICS)
    return pictures, dataset.names[index], line


def _over_categories(per_image: Sequence[Mapping[str, Any]], image_id: int) -> dict[str, float]:
    """Mean of each metric over the categories of one image; counts are added up."""
    rows = [row for row in per_image if int(row["image_id"]) == image_id]
    values: dict[str, float] = {
        name: sum(int(row[name]) for row in rows) for name in ("n_ground_truth", "n_predictions")
    }
    for name in IMAGE_METRICS:
        defined = _defined(row[name] for row in rows)
        values[name] = float(np.mean(defined)) if defined else math.nan
    return values


def _columns(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """All categories together and, if there are several, each."""
    per_category = results.get("per_category", {})
    return {"all": results["metrics"], **(per_category if len(per_category) > 1 else {})}


def _defined(values: Any) -> list[float]:
    return [float(value) for value in values if value is not None and not math.isnan(value)]


def _or_one(value: float) -> float:
    return 1.0 if math.isnan(value) else value


def _metric(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else math.nan
