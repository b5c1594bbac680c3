"""Plain data in files that other programs read: JSON without NaN, CSV that no spreadsheet takes for formulas."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gains.files import replacing

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to a spreadsheet, which may run programs."""


def cell(text: str) -> str:
    """A text as a spreadsheet shows it: what looks like a formula gets an apostrophe in front."""
    return f"'{text}" if text.startswith(FORMULA) else text


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON whole or not at all: under a temporary name first, then renamed. NaN and infinity become null."""
    with replacing(Path(path)) as temporary:
        text = json.dumps(to_plain(content), indent=2, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the keys of the first as header, whole or not at all. NaN becomes an empty cell.

    Fractions have four digits behind the point: they are for people to read, and files for programs are JSON.
    """
    with replacing(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        for row in rows:
            plain: dict[str, Any] = to_plain(row)
            writer.writerow({key: _shown(value) for key, value in plain.items()})


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    return cell(value) if isinstance(value, str) else value


def to_plain(value: Any) -> Any:
    """The same value as plain JSON types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
