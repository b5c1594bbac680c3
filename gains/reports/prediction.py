"""``report.html`` of a folder of predictions: what was found, to look at."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gains.prediction.records import Record
from gains.reports.html import (
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

MAX_PICTURES = 120
"""More would make a page that no browser likes to open; the tables name every image."""


def write_prediction_report(
    path: Path,
    records: Sequence[Record],
    settings: Mapping[str, Any],
    failures: Sequence[str],
    remarks: Sequence[str] = (),
) -> None:
    """Write the report of ``gains predict``.

    Args:
        path: of the page.
        records: of all images in the folder of results.
        settings: that they were predicted with.
        failures: what is wrong with files that could not be.
        remarks: what the last call had to say about files.
    """
    pixel = settings.get("pixel_size_um")
    factor, unit = (pixel**2, "µm²") if pixel else (1, "pixels")
    instances = _instances(records, factor)
    by_category = dict(list(instances.groupby("category")))
    summary = {
        "images": number(len(records)),
        "instances": number(len(instances)),
        "instances per image, median": number(_median([record.count for record in records])),
        f"area, median ({unit})": number(instances.area.median()),
        "score, median": number(instances.score.median()),
        "overlap another" + (" of their category" if len(by_category) > 1 else ""): _share(instances.overlaps),
    }
    parts = [cards(summary)]
    if len(by_category) > 1:
        header = ["category", "instances", f"median area ({unit})", "median score", "overlap another of it"]
        rows = [[name, *_category_row(part)] for name, part in by_category.items()]
        parts.append(section("Categories", table(header, rows)))
    if failures:
        parts.append(section("Could not be predicted", bullets(failures, "failures")))
    notes = [*_notes(records), *remarks]
    if notes:
        parts.append(section("Notes", bullets(notes, "notes")))
    charts: dict[str, Any] = {
        f"area ({unit})" + (f", {name}" if len(by_category) > 1 else ""): part.area
        for name, part in by_category.items()
    }
    charts["score"] = instances.score
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


def _instances(records: Sequence[Record], factor: float) -> pd.DataFrame:
    """A row per instance of all images; areas times a factor."""
    names = {"category": "categories", "area": "areas", "score": "scores", "overlaps": "overlaps"}
    columns = {
        name: [value for record in records for value in getattr(record, source)] for name, source in names.items()
    }
    return pd.DataFrame(columns).assign(area=factor * np.asarray(columns["area"], dtype=float))


def _category_row(instances: pd.DataFrame) -> list[Any]:
    return [len(instances), instances.area.median(), instances.score.median(), _share(instances.overlaps)]


def _row(record: Record, factor: float) -> list[Any]:
    area = _median(record.areas) * factor
    numbers = [record.width, record.height, record.count, area, _median(record.scores), record.overlapping]
    return [record.name, *numbers]


def cap_notes(records: Sequence[Record]) -> list[str]:
    """A sentence on images in which the cap on instances bit; none where it did not."""
    capped = [record.name for record in records if record.capped_tiles]
    if not capped:
        return []
    return [
        f"In {len(capped)} image(s), such as {capped[0]}, the network found as many instances in a tile as it may; "
        "some may be missing. Raise max_detections, or give each tile fewer to find with a smaller tile."
    ]


def _notes(records: Sequence[Record]) -> list[str]:
    notes = cap_notes(records)
    unseen = sum(record.hidden for record in records)
    if unseen:
        notes.append(
            f"{unseen} instance(s) lie wholly under smaller ones: a plain label image shows no pixel of them, all other"
            " formats do."
        )
    if len(records) > MAX_PICTURES:
        notes.append(f"Pictures of the first {MAX_PICTURES} of {len(records)} images are shown; the table has all.")
    return notes


def _share(flags: Sequence[bool]) -> str:
    return f"{np.mean(flags):.0%}" if len(flags) else "-"


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else math.nan
