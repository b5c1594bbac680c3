import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.table import print_table
from gains.plain import write_csv, write_json


def test_json_is_plain_and_nan_is_null(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"a": math.nan, "b": np.float32(0.5), "c": (1, np.int64(2)), "d": tmp_path})
    content = json.loads((tmp_path / "new" / "a.json").read_text())
    assert content == {"a": None, "b": 0.5, "c": [1, 2], "d": str(tmp_path)}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_csv_has_a_header_and_empty_cells_for_nan(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": math.nan}, {"x": 2, "y": 0.5}])
    assert (tmp_path / "a.csv").read_text().split() == ["x,y", "1,", "2,0.5"]


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_thresholds_categories_and_notes_whole(width: int) -> None:
    results = InstanceSegmentationEvaluator({1: "cell", 2: "nucleus"}, 150, 0.35).compute()
    results["notes"] = ["something [to] know"]
    ends = {name: [0.25, 0.75] for name in results["metrics"]}
    results["metrics"]["aji"] = results["per_category"]["cell"]["aji"] = 0.5
    results["intervals"] = {"metrics": ends, "per_category": {"cell": ends}}
    console = Console(file=io.StringIO(), width=width)
    print_table(results, "title", console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    (line,) = [line for line in text.splitlines() if line.strip().startswith("AJI standard")]
    assert line.split()[2:4] == [">=", "0.35"]
    assert "0.5000" in line
    assert "[0.2500, 0.7500]" in text
    assert "nucleus" in text
    assert "best 150" in text
    assert "something [to] know" in text
    assert "…" not in text


@pytest.mark.parametrize("name", ["[red]x[/bold]", "[/]", "[link=a]b", "x\\[y]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    """Rich would take them for markup, and end over a tag that closes nothing."""
    results = InstanceSegmentationEvaluator({1: name, 2: "cell"}, 100, 0.5).compute()
    console = Console(file=io.StringIO(), width=200)
    print_table(results, f"title {name}", console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum(name in line for line in lines) == 2  # title and header
