"""How good a model is after few images: from scratch, and from weights that come with the program.

Run as ``python scripts/benchmark.py finetune --data FOLDER`` with a FOLDER of prepared data sets (``gains prepare``).
Of the training and validation images of a data set 1, 2, 5, 10, 20 and all are learned from, those for validation
counted in; the test images are the same untouched ones each time. Both starts are the same network at the same size,
and train until validation stops rising. 0 images are the weights as they are. Each run leaves a line in
``results/finetune/NAME.csv`` when it ends and is skipped when it is there, so that a call which was stopped goes on.
The figure for the documentation is drawn from these files; without ``--data`` that is all that is done.
"""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from benchmark_tools import print_rows, write_rows
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, ScalarFormatter

from gains.comparison.collect import CURVES, curve
from gains.data.splits import shuffled

KEPT = Path("results") / "finetune"
FOLDER = Path("outputs") / "benchmark_finetune"
FIGURE = Path("docs") / "images" / "finetune.png"
ALL = "all"
COUNTS = ("0", "1", "2", "5", "10", "20", ALL)
"""Images learned from."""
LABELS = {"scratch": ("from scratch", "#6b7280"), "weights": ("from shipped weights", "#1d4ed8")}
METRICS = {"mAP": "segm_map", "AP50": "segm_map_50", "AJI": "aji", "F1": "f1_50"}
COLUMNS = ("start", "asked", "images", "validation images", "seed", *METRICS, "validation mAP", "steps", "minutes")
SCRATCH = ("augmentation=strong", "callbacks=early_stop", "trainer.max_steps=1000", "trainer.val_check_interval=50")


@dataclass(frozen=True)
class Task:
    """A data set and the weights that suit it.

    Attributes:
        name: of the file that holds its figures.
        prepared: name of the prepared folder.
        dataset: name in ``conf/dataset``.
        weights: what ``model.weights`` takes.
        pool: splits whose images may be learned from. Images that the weights have learned from stand in none.
        settings: further settings of both starts.
    """

    name: str
    prepared: str
    dataset: str
    weights: str
    pool: tuple[str, ...] = ("train", "val")
    settings: tuple[str, ...] = ("dataset.short_side=256",)  # at which the weights were trained


TASKS = {
    task.name: task
    for task in (
        Task("isbi2014", "isbi2014", "isbi2014", "cells@2"),
        # The weights learned from the training images of this folder; its groups for validation and test they did not.
        Task(
            "unseen_nuclei",
            "release_nuclei",
            "kaggle2018",
            "nuclei@1",
            pool=("val",),
            settings=("dataset.short_side=256", "dataset.crop=true"),
        ),
        Task("chromosomes", "chromosomes", "chromosomes", "chromosomes@1"),
    )
}


def division(splits: Mapping[str, Sequence[str]], pool: Sequence[str], count: str, seed: int) -> dict[str, list[str]]:
    """The images of a run.

    Args:
        splits: image names of the prepared folder's ``train``, ``val`` and ``test``.
        pool: splits from which is drawn.
        count: images to learn from, a number or ``all``.
        seed: of the drawing. More images are those of fewer and others.

    Returns:
        The same with that many images, a fifth of them (at least one of two or more) for validation; ``test`` as it is.

    Raises:
        ValueError: if there are not that many.
    """
    drawn = shuffled([name for split in pool for name in splits[split]], seed)
    number = len(drawn) if count == ALL else int(count)
    if number > len(drawn):
        raise ValueError(f"{number} images are asked for, there are {len(drawn)}")
    validation = math.ceil(number / 5) if number > 1 else 0
    return {"train": drawn[validation:number], "val": drawn[:validation], "test": list(splits["test"])}


def write_subset(prepared: Path, folder: Path, pool: Sequence[str], count: str, seed: int) -> dict[str, list[str]]:
    """A prepared folder of some images of another, whose image files it uses; returns the division."""
    content = json.loads((prepared / "annotations.json").read_text(encoding="utf-8"))
    sides = division(json.loads((prepared / "splits.json").read_text(encoding="utf-8")), pool, count, seed)
    used = {name for names in sides.values() for name in names}
    content["images"] = [image for image in content["images"] if Path(image["file_name"]).stem in used]
    ids = {image["id"] for image in content["images"]}
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] in ids]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "splits.json").write_text(json.dumps({"seed": seed, "official": True, **sides}), encoding="utf-8")
    if not (folder / "images").exists():
        (folder / "images").symlink_to((prepared / "images").resolve())
    return sides


