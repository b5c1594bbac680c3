"""The benchmark of crops: both runs of a pair, tiny."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_crops


@pytest.mark.slow
def test_crops_show_objects_as_they_are_on_disk(tmp_path: Path) -> None:
    shrunk, cropped = benchmark_crops.rows_of([1], tmp_path, images=4, across=2, short=128, steps=2)
    assert (shrunk["images"], cropped["images"]) == ("shrunk to 128", "cropped to 128")
    assert cropped["network pixels"] == pytest.approx(2 * shrunk["network pixels"], rel=1e-6)  # mosaics of 256 pixels
    for row in (shrunk, cropped):
        assert 0 <= row["mAP"] <= 1
        assert float(row["mAP of each seed"]) == pytest.approx(row["mAP"], abs=1e-3)
