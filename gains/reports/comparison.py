"""The page of a comparison: tables, a point per seed, curves side by side, the images on which methods differ most."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from gains.comparison.tables import COLUMNS, Comparison, Table, as_csv, latex, markdown, sentences, tables
from gains.files import replacing
from gains.plain import write_json
from gains.reports.html import bullets, cards, number, section, table, write_page

WIDTH, HEIGHT, LEFT, BASE = 460, 250, 120, 215
COLOURS = ("#3465a4", "#c4561b", "#3a8a3a", "#8d4ba3", "#a8324a", "#6b5b2e", "#0f8b8d", "#777777")
MOST_IMAGES = 12


def write_comparison(output: Path, comparison: Comparison, failures: Sequence[str]) -> list[Table]:
    """Write the tables as Markdown, CSV and LaTeX, the differences as JSON, and the page; returns the tables."""
    found = [table for table in tables(comparison) if table.rows]
    lines = [*sentences(comparison), *failures]
    texts = {
        "comparison.md": "\n".join([*(markdown(table) for table in found), *(f"- {line}" for line in lines), ""]),
        "comparison.csv": "\n".join(f"{table.title}\n{as_csv(table)}" for table in found),
        "comparison.tex": "\n".join(latex(table) for table in found),
    }
    for name, text in texts.items():
        with replacing(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_json(output / "comparison.json", {"ranks": comparison.ranks, "differences": plain_differences(comparison)})
    write_comparison_page(output / "comparison.html", comparison, found, failures)
    return found


def plain_differences(comparison: Comparison) -> dict[str, Any]:
    """Data set -> method -> metric -> value, interval and the difference of each seed, as plain data."""
    return {
        dataset: {
            model: {name: asdict(difference) for name, difference in of_model.items()}
            for model, of_model in of_dataset.items()
        }
        for dataset, of_dataset in comparison.differences.items()
    }


def write_comparison_page(path: Path, comparison: Comparison, found: Sequence[Table], notes: Sequence[str]) -> None:
    """Write the page.

    Args:
        path: of the page.
        comparison: the study.
        found: its tables.
        notes: sentences to put first, such as runs that failed.
    """
    metric = COLUMNS.get(comparison.metric, comparison.metric)
    best = comparison.models[0] if comparison.models else "-"
    summary = {
        "methods": number(len(comparison.models)),
        "data sets": number(len(comparison.datasets)),
        "runs": number(len(comparison.runs)),
        f"best mean rank by {metric}": best,
    }
    parts = [cards(summary)]
    if notes:
        parts.append(section("Notes", bullets(notes, "failures")))
    parts.append(
        section(f"What the differences to {comparison.baseline} allow to say", bullets(sentences(comparison), "notes"))
    )
    for dataset in comparison.datasets:
        charts = f'<div class="charts">{_points(comparison, dataset)}{_curves(comparison, dataset)}</div>'
        parts.append(section(f"{dataset}: {metric} of every run", charts))
    parts += [section(each.title, table(each.header, each.rows)) for each in found]
    parts += [
        section(
            f"{dataset}: images on which methods differ most (F1 at IoU 0.5, mean over seeds)",
            table(["image", *comparison.models, "range"], _images(comparison, dataset)),
        )
        for dataset in comparison.datasets
    ]
    write_page(path, "Comparison", f"{', '.join(comparison.models)} on {', '.join(comparison.datasets)}", parts)


def _points(comparison: Comparison, dataset: str) -> str:
    """A row per method, a point per run, a bar at the mean."""
    values = {
        model: [run.metrics[comparison.metric] for run in units.values()]
        for model in comparison.models
        if (units := comparison.units(dataset, model))
    }
    every = [value for of_model in values.values() for value in of_model]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    margin = max(0.05 * (high - low), 0.005)
    low, high = low - margin, high + margin
    height = 30 + 24 * len(values)

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * (value - low) / (high - low)

    marks = []
    for index, (model, numbers) in enumerate(values.items()):
        y, mean = 18 + 24 * index, float(np.mean(numbers))
        marks.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(model)}</text>')
        bar = f'<line x1="{x(mean):.1f}" y1="{y - 8}" x2="{x(mean):.1f}" y2="{y + 8}">'
        marks.append(f"{bar}<title>mean {mean:.4f}</title></line>")
        look = f'cy="{y}" r="4" fill="{COLOURS[index % len(COLOURS)]}" fill-opacity="0.75"'
        marks += [f'<circle cx="{x(value):.1f}" {look}><title>{value:.4f}</title></circle>' for value in numbers]
    ticks = "".join(
        f'<text x="{x(value):.0f}" y="{height - 4}" text-anchor="middle">{value:.3f}</text>'
        for value in np.linspace(low + margin, high - margin, 3)
    )
    return f'<div class="panel"><svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(marks)}{ticks}</svg></div>'


def _curves(comparison: Comparison, dataset: str) -> str:
    """Validation mAP against steps, a line per run, a colour per method."""
    lines = {model: [run.curve for run in comparison.units(dataset, model).values()] for model in comparison.models}
    steps = [step for curves in lines.values() for curve in curves for step, _ in curve]
    values = [value for curves in lines.values() for curve in curves for _, value in curve]
    if not steps:
        return ""
    last, top = max(steps) or 1, max(max(values), 1e-6)
    shapes = []
    for index, (model, curves) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        shapes += [_line(curve, last, top, colour, model) for curve in curves]
        place = f'x="{WIDTH - 8}" y="{18 + 14 * index}" text-anchor="end" style="fill: {colour}"'
        shapes.append(f"<text {place}>{escape(model)}</text>")
    axis = (
        f'<line x1="40" y1="{BASE}" x2="{WIDTH - 6}" y2="{BASE}"/>'
        f'<text x="36" y="16" text-anchor="end">{top:.3f}</text><text x="36" y="{BASE}" text-anchor="end">0</text>'
        f'<text x="{WIDTH - 6}" y="{BASE + 15}" text-anchor="end">step {last}</text>'
        f'<text x="40" y="{BASE + 15}">validation mAP</text>'
    )
    return f'<div class="panel"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axis}{"".join(shapes)}</svg></div>'


def _line(curve: Sequence[tuple[int, float]], last: int, top: float, colour: str, title: str) -> str:
    points = " ".join(
        f"{40 + (WIDTH - 50) * step / last:.1f},{BASE - (BASE - 12) * value / top:.1f}" for step, value in curve
    )
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"><title>{escape(title)}</title>'
        "</polyline>"
    )


def _images(comparison: Comparison, dataset: str) -> list[list[str | float | None]]:
    """The images of widest range of F1 between methods."""
    scores: dict[str, dict[str, float]] = {}
    for model in comparison.models:
        for image, values in _f1_by_image(comparison, dataset, model).items():
            scores.setdefault(image, {})[model] = float(np.mean(values))
    widest = sorted(scores.items(), key=lambda entry: -_range(entry[1]))[:MOST_IMAGES]
    return [
        [image, *(of_image.get(model) for model in comparison.models), _range(of_image)] for image, of_image in widest
    ]


def _f1_by_image(comparison: Comparison, dataset: str, model: str) -> dict[str, list[float]]:
    """F1 at IoU 0.5 of each image, all categories together, once per run."""
    found: dict[str, list[float]] = {}
    for run in comparison.units(dataset, model).values():
        counts = np.sum([category.matches[0.5] for category in run.stored.statistics.values()], axis=0)
        for image, (hits, false, missed, *_) in zip(run.stored.images, counts.tolist(), strict=True):
            if hits + false + missed:
                found.setdefault(image, []).append(2 * hits / (2 * hits + false + missed))
    return found


def _range(values: Mapping[str, float]) -> float:
    return max(values.values()) - min(values.values())
