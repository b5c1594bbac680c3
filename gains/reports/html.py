"""The building blocks of a report: one self-contained HTML page without anything loaded from elsewhere."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from gains import __version__
from gains.arrays import FloatArray
from gains.files import replacing
from gains.reports.tally import Tally, counted, median

WIDTH, HEIGHT, BASE = 360, 150, 118
"""Of a histogram in SVG units, and where its horizontal axis lies."""
LINES = 4
"""Colours of lines in the style sheet."""


@dataclass(frozen=True)
class Picture:
    """One picture of a gallery.

    Attributes:
        drawn: WebP in base64, instances drawn.
        plain: the same without, shown under the mouse.
        note: short text in its corner.
    """

    drawn: str
    plain: str
    note: str = ""


def write_page(path: Path, title: str, lead: str, sections: Sequence[str]) -> None:
    """Write a page of sections under a title and a line on what it is about."""
    here = Path(__file__)
    style, script = here.with_name("report.css").read_text(), here.with_name("report.js").read_text()
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    head = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{style}</style></head>
<body><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>
"""
    tail = f"""
<footer>gains {__version__}, {made}. Hover over a picture to see it without outlines, click to enlarge it.</footer>
<dialog><img alt="enlarged picture"></dialog><script>{script}</script></body></html>
"""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines([head, *sections, tail])


def section(title: str, *parts: str) -> str:
    """Parts under a heading."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def cards(values: Mapping[str, str]) -> str:
    """The few numbers to see first: what each is -> its text."""
    inner = "".join(
        f'<div class="card"><b>{escape(text)}</b><span>{escape(name)}</span></div>' for name, text in values.items()
    )
    return f'<div class="cards">{inner}</div>'


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table that sorts by a click on its header; numbers are shown in a few digits."""
    head = "".join(f'<th data-sort="">{escape(name)}</th>' for name in header)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    kind = "panel scroll" if len(rows) > 24 else "panel"  # long tables scroll in a frame of their own
    return f'<div class="{kind}"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def settings_table(settings: Mapping[str, Any]) -> str:
    """Names and values in two columns."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape('not set' if value is None else str(value))}</td></tr>"
        for name, value in settings.items()
    )
    return f'<div class="panel"><table class="settings">{rows}</table></div>'


def bullets(lines: Sequence[str], kind: str) -> str:
    """A list of sentences."""
    return f'<ul class="{kind}">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def gallery(figures: Sequence[tuple[Sequence[Picture], str, str]]) -> str:
    """Figures of one or more pictures, each with a title and a line below."""
    paired = any(len(pictures) > 1 for pictures, _, _ in figures)
    inner = "".join(
        f'<figure><div class="pictures">{"".join(map(_picture, pictures))}</div>'
        f"<figcaption><b>{escape(title)}</b>{escape(line)}</figcaption></figure>"
        for pictures, title, line in figures
    )
    return f'<div class="gallery{" pairs" if paired else ""}">{inner}</div>'


def histograms(values: Mapping[str, Sequence[float] | Tally]) -> str:
    """Histograms side by side: title -> values."""
    inner = "".join(
        f'<div class="panel"><h3>{escape(title)}</h3>{histogram(numbers)}</div>' for title, numbers in values.items()
    )
    return f'<div class="charts">{inner}</div>'


def histogram(values: Sequence[float] | Tally, bins: int = 24) -> str:
    """Histogram as SVG, from the smallest value to the largest."""
    numbers, times = counted(values)
    if len(numbers) == 0:
        return "<p>none</p>"
    low, high = float(numbers.min()), float(numbers.max())
    if (numbers == numbers.round()).all() and high - low < bins:
        # Counts: one bar for each.
        low, high, bins = low - 0.5, high + 0.5, int(high - low) + 1
    elif low == high:
        low, high = low - 0.5, high + 0.5
    shown = (float(numbers.min()), (low + high) / 2, float(numbers.max()))
    counts, edges = np.histogram(numbers, bins=bins, range=(low, high), weights=times)
    step, left, top = (WIDTH - 40) / bins, 34, 12
    bars = []
    for index, count in enumerate(counts):
        height = (BASE - top) * count / counts.max()
        hint = f"{number(edges[index])} to {number(edges[index + 1])}: {count}"
        bars.append(
            f'<rect x="{left + index * step:.1f}" y="{BASE - height:.1f}" width="{step - 1:.1f}" height="{height:.1f}">'
            f"<title>{hint}</title></rect>"
        )
    middle = left + (WIDTH - 40) / 2
    ticks = "".join(
        f'<text x="{x:.0f}" y="{BASE + 15}" text-anchor="{anchor}">{number(value)}</text>'
        for x, anchor, value in zip((left, middle, WIDTH - 6), ("start", "middle", "end"), shown, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><line x1="{left}" y1="{BASE}" x2="{WIDTH - 6}" y2="{BASE}"/>'
        f'<text x="{left - 5}" y="{top + 6}" text-anchor="end">{counts.max()}</text>'
        f'<text x="{left - 5}" y="{BASE}" text-anchor="end">0</text>{"".join(bars)}{ticks}'
        f'<text x="{left}" y="{BASE + 30}">n = {times.sum()}, median {number(median(values))}</text></svg>'
    )


def curves(lines: Mapping[str, tuple[FloatArray, FloatArray]], x: str, y: str) -> str:
    """Lines in the unit square as SVG, their names beside it: name -> x and y, NaN left out."""
    left, top, right = 34, 12, WIDTH - 116
    across, up = right - left, BASE - top
    drawn = [
        f'<line x1="{left}" y1="{BASE}" x2="{right}" y2="{BASE}"/>',
        f'<line x1="{left}" y1="{top}" x2="{left}" y2="{BASE}"/>',
        f'<text x="{left}" y="{BASE + 30}">{escape(y)} over {escape(x)}</text>',
    ]
    for value in (0, 0.5, 1):
        drawn.append(f'<text x="{left + across * value}" y="{BASE + 15}" text-anchor="middle">{value:g}</text>')
        drawn.append(f'<text x="{left - 5}" y="{BASE - up * value + 4}" text-anchor="end">{value:g}</text>')
    for index, (name, (xs, ys)) in enumerate(lines.items()):
        colour, height = f'class="line{index % LINES}"', top + 16 * index + 8
        known = zip(xs[np.isfinite(ys)], ys[np.isfinite(ys)], strict=True)
        points = " ".join(f"{left + across * at:.1f},{BASE - up * value:.1f}" for at, value in known)
        drawn.append(f'<polyline {colour} points="{points}"><title>{escape(name)}</title></polyline>')
        drawn.append(f'<line {colour} x1="{right + 12}" y1="{height}" x2="{right + 26}" y2="{height}"/>')
        drawn.append(f'<text x="{right + 30}" y="{height + 4}">{escape(name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}</svg>'


def number(value: float | None) -> str:
    """A number in about four digits."""
    if value is None or math.isnan(value):
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"


def _cell(value: Any) -> str:
    if isinstance(value, (int, float)):
        return f'<td data-value="{value}">{number(value)}</td>'
    return f"<td>{escape('-' if value is None else str(value))}</td>"


def _picture(picture: Picture) -> str:
    note = f"<em>{escape(picture.note)}</em>" if picture.note else ""
    source = "data:image/webp;base64,"
    return (
        f'<div class="picture"><img class="drawn" loading="lazy" src="{source}{picture.drawn}" alt="instances">'
        f'<img class="plain" loading="lazy" src="{source}{picture.plain}" alt="image">{note}</div>'
    )
