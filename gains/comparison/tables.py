"""A comparison as tables, and tables as Markdown, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gains.comparison.collect import Run
from gains.comparison.statistics import Difference, Resampled, Unit, compare, mean_ranks, spread, units_of
from gains.metrics.arrangement import GROUPS
from gains.metrics.names import BY_NAME
from gains.metrics.subregions import by_arrangement
from gains.plain import cell

COLUMNS = {name: BY_NAME[name].short for name in ("segm_map", "segm_map_50", "segm_map_75", "aji", "pq", "f1_50")}
"""Metrics of the main table, by name."""
REGIONS = {"covered_recall": "covered part", "rest_recall": "the rest", "precision": "precision"}


@dataclass(frozen=True)
class Table:
    """A title, a header and rows of text."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Comparison:
    """All that a study says.

    Attributes:
        runs: the finished runs.
        datasets: names, in order of appearance.
        models: names, the best mean rank first.
        baseline: the method that others are compared with.
        metric: that ranks and sentences are about.
        differences: data set -> method -> metric -> paired difference to the baseline.
        ranks: method -> mean rank over data sets.
    """

    runs: list[Run]
    datasets: list[str]
    models: list[str]
    baseline: str
    metric: str
    differences: dict[str, dict[str, dict[str, Difference]]] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)

    def units(self, dataset: str, model: str) -> dict[Unit, Run]:
        """Runs of one method on one data set."""
        return units_of(self.runs, dataset, model)

    @classmethod
    def of(cls, runs: Sequence[Run], baseline: str, metric: str, samples: int, seed: int) -> "Comparison":
        """Compare finished runs.

        Raises:
            InputError: if runs of one data set, seed and fold tested different images.
        """
        datasets = list(dict.fromkeys(run.key.dataset for run in runs))
        found = list(dict.fromkeys(run.key.model for run in runs))
        values = {
            dataset: {model: spread(units, metric)[0] for model in found if (units := units_of(runs, dataset, model))}
            for dataset in datasets
        }
        ranks = mean_ranks(values)
        models = sorted(found, key=lambda model: (math.isnan(ranks[model]), ranks[model], model))
        known: Resampled = {}
        differences = {
            dataset: {
                model: compare(
                    units_of(runs, dataset, model),
                    units_of(runs, dataset, baseline),
                    list(COLUMNS),
                    samples,
                    seed,
                    known,
                )
                for model in models
                if model != baseline
            }
            for dataset in datasets
        }
        return cls(list(runs), datasets, models, baseline, metric, differences, ranks)


def tables(comparison: Comparison) -> list[Table]:
    """Results of every data set, differences to the baseline, mean ranks, scores by arrangement, costs, machines."""
    return [
        *(_results(comparison, dataset) for dataset in comparison.datasets),
        _differences(comparison),
        _ranks(comparison),
        *(_arrangements(comparison, dataset) for dataset in comparison.datasets),
        _costs(comparison),
        _machines(comparison),
    ]


def sentences(comparison: Comparison) -> list[str]:
    """What the differences allow to say, one sentence for each method and data set."""
    title = COLUMNS.get(comparison.metric, comparison.metric)
    return [
        f"{dataset}: {difference[comparison.metric].sentence(model, comparison.baseline, title)}"
        for dataset, of_dataset in comparison.differences.items()
        for model, difference in of_dataset.items()
        if comparison.metric in difference
    ]


def _results(comparison: Comparison, dataset: str) -> Table:
    rows = []
    for model in comparison.models:
        units = comparison.units(dataset, model)
        if units:
            cells = [_spread(*spread(units, name)) for name in COLUMNS]
            rows.append([model, *cells, str(len({seed for seed, _ in units})), str(len({fold for _, fold in units}))])
    return Table(
        f"{dataset}: mean ± standard deviation over seeds", ["method", *COLUMNS.values(), "seeds", "folds"], rows
    )


def _differences(comparison: Comparison) -> Table:
    rows = [
        [dataset, model, *(_difference(difference[name]) for name in COLUMNS)]
        for dataset, of_dataset in comparison.differences.items()
        for model, difference in of_dataset.items()
        if difference
    ]
    title = f"Difference to {comparison.baseline}, paired by seed and image, with 95 % intervals"
    return Table(title, ["data set", "method", *COLUMNS.values()], rows)


