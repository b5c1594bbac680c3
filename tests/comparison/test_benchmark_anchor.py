"""The anchor: both models train on the same images for about the same time, and are scored by the same evaluator."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_anchor


@pytest.mark.slow
def test_a_tiny_run_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_anchor, "FOLDER", tmp_path)
    monkeypatch.setattr(benchmark_anchor, "PILOT", 1)
    anchor, ours = benchmark_anchor.main(tmp_path / "rows.json", "cpu", steps=2, side=64, images=10)
    assert anchor["steps"] == 2
    assert ours["steps"] >= 1
    assert all(0 <= row["segm_map"] <= row["segm_map_50"] <= 1 for row in (anchor, ours))
    assert (tmp_path / "rows.json").is_file()
    assert "torchvision Mask R-CNN" in capsys.readouterr().out
