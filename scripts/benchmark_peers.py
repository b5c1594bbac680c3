"""GAInS and Mask R-CNN beside StarDist and Cellpose 3: trained from scratch on one split for the same processor time.

python scripts/benchmark_peers.py --data FOLDER [--sets isbi2014,kaggle2018,chromosomes] [--minutes 15] [--seeds 1,2,3]

FOLDER holds prepared data sets (``gains prepare``). StarDist and Cellpose each get an environment of their own, made
from the package registry under ``--environments``; no weights are loaded. They see label images, in which a pixel
belongs to one instance: where instances overlap, to the smallest. Each tool has its own recommended settings, tunes its
thresholds on the validation images, and is scored by ``gains score`` against the truth with its overlaps. Each run uses
one thread, leaves a json in ``results/peers/runs`` when it ends and is skipped when that is there; the tables
``results/peers/SET.csv`` are written from these files.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
import torch
from benchmark_tools import in_new_process, print_rows

from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import Annotations, load_annotations
from gains.data.splits import load_splits
from gains.files import replacing
from gains.masks import InstanceCrops
from gains.models.checkpoint import load_network

KEPT, FOLDER = Path("results") / "peers", Path("outputs") / "peers"
CATEGORY = {"isbi2014": "cytoplasm", "kaggle2018": "nucleus", "chromosomes": "chromosome"}
PEERS = {
    "stardist": ("stardist==0.9.2", "csbdeep==0.8.2", "tensorflow-cpu==2.19.1", "numpy==1.26.4", "tifffile"),
    "cellpose": ("cellpose==3.1.1.3", "numpy==2.0.2"),
}
OURS = ("mask_rcnn", "gains")
PILOT = 10
"""Steps by which the time of one of ours is measured."""
METRICS = {"F1 at 0.5": "f1_50", "F1 at 0.75": "f1_75", "AJI": "aji"}
ACCURACIES = {"accuracy at 0.5": "f1_50", "accuracy at 0.75": "f1_75"}
REGIONS = {"covered part": "covered_recall", "rest": "rest_recall", "precision there": "precision"}
SECONDS = ("training", "tuning", "prediction")


def flattened(masks: InstanceCrops) -> npt.NDArray[np.uint16]:
    """Label image ``(H, W)``, from 1 in the order of the masks: a pixel of several instances is the smallest one's."""
    labels = np.zeros(masks.size, np.uint16)
    for index in np.argsort(-masks.areas().numpy(), kind="stable").tolist():
        x0, y0, x1, y1 = masks.boxes[index].tolist()
        labels[y0:y1, x0:x1][masks.crop(index).numpy() > 0] = index + 1
    return labels


def accuracy(f1: float) -> float:
    """TP / (TP + FP + FN), which follows from F1 = 2 TP / (2 TP + FP + FN)."""
    return f1 / (2 - f1)


def bought(minutes: float, one: float, several: float) -> int:
    """Training steps with which a whole command, its start included, takes so many processor minutes.

    Args:
        minutes: the budget.
        one: processor seconds of a command of one step.
        several: the same of :data:`PILOT` steps more.
    """
    return max(1, 1 + round((60 * minutes - one) * PILOT / max(several - one, 1e-3)))


