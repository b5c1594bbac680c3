"""How good a model is after few images: from scratch, and from weights that come with the program.

Run as ``python scripts/benchmark.py finetune --data FOLDER`` with a FOLDER of prepared data sets (``gains prepare``).
Of the training and validation images of a data set 1, 2, 5, 10, 20 and all are learned from, those for validation
counted in; the test images are the same untouched ones each time. Both starts are the same network and train until
validation stops rising. Each run leaves a line in ``results/finetune/NAME.csv`` when it ends and is skipped when it is
there, so that a call which was stopped goes on. The figure for the documentation is drawn from these files.
"""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from benchmark_tools import print_rows, write_rows
from matplotlib.ticker import NullLocator, ScalarFormatter

from gains.data.splits import shuffled, split_by_ratio
from gains.files import replacing

KEPT = Path("results") / "finetune"
FOLDER = Path("outputs") / "benchmark_finetune"
FIGURE = Path("docs") / "images" / "finetune.png"
COUNTS = (1, 2, 5, 10, 20, 0)
"""Images learned from; 0 for all."""
STARTS = ("scratch", "weights")
METRICS = {"mAP": "segm_map", "AP50": "segm_map_50", "AJI": "aji", "F1": "f1_50"}
COLUMNS = ("start", "asked", "images", "of them for validation", "seed", *METRICS, "minutes")


@dataclass(frozen=True)
class Task:
    """A data set and the weights that suit it.

    Attributes:
        name: of the files that hold its figures.
        prepared: name of the prepared folder.
        dataset: name in ``conf/dataset``.
        weights: what ``model.weights`` takes.
        unseen: whether the weights were learned from the folder's training and validation images, so that its test
            images alone are divided anew, by their groups.
        settings: further settings of both starts.
    """

    name: str
    prepared: str
    dataset: str
    weights: str
    unseen: bool = False
    settings: tuple[str, ...] = ()


TASKS = {
    task.name: task
    for task in (
        Task("isbi2014", "isbi2014", "isbi2014", "cells"),
        Task("chromosomes", "chromosomes", "chromosomes", "chromosomes"),
        Task(
            "unseen_nuclei",
            "release_nuclei",
            "kaggle2018",
            "nuclei",
            unseen=True,
            settings=("dataset.crop=true", "dataset.short_side=256"),
        ),
    )
}
SCRATCH = ("trainer.max_steps=1000", "trainer.val_check_interval=50", "callbacks=early_stop", "augmentation=strong")


def division(splits: dict[str, list[str]], count: int, seed: int) -> dict[str, list[str]]:
    """The images of a run, drawn from training and validation images together.

    Args:
        splits: image names of the prepared folder's ``train``, ``val`` and ``test``.
        count: images to learn from; 0 takes all, in their own division.
        seed: of the drawing. More images are those of fewer and others.

    Returns:
        The same with that many images, a fifth of them (at least one of two or more) for validation.

    Raises:
        ValueError: if there are not that many.
    """
    if count == 0:
        return {split: list(splits[split]) for split in ("train", "val", "test")}
    drawn = shuffled([*splits["train"], *splits["val"]], seed)
    if count > len(drawn):
        raise ValueError(f"{count} images are asked for, there are {len(drawn)}")
    validation = math.ceil(count / 5) if count > 1 else 0
    return {"train": drawn[validation:count], "val": drawn[:validation], "test": list(splits["test"])}


