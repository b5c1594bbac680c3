"""Losses and validation metrics of a run over its steps."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gains.files import replacing
from gains.metrics.names import HEADLINES

LOSS_AXIS: dict[str, Any] = {"title": "training losses", "yscale": "log"}
METRIC_AXIS: dict[str, Any] = {"title": "validation", "ylim": (0, 1)}


def plot_losses(metrics_csv: Path, output: Path) -> None:
    """Draw the training losses and validation metrics of a run over its steps.

    Where nothing was logged (a run shorter than its logging interval), no picture is written.

    Args:
        metrics_csv: written by Lightning's CSVLogger, with columns ``step``, ``train/...`` and ``val/...``.
        output: PNG to write.
    """
    if not metrics_csv.is_file() or not metrics_csv.stat().st_size:
        return
    table = pd.read_csv(metrics_csv)
    losses = [name for name in table.columns if name.startswith("train/loss")]
    metrics = [name for metric in HEADLINES if (name := f"val/{metric.name}") in table.columns]
    drawn = [(names, style) for names, style in [(losses, LOSS_AXIS), (metrics, METRIC_AXIS)] if names]
    if not drawn:
        return
    figure = Figure(figsize=(7 * len(drawn), 4), dpi=120, layout="constrained")
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axis, (names, style) in zip(axes, drawn, strict=True):
        for name in names:
            points = table[["step", name]].dropna()
            width, marker = (2.4 if name == "train/loss" else 1.2), ("o" if len(points) < 25 else None)
            axis.plot(points["step"], points[name], label=name.split("/")[1], lw=width, marker=marker, ms=3)
        axis.set(xlabel="step", **style)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    with replacing(output) as temporary:
        figure.savefig(temporary, format="png")