def exchange(annotations: Annotations, category: str, folder: Path) -> None:
    """Write images and label images for the peers, and the truth of the test images for ``gains score``.

    Images are RGB where any of the data set has colours, and gray otherwise.
    """
    content = json.loads((annotations.root / "annotations.json").read_text(encoding="utf-8"))
    number = next(entry["id"] for entry in content["categories"] if entry["name"] == category)
    splits = load_splits(annotations.root, annotations.images)
    entries = {Path(entry["file_name"]).stem: entry for entry in content["images"]}
    instances: dict[int, list[dict[str, Any]]] = {}
    for each in content["annotations"]:
        if each["category_id"] == number:
            instances.setdefault(each["image_id"], []).append(each)
    images = {name: cv2.imread(str(annotations.root / "images" / entries[name]["file_name"])) for name in entries}
    coloured = any(np.any(image != image[..., :1]) for image in images.values() if image is not None)
    for split, names in splits.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for name in names:
            entry, image = entries[name], images[name]
            assert image is not None, name
            tifffile.imwrite(folder / split / f"{name}.tif", image[..., ::-1] if coloured else image[..., 0])
            if split != "test":
                size = (entry["height"], entry["width"])
                masks = InstanceCrops.from_rle([each["segmentation"] for each in instances.get(entry["id"], [])], size)
                tifffile.imwrite(folder / split / f"{name}_labels.tif", flattened(masks))
    tested = {entries[name]["id"] for name in splits["test"]}
    truth = {
        "images": [entry for entry in content["images"] if entry["id"] in tested],
        "annotations": [each for image_id in tested for each in instances.get(image_id, [])],
        "categories": [entry for entry in content["categories"] if entry["id"] == number],
    }
    (folder / "test.json").write_text(json.dumps(truth), encoding="utf-8")


def interpreter(tool: str, environments: Path) -> Path:
    """Python of a peer's environment, made if it is not there."""
    python = environments / tool / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", environments / tool], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-cache-dir", *PEERS[tool]], check=True)
    return python