def divided_anew(names: Sequence[str], images: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Half of some images to learn from, a sixth to validate, a third to test; groups stay together."""
    groups = {Path(image["file_name"]).stem: str(image.get("group", image["file_name"])) for image in images}
    return split_by_ratio(names, 1, [3, 1, 2], {name: groups[name] for name in names})


def write_subset(prepared: Path, folder: Path, count: int, seed: int, unseen: bool) -> dict[str, list[str]]:
    """A prepared folder of some images of another, whose image files it uses; returns the division."""
    content = json.loads((prepared / "annotations.json").read_text(encoding="utf-8"))
    splits = json.loads((prepared / "splits.json").read_text(encoding="utf-8"))
    sides = division(divided_anew(splits["test"], content["images"]) if unseen else splits, count, seed)
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


def settings(task: Task, start: str, subset: Path, training: int, seed: int, folder: Path) -> list[str]:
    """Settings of ``gains train`` for one run; ``training`` is its number of training images."""
    own = SCRATCH if start == "scratch" else ("experiment=finetune", f"model.weights={task.weights}")
    return [
        *own,
        f"dataset={task.dataset}",
        f"dataset.root={subset}",
        "model=mask_rcnn",
        *task.settings,
        f"batch_size={min(4, training)}",
        "validate_on=train",
        "split=test",
        "trainer.precision=auto",
        "logger=csv",
        f"seed={seed}",
        f"hydra.run.dir={folder}",
    ]


def run(task: Task, start: str, count: int, seed: int, prepared: Path, kept: Path = KEPT) -> None:
    """Train and evaluate once, and add the line; nothing is done if it is there."""
    table = kept / f"{task.name}.csv"
    rows = read(table)
    if any((row["start"], row["asked"], row["seed"]) == (start, str(count or "all"), str(seed)) for row in rows):
        return
    folder = FOLDER / "runs" / f"{task.name}_{start}_{count}_{seed}"
    subset = FOLDER / "data" / f"{task.name}_{count}_{seed}"
    sides = write_subset(prepared / task.prepared, subset, count, seed, task.unseen)
    resumed = folder / "checkpoints" / "last.ckpt"
    asked = settings(task, start, subset, len(sides["train"]), seed, folder)
    if resumed.is_file():
        asked.append(f"checkpoint={resumed}")
    subprocess.run([sys.executable, "-m", "gains.cli", "train", *asked], check=True, stdout=sys.stderr)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    validation = len(sides["val"])
    row = {
        "start": start,
        "asked": count or "all",
        "images": len(sides["train"]) + validation,
        "of them for validation": validation,
        "seed": seed,
        "minutes": round(results["costs"]["training_seconds"] / 60, 1),
    }
    row |= {title: round(float(results["metrics"][metric] or 0), 3) for title, metric in METRICS.items()}
    write(table, [*rows, row])


def read(table: Path) -> list[dict[str, Any]]:
    """Lines that earlier calls have left."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(table: Path, rows: Sequence[dict[str, Any]]) -> None:
    """All lines of a data set."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with replacing(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def draw(tables: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """mAP over the number of images, a panel for each data set: a point for each run, a line through the means."""
    figure, axes = plt.subplots(1, len(tables), figsize=(3.4 * len(tables), 3.2), sharey=True, squeeze=False)
    for axis, (name, rows) in zip(axes[0], tables.items(), strict=True):
        for start, colour, label in (("scratch", "tab:gray", "from scratch"), ("weights", "tab:blue", "from weights")):
            found: dict[int, list[float]] = {}
            for row in rows:
                if row["start"] == start:
                    found.setdefault(int(row["images"]), []).append(float(row["mAP"]))
            counts = sorted(found)
            axis.plot(counts, [sum(found[count]) / len(found[count]) for count in counts], color=colour, label=label)
            for count in counts:
                axis.scatter([count] * len(found[count]), found[count], color=colour, s=14)
        axis.set_xscale("log")
        axis.set_xticks(sorted({int(row["images"]) for row in rows}))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.set_xlabel("images, those for validation among them", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mAP on the test images")
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    output: Path | None = None,
    device: str = "cpu",
    data: Path | None = None,
    sets: Sequence[str] = tuple(TASKS),
    seeds: Sequence[int] = (1,),
) -> None:
    """Train what is missing, print all lines and draw the figure; ``device`` does not count.

    Raises:
        SystemExit: without the folder of prepared data sets.
    """
    if data is None:
        raise SystemExit("finetune needs --data FOLDER, where prepared data sets lie")
    for name, seed, count, start in product(sets, seeds, COUNTS, STARTS):
        run(TASKS[name], start, count, seed, data)
    tables = {name: rows for name in TASKS if (rows := read(KEPT / f"{name}.csv"))}
    for name, rows in tables.items():
        print_rows(name, rows)
    draw(tables, FIGURE)
    write_rows(output, [{"data set": name, **row} for name, rows in tables.items() for row in rows])


if __name__ == "__main__":
    main()
