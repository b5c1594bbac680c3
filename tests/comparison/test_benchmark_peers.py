"""The comparison with other tools: label images from overlapping masks, budgets, tables, what is done once."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_peers as benchmark

from gains.masks import InstanceCrops


def test_a_pixel_of_several_instances_is_the_smallest_ones() -> None:
    drawn = np.random.default_rng(3).random((6, 9, 11)) < np.array([0.9, 0.2, 0.5, 0.7, 0.35, 0.05])[:, None, None]
    labels = benchmark.flattened(InstanceCrops.from_dense(torch.from_numpy(drawn)))
    areas = drawn.sum((1, 2))
    for y, x in np.ndindex(9, 11):
        there = np.flatnonzero(drawn[:, y, x])
        assert labels[y, x] == (there[areas[there].argmin()] + 1 if len(there) else 0)


@pytest.mark.parametrize(("hits", "false", "missed"), [(3, 1, 2), (5, 0, 0), (0, 4, 1)])
def test_accuracy_follows_from_f1(hits: int, false: int, missed: int) -> None:
    f1 = 2 * hits / (2 * hits + false + missed)
    assert benchmark.accuracy(f1) == pytest.approx(hits / (hits + false + missed))


@pytest.mark.parametrize("start", [0.0, 12.0, 240.0])
def test_steps_and_the_start_fill_the_time(start: float) -> None:
    of_a_step = 1.5
    steps = benchmark.bought(5, start + of_a_step, start + (1 + benchmark.PILOT) * of_a_step)
    assert start + steps * of_a_step == pytest.approx(300)


def test_a_start_longer_than_the_time_leaves_one_step() -> None:
    assert benchmark.bought(5, 400, 410) == 1
    assert benchmark.bought(0, 20, 20) == 1


def record(tool: str, seed: int, f1: float, covered: float | None) -> dict[str, Any]:
    """What a run leaves."""
    return {
        "tool": tool,
        "set": "isbi2014",
        "minutes": 5.0,
        "seed": seed,
        "steps": 100,
        "seconds": {"training": 301.2, "tuning": 7.0, "prediction": 2.4},
        "metrics": {"f1_50": f1, "f1_75": f1 / 2, "aji": 0.4},
        "covered": {"covered_recall": covered, "rest_recall": covered, "precision": None},
    }


def test_the_table_holds_every_run_of_its_data_set_in_order(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for index, (tool, seed) in enumerate([("gains", 1), ("stardist", 2), ("cellpose", 1), ("stardist", 1)]):
        found = record(tool, seed, 0.8, 0.25 if index else None)
        (tmp_path / "runs" / f"isbi2014_{tool}_5min_seed{seed}.json").write_text(json.dumps(found))
    (tmp_path / "runs" / "kaggle2018_gains_5min_seed1.json").write_text(json.dumps(record("gains", 9, 0.1, 0.1)))
    rows = benchmark.table("isbi2014", tmp_path)
    assert [(row["tool"], row["seed"]) for row in rows] == [
        ("stardist", 1),
        ("cellpose", 1),
        ("gains", 1),
        ("stardist", 2),
    ]
    benchmark.write(tmp_path / "isbi2014.csv", rows)
    with (tmp_path / "isbi2014.csv").open(newline="") as file:
        first, *_, ours, _ = csv.DictReader(file)
    assert (first["F1 at 0.75"], first["accuracy at 0.5"], first["covered part"]) == ("0.400", "0.667", "0.250")
    assert (ours["covered part"], ours["precision there"]) == ("", "")
    assert (first["training s"], first["tuning s"], first["prediction s"]) == ("301", "7", "2")


def test_images_labels_and_truth_reach_the_peer_and_its_run_is_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kept = prepared(tmp_path / "data" / "isbi2014"), tmp_path / "kept"
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path / "work")
    calls: list[list[str]] = []

    def perfect(command: list[str], **_: Any) -> None:
        """Stands in for the peer, and finds the larger square alone; ``gains score`` is the real one."""
        calls.append(command)
        if "gains.cli" in command:
            run(command, check=True, stdout=subprocess.DEVNULL)
            return
        exchanged, output = Path(command[2]), Path(command[3])
        assert {path.name for path in (exchanged / "test").iterdir()} == {"c.tif"}
        labels = tifffile.imread(exchanged / "train" / "a_labels.tif")
        assert [int((labels == label).sum()) for label in (1, 2)] == [12, 4]
        tifffile.imwrite(output / "c.tif", (labels == 1).astype(np.uint16))
        told = {"seconds": {"training": 1.0, "tuning": 1.0, "prediction": 1.0}, "steps": 3, "settings": {}}
        (output / "run.json").write_text(json.dumps(told))

    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", perfect)
    monkeypatch.setattr(benchmark, "interpreter", lambda tool, environments: environments / tool)
    for _ in range(2):
        benchmark.run("stardist", "isbi2014", data.parent, 5.0, 1, tmp_path, kept)
    assert len(calls) == 2  # the peer and its score
    assert calls[0][4:] == ["5.0", "1"]
    row = benchmark.table("isbi2014", kept)[0]
    # Of two squares one is found, with 12 of its 16 pixels, as the other hides the rest: IoU 0.75.
    assert (row["F1 at 0.5"], row["accuracy at 0.5"]) == ("0.667", "0.500")
    assert (row["covered part"], row["rest"], row["precision there"]) == ("0.000", "1.000", "1.000")


def prepared(folder: Path) -> Path:
    """A prepared folder of three equal images: a square of 4 x 4 pixels and one of 2 x 2 inside it, and a nucleus."""
    dense = torch.zeros(3, 8, 8, dtype=torch.bool)
    dense[0, 1:5, 1:5] = dense[1, 2:4, 2:4] = dense[2, 6:, 6:] = True
    rles = [
        {
            "size": list(rle["size"]),
            "counts": rle["counts"].decode() if isinstance(rle["counts"], bytes) else rle["counts"],
        }
        for rle in InstanceCrops.from_dense(dense).to_rle()
    ]
    boxes = ([1, 1, 4, 4], [2, 2, 2, 2], [6, 6, 2, 2])
    (folder / "images").mkdir(parents=True)
    content: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "nucleus"}, {"id": 2, "name": "cytoplasm"}],
    }
    for number, name in enumerate("abc", 1):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), np.full((8, 8), 40 * number, np.uint8))
        content["images"].append({"id": number, "file_name": f"{name}.png", "height": 8, "width": 8})
        for rle, box, category in zip(rles, boxes, (2, 2, 1), strict=True):
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": category,
                    "iscrowd": 0,
                    "segmentation": rle,
                    "area": box[2] * box[3],
                    "bbox": box,
                }
            )
    (folder / "annotations.json").write_text(json.dumps(content))
    splits = {"seed": 1, "ratios": [1, 1, 1], "official": False, "train": ["a"], "val": ["b"], "test": ["c"]}
    (folder / "splits.json").write_text(json.dumps(splits))
    return folder
