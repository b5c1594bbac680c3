"""Tables of measurements, a row per instance."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gains.export.export import Export
from gains.files import replacing
from gains.plain import cell


def write_csv(path: Path, export: Export) -> None:
    """Write the measurements of one image (see :func:`gains.export.measure.measure`)."""
    table = export.table.assign(category=export.table.category.map(cell))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def merge_csv(written: Sequence[tuple[str, Path]], target: Path) -> None:
    """Join files of :func:`write_csv` into one table, the name of the image in front of each row."""
    tables = []
    for name, path in written:
        table = pd.read_csv(path, dtype={"overlap_ids": str, "parent_id": "Int64"})
        table.insert(0, "image", cell(name))
        tables.append(table)
    if tables:
        with replacing(target) as temporary:
            pd.concat(tables, ignore_index=True).to_csv(temporary, index=False)
