"""Metrics on the screen and in files."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gains.metrics.names import COUNTS, METRICS
from gains.metrics.subregions import arrangement_rows


def print_table(results: Mapping[str, Any], title: str = "Results", console: Console | None = None) -> None:
    """Print results as one table, with the score from which detections count beside each number.

    Args:
        results: ``metrics`` and ``per_category`` as the evaluator returns them; where present also ``notes``,
            ``intervals`` (see :func:`gains.metrics.bootstrap.intervals`) and ``comparison`` with its ``differences``.
        title: printed above.
        console: where to print; the terminal by default.
    """
    console = console or Console()
    table = _table(results, title, " ")
    if console.measure(table, options=console.options.update(max_width=1000)).maximum > console.width:
        table = _table(results, title, "\n")
    console.print(table)
    cap = results["metrics"]["max_detections"]
    lines = [f"mAP and the paper's AJI use the best {cap} detections of each image and category, whatever their score."]
    if results.get("intervals"):
        lines.append("In brackets: 95% intervals, from resampling images.")
    if results.get("comparison"):
        lines.append(f"difference: these predictions minus {results['comparison'].get('predictions')}.")
    lines += [f"Note: {note}" for note in results.get("notes", [])]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def print_arrangement(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the scores by how instances lie, and of the parts that others cover.

    Args:
        found: ``arrangement`` of results (see :func:`gains.metrics.subregions.by_arrangement`).
        console: where to print; the terminal by default.
    """
    rows = arrangement_rows(found)
    several = len({row["category"] for row in rows}) > 1
    table = Table(title="By how instances lie", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*(["category"] if several else []), "instances"):
        table.add_column(name, no_wrap=True)
    for name in ("truths", "recall", "mean\nIoU", "covered\npart", "the\nrest", "preci-\nsion"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        category, name, count, *scores = row.values()
        cells = [*([escape(category)] if several else []), name, str(count)]
        table.add_row(*cells, *(_cell(score, None, "") for score in scores))
    (console or Console()).print(table)


def _table(results: Mapping[str, Any], title: str, separator: str) -> Table:
    """The table, with ``separator`` between a value and its interval."""
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = _columns(results)
    differences = results.get("comparison", {}).get("differences")
    table.add_column("metric", no_wrap=True)
    table.add_column("score", no_wrap=True)
    for name in [name for name, _, _ in columns] + (["difference"] if differences else []):
        table.add_column(escape(name), justify="right", no_wrap=True)
    threshold = f">= {results['metrics']['score_threshold']:g}"
    for metric, following in zip(METRICS, (*METRICS[1:], None), strict=True):
        name = metric.name
        cells = [_cell(values.get(name), intervals.get(name), separator) for _, values, intervals in columns]
        if differences:
            change = differences[name]
            cells.append(_cell(change["difference"], [change["low"], change["high"]], separator, "+"))
        last = following is None or metric.group != following.group
        table.add_row(metric.title, "any" if metric.capped else threshold, *cells, end_section=last)
    for name, text in COUNTS.items():
        table.add_row(text, "", *(str(values.get(name, "")) for _, values, _ in columns))
    return table


def _columns(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Header, metrics and intervals of each column: all categories, then, if there are several, each."""
    intervals = results.get("intervals") or {"metrics": {}, "per_category": {}}
    per_category = results.get("per_category", {})
    columns = [("all", results["metrics"], intervals["metrics"])]
    if len(per_category) > 1:
        columns += [(name, values, intervals["per_category"].get(name, {})) for name, values in per_category.items()]
    return columns


def _cell(value: float | None, interval: Sequence[float | None] | None, separator: str, sign: str = "") -> str:
    if value is None or math.isnan(value):
        return "-"
    text = f"{value:{sign}z.4f}"
    if interval and all(end is not None and not math.isnan(end) for end in interval):
        text += f"{separator}\\[{interval[0]:{sign}z.4f}, {interval[1]:{sign}z.4f}]"
    return text
