"""The page of a search: points where the values are, a line that never falls, bars as long as the shares."""

import re
from pathlib import Path

import pytest

from gains.reports.search import Trial, bars, history, write_search

TRIALS = [
    Trial(0, "complete", 0.2, {"lr": 0.1}),
    Trial(1, "fail", None, {"lr": 9.0}),
    Trial(2, "complete", 0.5, {"lr": 0.01}),
    Trial(3, "pruned", 0.1, {"lr": 0.3}),
    Trial(4, "complete", 0.4, {"lr": 0.02}),
]


def test_the_page_names_the_best_and_lists_all(tmp_path: Path) -> None:
    write_search(tmp_path / "report.html", TRIALS, {"lr": 1.0})
    page = (tmp_path / "report.html").read_text()
    assert 'class="lead">lr=0.01<' in page
    assert page.count("<tr>") == 1 + len(TRIALS)
    assert "<b>0.500</b>" in page


def test_too_few_trials_say_so(tmp_path: Path) -> None:
    write_search(tmp_path / "report.html", TRIALS[:1], {})
    assert "four finished trials" in (tmp_path / "report.html").read_text()


def test_the_line_is_the_best_so_far() -> None:
    drawn = history([trial for trial in TRIALS if trial.state == "complete"])
    [line] = re.findall(r'points="([^"]*)"', drawn)
    heights = [float(y) for y in re.findall(r"[\d.]+,([\d.]+)", line)]
    points = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    # Up in a picture is down in numbers.
    assert heights == [points[0], points[1], points[1]]
    assert points[1] < points[2] < points[0]
    assert points[2] == pytest.approx(points[1] + (points[0] - points[1]) / 3, abs=0.1)


def test_bars_are_as_long_as_the_shares() -> None:
    widths = [float(width) for width in re.findall(r'<rect[^>]*width="([\d.]+)"', bars({"a": 0.25, "b<": 0.75}))]
    assert widths[0] == pytest.approx(3 * widths[1], abs=0.2)
    assert "b&lt;" in bars({"b<": 1.0})
