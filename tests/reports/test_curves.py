"""Curves of losses and validation metrics."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gains.reports.curves import plot_losses


def metrics_file(folder: Path, text: str) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def test_curves_show_what_was_logged(tmp_path: Path) -> None:
    rows = [
        "epoch,step,train/loss,train/loss_mask,val/segm_map,val/pq",
        "0,9,2.0,1.0,,",
        "0,19,1.0,0.5,,",
        "0,19,,,0.4,0.5",
    ]
    plot_losses(metrics_file(tmp_path, "\n".join(rows)), tmp_path / "both.png")
    plot_losses(metrics_file(tmp_path, "\n".join(row.rsplit(",", 2)[0] for row in rows)), tmp_path / "one.png")
    both, one = (np.array(Image.open(tmp_path / name).convert("RGB")) for name in ("both.png", "one.png"))
    assert both.shape[1] == 2 * one.shape[1]
    coloured = [(picture.max(2).astype(int) - picture.min(2) > 60).sum() for picture in (both, one)]
    assert coloured[0] > coloured[1] > 500
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both.png", "metrics.csv", "one.png"]


@pytest.mark.parametrize("text", [None, "epoch,step,lr\n0,9,0.1\n", ""])
def test_nothing_logged_draws_nothing(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "metrics.csv" if text is None else metrics_file(tmp_path, text)
    plot_losses(path, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
