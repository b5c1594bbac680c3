"""Tables of measurements, a row per instance."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gains.export.export import Export
from gains.files import replacing
from gains.plain import cell

DIGITS = 7
"""Significant digits of a measurement: more than any of them is exact to."""


def write_csv(path: Path, export: Export) -> None:
    """Write the measurements of one image (see :func:`gains.export.measure.measure`)."""
    table = export.table.assign(category=export.table.category.map(cell))
    with replacing(path) as temporary:
        readable(table).to_csv(temporary, index=False)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Measurements as they are shown: scores with four decimals, other fractions with seven digits."""
    fractions = table.select_dtypes("floating").columns
    shown = table.assign(**{name: table[name].map(_rounded) for name in fractions})
    return shown.assign(score=table.score.round(4))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def merge_csv(written: Sequence[tuple[str, Path]], target: Path) -> None:
    """Join files of :func:`write_csv` into one table, the name of the image in front of each row.

    Cells are copied as they are. A column that some images do not have (gray and colour ones differ) stays empty there.
    """
    columns = {"image": None}
    for _, path in written:
        with path.open(newline="", encoding="utf-8") as file:
            columns |= dict.fromkeys(next(csv.reader(file), []))
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as joined:
        writer = csv.DictWriter(joined, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        for name, path in written:
            with path.open(newline="", encoding="utf-8") as file:
                writer.writerows({"image": cell(name), **row} for row in csv.DictReader(file))
