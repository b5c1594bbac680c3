"""The arithmetic of the estimate, and that the benchmarks of large data and of the pipeline run, tiny."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_data
import benchmark_estimate
import benchmark_scaling


def test_the_estimate_is_plain_arithmetic() -> None:
    costs = benchmark_estimate.UnitCosts(tile=0.01, field=0.5, read=4.0, written=1.0)
    rows = {row["what"]: row["amount"] for row in benchmark_estimate.estimate(costs, 25, "cuda")}
    hours = 1e6 * 25 * 0.01 / 64 / 3600
    assert rows["network"] == pytest.approx(hours)
    assert rows["cores for each device"] == pytest.approx(2.0)
    assert (rows["images read"], rows["results written"]) == (pytest.approx(4.0), pytest.approx(1.0))
    # 64 devices do 256 fields a second, of 5 MB each.
    assert rows["traffic to storage"] == pytest.approx(256 * 5 * 8 / 1000)
    assert rows["devices"] == pytest.approx(hours * 64 * 2.5)


def test_data_of_two_sizes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_data, "INSTANCES", 5)
    benchmark_data.main(tmp_path / "data.json", images=1, scales=(1, 3))
    rows = json.loads((tmp_path / "data.json").read_text())["rows"]
    assert [row["annotations"] for row in rows] == [5, 15]
    assert all(row["start s"] >= 0 and row["worker MB"] >= 0 for row in rows)
    assert all(row["score s"] > 0 and row["report s"] > 0 for row in rows)


@pytest.mark.slow
def test_processes_and_data_are_measured_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(benchmark_data, "INSTANCES", 5)
    file = tmp_path / "scaling.json"
    benchmark_scaling.main(file, scales=(1, 2), processes=(1, 2), steps=2, images=2, side=64, data_images=1)
    rows = json.loads(file.read_text())["rows"]
    assert [(row["what"], row["processes"], row["speed"]) for row in rows if row.get("processes") == 1] == [
        ("train", 1, 1),
        ("predict", 1, 1),
        ("predict, Dask", 1, 1),
    ]
    assert [row["what"] for row in rows if row.get("processes") == 2] == ["train", "predict, Dask"]
    assert all(row["images/s"] > 0 and row["MB each"] > 0 for row in rows if "what" in row)
    assert [row["annotations"] for row in rows if "annotations" in row] == [5, 10]