def command(
    task: Task, start: str, subset: Path, sides: Mapping[str, Sequence[str]], seed: int, folder: Path
) -> list[str]:
    """Arguments of ``gains`` for one run; the weights as they are, where there is nothing to train on."""
    shared = [f"dataset={task.dataset}", f"dataset.root={subset}", "split=test", f"hydra.run.dir={folder}"]
    if not sides["train"]:
        return ["eval", f"checkpoint={task.weights}", *shared]
    own = SCRATCH if start == "scratch" else ("experiment=finetune", f"model.weights={task.weights}")
    resumed = folder / "checkpoints" / "last.ckpt"
    return [
        "train",
        *own,
        *shared,
        "model=gains",
        *task.settings,
        f"batch_size={min(4, len(sides['train']))}",
        f"validate_on={'val' if sides['val'] else 'train'}",
        "trainer.precision=auto",
        "logger=csv",
        f"seed={seed}",
        *([f"checkpoint={resumed}"] if resumed.is_file() else []),
    ]


def run(task: Task, start: str, count: str, seed: int, prepared: Path) -> None:
    """Train and evaluate once, and add the line; nothing is done if it is there."""
    table = KEPT / f"{task.name}.csv"
    if any((row["start"], row["asked"], row["seed"]) == (start, count, str(seed)) for row in read(table)):
        return
    folder = FOLDER / "runs" / f"{task.name}_{start}_{count}_{seed}"
    subset = FOLDER / "data" / f"{task.name}_{count}_{seed}"
    sides = write_subset(prepared / task.prepared, subset, task.pool, count, seed)
    if not (folder / "results.json").is_file():
        asked = command(task, start, subset, sides, seed, folder)
        subprocess.run([sys.executable, "-m", "gains.cli", *asked], check=True, stdout=sys.stderr)
    add(table, {"start": start, "asked": count, "seed": seed, **figures(folder, sides)})


def figures(folder: Path, sides: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the line of a finished run says."""
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"images": len(sides["train"]) + len(sides["val"]), "validation images": len(sides["val"])}
    found |= {title: round(float(results["metrics"][metric] or 0), 3) for title, metric in METRICS.items()}
    if sides["train"]:
        validated = curve(folder / CURVES)
        found["validation mAP"] = round(max(value for _, value in validated), 3)
        found["steps"] = validated[-1][0] + 1
        found["minutes"] = round(results["costs"]["training_seconds"] / 60, 1)
    return found


def read(table: Path) -> list[dict[str, str]]:
    """Lines that earlier calls have left."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add(table: Path, row: Mapping[str, Any]) -> None:
    """One line more. Lines of several calls at the same time do not harm each other: each is written at once."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


def draw_task(axes: Axes, name: str, rows: Sequence[Mapping[str, str]]) -> None:
    """A point for each run, a line through the means over seeds; dashed: the weights as they are."""
    for start, (label, colour) in LABELS.items():
        found: dict[int, list[float]] = {}
        for row in rows:
            if row["start"] == start:
                found.setdefault(int(row["images"]), []).append(float(row["mAP"]))
        untrained = found.pop(0, [])
        if untrained:
            axes.axhline(untrained[0], color=colour, linestyle="--", linewidth=1, label="shipped weights as they are")
        counts = sorted(found)
        axes.plot(counts, [sum(found[count]) / len(found[count]) for count in counts], color=colour, label=label)
        for count in counts:
            axes.scatter([count] * len(found[count]), found[count], color=colour, s=14)
    axes.set_xscale("log")
    axes.set_xticks(sorted({int(row["images"]) for row in rows} - {0}))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(name.replace("_", " "), fontsize=10)
    axes.set_xlabel("images, those for validation among them", fontsize=9)
    axes.grid(alpha=0.3)


def draw(tables: Mapping[str, Sequence[Mapping[str, str]]], path: Path) -> None:
    """mAP of the test images over the number of images learned from, a panel for each data set."""
    figure, axes = plt.subplots(1, len(tables), figsize=(3.6 * len(tables), 3.4), sharey=True, squeeze=False)
    for panel, (name, rows) in zip(axes[0], tables.items(), strict=True):
        draw_task(panel, name, rows)
    axes[0][0].set_ylabel("mAP on the test images")
    axes[0][0].set_ylim(bottom=0)
    axes[0][0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    output: Path | None = None,
    device: str = "cpu",
    data: Path | None = None,
    sets: Sequence[str] = tuple(TASKS),
    seeds: Sequence[int] = (1,),
    counts: Sequence[str] = COUNTS,
) -> None:
    """Train what is missing, print all lines and draw the figure; ``device`` does not count, figures are of a CPU."""
    if data is not None:
        for name, seed, count, start in product(sets, seeds, counts, LABELS):
            if (count, start) != ("0", "scratch"):
                run(TASKS[name], start, count, seed, data)
    tables = {name: rows for name in TASKS if (rows := read(KEPT / f"{name}.csv"))}
    for name, rows in tables.items():
        print_rows(name, [dict(row) for row in rows])
    if tables:
        draw(tables, FIGURE)
    write_rows(output, [{"data set": name, **row} for name, rows in tables.items() for row in rows])


if __name__ == "__main__":
    main()
