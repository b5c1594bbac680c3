"""The page of a search for settings: the best value so far, what each setting does to it, and which settings matter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gains.metrics.names import MAIN
from gains.reports.html import bullets, cards, number, section, table, write_page

WIDTH, HEIGHT, LEFT, BASE, TOP = 460, 200, 60, 165, 14


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes:
        number: from 0.
        state: ``complete``, ``pruned``, ``fail`` or ``running``.
        value: the best validation metric; None without.
        settings: what was chosen.
    """

    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]


def write_search(path: Path, trials: Sequence[Trial], importances: Mapping[str, float]) -> None:
    """Write the page.

    Args:
        path: of the page.
        trials: all of them, at least one of them complete.
        importances: share of each setting in what makes trials good; empty where there are too few trials.
    """
    done = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    best = max(done, key=lambda trial: trial.value or 0.0)
    names = sorted({name for trial in trials for name in trial.settings})
    summary = {
        "trials": number(len(trials)),
        "finished": number(len(done)),
        "pruned": number(sum(trial.state == "pruned" for trial in trials)),
        f"best validation {MAIN}": number(best.value),
    }
    weight = bars(importances) if importances else bullets(["at least four finished trials are needed"], "notes")
    parts = [
        cards(summary),
        section("Value of each trial, and the best so far", f'<div class="charts">{history(done)}</div>'),
        section("Which settings matter (PED-ANOVA)", weight),
        section(
            "All trials",
            table(
                ["trial", "state", MAIN, *names],
                [
                    [trial.number, trial.state, trial.value, *(trial.settings.get(name) for name in names)]
                    for trial in trials
                ],
            ),
        ),
    ]
    write_page(path, "Search", " ".join(f"{name}={value}" for name, value in best.settings.items()), parts)


def history(done: Sequence[Trial]) -> str:
    """A point per finished trial, and a line of the best value up to it."""
    values = [trial.value or 0.0 for trial in done]
    low, high = min(values), max(values)
    span, last = (high - low) or 1.0, max(trial.number for trial in done) or 1

    def place(trial: Trial, value: float) -> tuple[float, float]:
        across = (WIDTH - LEFT - 20) * trial.number / last
        return LEFT + across, BASE - (BASE - TOP) * (value - low) / span

    points, steps, best = [], [], low
    for trial, value in zip(done, values, strict=True):
        x, y = place(trial, value)
        best = max(best, value)
        steps.append("{:.1f},{:.1f}".format(*place(trial, best)))
        points.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#3465a4" fill-opacity="0.75">'
            f"<title>trial {trial.number}: {value:.4f}</title></circle>"
        )
    line = f'<polyline points="{" ".join(steps)}" fill="none" stroke="#c4561b" stroke-width="1.6"/>'
    axis = (
        f'<line x1="{LEFT - 8}" y1="{BASE + 8}" x2="{WIDTH - 6}" y2="{BASE + 8}"/>'
        f'<text x="{LEFT - 12}" y="{TOP + 4}" text-anchor="end">{high:.3f}</text>'
        f'<text x="{LEFT - 12}" y="{BASE}" text-anchor="end">{low:.3f}</text>'
        f'<text x="{WIDTH - 6}" y="{BASE + 24}" text-anchor="end">trial {last}</text>'
    )
    return (
        f'<div class="panel"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axis}{line}{"".join(points)}</svg></div>'
    )


def bars(importances: Mapping[str, float]) -> str:
    """A bar per setting, the most important first."""
    ordered = sorted(importances.items(), key=lambda entry: -entry[1])
    wide, height = 180, 20 + 24 * len(ordered)
    rows = []
    for index, (name, share) in enumerate(ordered):
        y, length = 8 + 24 * index, (WIDTH - wide - 60) * share
        rows.append(
            f'<text x="{wide - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{wide}" y="{y}" width="{length:.1f}" height="16"/>'
            f'<text x="{wide + length + 6:.1f}" y="{y + 12}">{share:.2f}</text>'
        )
    return (
        f'<div class="charts"><div class="panel"><svg viewBox="0 0 {WIDTH} {height}" role="img">'
        f"{''.join(rows)}</svg></div></div>"
    )
