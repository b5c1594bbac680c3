"""The results page: from kept runs and tables to Markdown; the page in docs is that of the results that are here."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gains.comparison.collect import collect

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import results_page

ROOT = results_page.ROOT


def test_a_study_is_its_text_and_its_tables(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "about.md").write_text("## Tried\n\nOn validation data.\n")
    (tmp_path / "search" / "all_trials.csv").write_text("form,mAP\nplain,0.400\nheavy,0.500\n")
    (tmp_path / "no_study").mkdir()
    text = results_page.page(tmp_path)
    assert (
        text.index("# Results")
        < text.index("## Tried")
        < text.index("**all trials**")
        < text.index("| heavy | 0.500 |")
    )


@pytest.mark.skipif(not results_page.studies(ROOT / "results"), reason="no results are kept here")
def test_the_page_in_docs_has_the_means_of_the_runs_that_are_kept() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    for folder in results_page.studies(ROOT / "results"):
        files = sorted(folder.rglob("results.json"))
        if not files:
            continue
        maps: dict[tuple[str, str], list[float]] = {}
        for run in collect([folder]):
            plain = json.loads((run.folder / "results.json").read_text())
            if run.key.fold < 0:  # the mAP of pooled folds is no mean
                maps.setdefault((run.key.dataset, run.key.model), []).append(plain["metrics"]["segm_map"])
        assert maps
        for (_, model), values in maps.items():
            line = re.search(rf"\| {model} \| {np.mean(values):.3f} ± {np.std(values, ddof=1):.3f} \|", text)
            assert line, f"docs/results.md is not that of {folder}: python scripts/results_page.py"
