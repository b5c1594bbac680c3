"""Tables as people and spreadsheets read them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gains.errors import InputError
from gains.export.csv import merge_csv
from gains.export.export import Export
from gains.masks import InstanceCrops
from gains.plain import write_csv
from gains.prediction.result import Prediction
from helpers.nested import nested


def test_parents_and_overlaps_within_a_category() -> None:
    table = nested().measure()
    assert table.parent_id.tolist() == [pd.NA, 1, pd.NA]
    assert table.overlap_area.tolist() == [30 * 4, 0, 30 * 4]
    assert table.overlap_ids.tolist() == ["3", "", "1"]


def test_tables_show_few_digits(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(0, 60_000, (40, 60))
    found = replace(nested(), scores=np.array([0.9982398748397827, 2 / 3, 0.5]))
    csv_file, geojson, coco = found.save(tmp_path, "a", ["csv", "geojson", "coco"], image, pixel_size_um=0.000123456)
    table = pd.read_csv(csv_file, dtype=str)
    assert table.score.tolist() == ["0.9982", "0.6667", "0.5"]
    exact = found.measure(image, 0.000123456)
    for name in ("x", "perimeter", "mean_intensity", "area_um2"):
        assert max(len(value.split("e")[0].strip("-0.").replace(".", "")) for value in table[name]) <= 7
        np.testing.assert_allclose(table[name].astype(float), exact[name], rtol=1e-6)
    assert json.loads(geojson.read_text())["features"][1]["properties"]["measurements"]["score"] == 0.6667
    assert json.loads(coco.read_text())["annotations"][0]["score"] == 0.9982398748397827


def test_tables_of_unlike_images_join(tmp_path: Path) -> None:
    """Gray and colour, and a category that pandas would read as a missing value."""
    named = replace(nested(), categories=["NA", "nucleus"])
    gray = named.save(tmp_path, "gray", ["csv"], np.ones((40, 60)))[0]
    colour = named.save(tmp_path, "colour", ["csv"], np.ones((40, 60, 3)))[0]
    merge_csv([("gray", gray), ("b,c", colour)], tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv", keep_default_na=False, dtype=str)
    assert table.columns[0] == "image"
    assert table.image.tolist() == ["gray"] * 3 + ["b,c"] * 3
    assert table.category.tolist() == ["NA", "nucleus", "NA"] * 2
    assert table.mean_intensity.tolist() == ["1.0"] * 3 + [""] * 3
    assert table.mean_red.tolist() == [""] * 3 + ["1.0"] * 3
    assert table.parent_id.tolist() == ["", "1", ""] * 2


def test_the_parent_is_the_smallest_that_holds_all() -> None:
    masks = np.zeros((4, 30, 30), bool)
    masks[0, 2:28, 2:28] = masks[1, 5:20, 5:20] = masks[2, 8:12, 8:12] = masks[3, 0:5, 20:30] = True
    crops = InstanceCrops.from_dense(torch.from_numpy(masks))
    nests = Prediction(crops, np.ones(4), np.array([1, 2, 3, 3]), ["cell", "nucleus", "nucleolus"])
    # The last lies in the cell with 3 of its 5 rows and 8 of its 10 columns: less than half.
    assert nests.measure().parent_id.tolist() == [pd.NA, 1, 2, pd.NA]


def test_no_formula_reaches_a_spreadsheet(tmp_path: Path) -> None:
    evil = Prediction(nested().masks, nested().scores, nested().labels, ['=HYPERLINK("x")', "@nucleus"])
    [path] = evil.save(tmp_path, "a", ["csv"])
    merge_csv([("=cmd|' /C calc'!A0", path)], tmp_path / "all.csv")
    table = pd.read_csv(tmp_path / "all.csv", dtype=str)
    for name in ("image", "category"):
        assert all(value.startswith("'") for value in table[name])
    write_csv(tmp_path / "rows.csv", [{"file": "+1", "value": -1.5}])
    assert (tmp_path / "rows.csv").read_text() == "file,value\n'+1,-1.5\n"


def test_json_without_infinity(tmp_path: Path) -> None:
    image = np.full((40, 60), np.inf, np.float32)
    [path] = nested().save(tmp_path, "a", ["geojson"], image)
    features = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["features"]
    assert "mean_intensity" not in features[0]["properties"]["measurements"]


@pytest.mark.parametrize("side", [0, -0.5, float("nan"), float("inf"), "0.25"])
def test_a_pixel_has_a_size(side: Any) -> None:
    with pytest.raises(InputError, match=r"pixel_size_um=.*above 0"):
        Export(nested(), pixel_size_um=side)
