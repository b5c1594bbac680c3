"""Shipped models find objects of any size about equally well: by their diameter, and where nobody says it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_scale
from benchmark_mosaics import mosaic_of_cells, mosaic_of_nuclei


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("cells", 0.9), ("nuclei", 0.7)])
def test_objects_drawn_at_four_sizes_are_found_alike(name: str, least: float) -> None:
    drawn = mosaic_of_cells(2, (7, 10)) if name == "cells" else mosaic_of_nuclei(2, (12, 20))
    rows = [benchmark_scale.shipped_row(name, zoom, drawn) for zoom in (0.5, 1, 2, 3)]
    for way, spread in (("by diameter", 0.03), ("by default", 0.06)):
        f1 = [row[way] for row in rows]
        assert min(f1) > least, rows
        assert max(f1) - min(f1) <= spread, rows