def _ranks(comparison: Comparison) -> Table:
    rows = [[model, _plain(comparison.ranks[model], 2)] for model in comparison.models]
    metric = COLUMNS.get(comparison.metric, comparison.metric)
    return Table(f"Mean rank by {metric} over {', '.join(comparison.datasets)}", ["method", "mean rank"], rows)


def _arrangements(comparison: Comparison, dataset: str) -> Table:
    """Recall and mean IoU by group, and scores of the covered part; sums over all units."""
    rows = []
    for model in comparison.models:
        scores = [score for run in comparison.units(dataset, model).values() if (score := _arranged(run)) is not None]
        if scores:
            cells = []
            for group in GROUPS:
                of_group = [score["groups"][group] for score in scores]
                recall, iou = (_mean([each[name] for each in of_group]) for name in ("recall", "mean_iou"))
                cells.append(f"{_plain(recall)} / {_plain(iou)}")
            cells += [_plain(_mean([score["covered"][name] for score in scores])) for name in REGIONS]
            rows.append([model, *cells])
    header = ["method", *(f"{group} (recall / mean IoU)" for group in GROUPS), *REGIONS.values()]
    return Table(f"{dataset}: by how instances lie, and of covered ones by sub-region", header, rows)


def _arranged(run: Run) -> dict[str, Any] | None:
    found = by_arrangement({name: category.lie for name, category in run.stored.statistics.items()})
    result: dict[str, Any] | None = found.get("all")
    return result


def _costs(comparison: Comparison) -> Table:
    rows = []
    for dataset in comparison.datasets:
        for model in comparison.models:
            costs = [run.results.get("costs", {}) for run in comparison.units(dataset, model).values()]
            if costs:
                names = ("training_seconds", "inference_seconds_per_image", "parameters")
                means = [_mean([cost.get(name) for cost in costs]) for name in names]
                cells = [_plain(means[0], 0), _plain(means[1]), _plain(means[2] and means[2] / 1e6, 1)]
                rows.append([dataset, model, *cells])
    return Table("Costs", ["data set", "method", "training (s)", "inference (s/image)", "parameters (M)"], rows)


def _machines(comparison: Comparison) -> Table:
    """Commit, processor and versions, with the number of runs made with each."""
    names = {"commit": 12, "processor": None, "threads": None, "precision": None, "python": None}
    found: dict[tuple[str, ...], int] = {}
    for made_with in (run.environment for run in comparison.runs if run.environment):
        row = [str(made_with.get(name, "-"))[:length] for name, length in names.items()]
        row += [", ".join(made_with.get("devices", [])) or "-", str(made_with.get("packages", {}).get("torch", "-"))]
        found[tuple(row)] = found.get(tuple(row), 0) + 1
    rows = [[str(count), *row] for row, count in found.items()]
    return Table("Made with", ["runs", *names, "GPU", "torch"], rows)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plain(value: float | None, digits: int = 3) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _spread(mean: float, deviation: float) -> str:
    return _plain(mean) if math.isnan(deviation) else f"{mean:.3f} ± {deviation:.3f}"


def _difference(difference: Difference) -> str:
    if math.isnan(difference.value):
        return "-"
    return f"{difference.value:+z.3f} [{difference.low:+z.3f}, {difference.high:+z.3f}]"


def markdown(table: Table) -> str:
    """A table for a README or a results page."""
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return f"**{table.title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_csv(table: Table) -> str:
    """A table for a spreadsheet, in which no name is taken for a formula."""
    buffer = io.StringIO()
    rows = [[cell(name), *values] for name, *values in table.rows]
    csv.writer(buffer, lineterminator="\n").writerows([[cell(name) for name in table.header], *rows])
    return buffer.getvalue()


LATEX = {"{": r"\{", "}": r"\}", "±": r"$\pm$", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#"}


def latex(table: Table) -> str:
    """A ``tabular`` (booktabs) in a ``table``, for a paper."""
    rows = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{_latex(table.title)}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
            r"\toprule",
            " & ".join(_latex(cell) for cell in table.header) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _latex(text: str) -> str:
    for plain, escaped in LATEX.items():
        text = text.replace(plain, escaped)
    return text