def one_thread() -> dict[str, str]:
    """The environment of a child that computes with one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1")}


def peer(tool: str, exchanged: Path, output: Path, minutes: float, seed: int, environments: Path) -> dict[str, Any]:
    """Run a peer; returns what it tells. The folder ``output`` then holds label images of the test images."""
    script = Path(__file__).parent / "peers" / f"{tool}_run.py"
    command = [interpreter(tool, environments), script, exchanged, output, str(minutes), str(seed)]
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, env=one_thread())
    told: dict[str, Any] = json.loads((output / "run.json").read_text(encoding="utf-8"))
    return {**told, "predictions": output, "threshold": 0.0}


def gains(task: str, name: str, root: Path, folder: Path, *more: str) -> float:
    """One command of ours on a data set; returns the processor seconds of it and its workers."""
    data = (f"dataset={name}", f"dataset.root={root.resolve()}", f"dataset.categories=[{CATEGORY[name]}]")
    before = os.times()
    command = [sys.executable, "-m", "gains.cli", task, *data, f"hydra.run.dir={folder}", *more]
    subprocess.run(command, check=True, stdout=sys.stderr, env=one_thread())
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def training(model: str, steps: int, seed: int, *more: str) -> tuple[str, ...]:
    """Settings of a training: those of the repository, one validation at its end."""
    own = (f"model={model}", "model.anchor_sizes=auto", "trainer.precision=auto", "logger=csv", "split=null")
    return (*own, f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", f"seed={seed}", *more)


@torch.no_grad()
def predicted(checkpoint: Path, root: Path, category: str) -> float:
    """Processor seconds in which a model predicts the test images."""
    torch.set_num_threads(1)
    network, recipe = load_network(checkpoint)
    annotations = load_annotations(root, [category])
    data = InstanceDataModule(
        annotations, intensity=recipe.intensity, splits=load_splits(root, annotations.images), num_workers=0
    )
    network.eval()
    begin = time.process_time()
    for images, _ in data.evaluation_dataloader("test"):
        for found in network(images):
            found["masks"].to_rle()
    return time.process_time() - begin


def ours(model: str, name: str, root: Path, minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """Train one of ours for that time, found by a pilot; returns what the peers tell.

    Start and validation count in the time, of ours alone; tuning, which comes on top as with the peers, is not told
    from training.
    """
    one = gains("train", name, root, folder / "one", *training(model, 1, seed))
    several = gains("train", name, root, folder / "several", *training(model, 1 + PILOT, seed))
    steps = bought(minutes, one, several)
    spent = gains("train", name, root, folder / "train", *training(model, steps, seed, "tune=true"))
    checkpoint = (folder / "train" / "checkpoints" / "best.ckpt").resolve()
    gains("eval", name, root, folder / "eval", f"checkpoint={checkpoint}", "split=test")
    results = json.loads((folder / "eval" / "results.json").read_text(encoding="utf-8"))
    threshold = float(results["operating_point"]["score_threshold"])
    return {
        "seconds": {
            "training": spent,
            "tuning": 0.0,
            "prediction": in_new_process(predicted, checkpoint, root, CATEGORY[name]),
        },
        "steps": steps,
        "settings": {"score_threshold": threshold, "seconds of a command of one step": round(one)},
        "predictions": folder / "eval" / "predictions.json",
        "threshold": threshold,
    }


def scored(truth: Path, predictions: Path, threshold: float, output: Path) -> dict[str, Any]:
    """Metrics of ``gains score``, and those of the parts of instances that others cover."""
    settings = [f"ground_truth={truth}", f"predictions={predictions}", f"score_threshold={threshold}"]
    # The label images of peers hold a number for each instance, however many there are, and in however many parts.
    settings += [f"output={output}", "max_detections=500", "bootstrap_samples=0", "components=false"]
    command = [sys.executable, "-m", "gains.cli", "score", *settings]
    subprocess.run(command, check=True, stdout=sys.stderr)
    results = json.loads((output / "results.json").read_text(encoding="utf-8"))
    return {"metrics": results["metrics"], "covered": results["arrangement"]["all"]["covered"]}


def run(tool: str, name: str, data: Path, minutes: float, seed: int, environments: Path, kept: Path = KEPT) -> None:
    """One tool on one data set, unless its file is there."""
    file = kept / "runs" / f"{name}_{tool}_{minutes:g}min_seed{seed}.json"
    if file.is_file():
        return
    root, exchanged, output = data / name, FOLDER / "data" / name, FOLDER / "runs" / file.stem
    if not (exchanged / "test.json").is_file():
        exchange(load_annotations(root), CATEGORY[name], exchanged)
    shutil.rmtree(output, ignore_errors=True)  # of a run that was stopped
    output.mkdir(parents=True)
    if tool in OURS:
        told = ours(tool, name, root, minutes, seed, output)
    else:
        told = peer(tool, exchanged, output, minutes, seed, environments)
    found = scored(exchanged / "test.json", told.pop("predictions"), told.pop("threshold"), output / "score")
    record = {"tool": tool, "set": name, "minutes": minutes, "seed": seed, **told, **found}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def line(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the table says of a run; an empty cell is a score that is not defined."""
    row = {"tool": record["tool"], "minutes": f"{record['minutes']:g}", "seed": record["seed"]}
    row |= {title: f"{record['metrics'][metric]:.3f}" for title, metric in METRICS.items()}
    row |= {title: f"{accuracy(record['metrics'][metric]):.3f}" for title, metric in ACCURACIES.items()}
    for title, region in REGIONS.items():
        value = record["covered"][region]
        row[title] = "" if value is None else f"{value:.3f}"
    row["steps"] = record["steps"]
    return row | {f"{part} s": f"{record['seconds'][part]:.0f}" for part in SECONDS}


def table(name: str, kept: Path = KEPT) -> list[dict[str, Any]]:
    """Lines of all runs of a data set, by time, seed and tool."""
    paths = (kept / "runs").glob(f"{name}_*.json")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    order = (*PEERS, *OURS)
    records.sort(key=lambda record: (record["minutes"], record["seed"], order.index(record["tool"])))
    return [line(record) for record in records]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The table of a data set."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Do what is missing, write and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of prepared data sets; without it the tables alone are made")
    parser.add_argument("--sets", default=",".join(CATEGORY))
    parser.add_argument("--tools", default=",".join((*PEERS, *OURS)))
    parser.add_argument("--minutes", type=float, default=15, help="processor minutes of training")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--environments", type=Path, default=FOLDER / "envs")
    arguments = parser.parse_args()
    chosen = (arguments.seeds.split(","), arguments.sets.split(","), arguments.tools.split(","))
    for seed, name, tool in product(*chosen) if arguments.data else ():
        run(tool, name, arguments.data, arguments.minutes, int(seed), arguments.environments.absolute())
    for name in CATEGORY:
        if rows := table(name):
            write(KEPT / f"{name}.csv", rows)
            print_rows(name, rows)


if __name__ == "__main__":
    main()
