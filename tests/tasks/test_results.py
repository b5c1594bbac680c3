"""Evaluation after training: the processes of a run share the images, and write what one alone would."""

import json
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import distributed, multiprocessing

from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.metrics.stored import read_statistics
from gains.models.checkpoint import load_network, seal
from gains.rle import encode_crop
from gains.tasks.results import evaluate
from gains.tasks.tuning import tune
from gains.training.module import InstanceSegmentation
from gains.training.shares import Share
from helpers.blob_finder import BlobFinder, blob_recipe, draw_disks


class ShiftedDisks:
    """Disks whose annotations are a few pixels off, so that each image has its own figures."""

    categories: ClassVar = ["nucleus"]

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        for index in range(self.count):
            pixels, masks = draw_disks((48, 64), [(14.0, 20.0, 9.0), (44.0, 22.0, 8.0 + index % 3)])
            shifted = [np.roll(mask, index % 5, axis=1) for mask in masks]
            box = (0, 0, 64, 48)
            yield ImageRecord(
                f"image{index}", pixels, [Instance("nucleus", encode_crop(mask, box, (48, 64))) for mask in shifted]
            )


CASES = {"odd": (5, 1000), "full": (3, 2), "few": (1, 1000)}
"""Images to test and max_detections: an odd number; images with as many as they may have; fewer than processes."""


def work(root: Path, folder: Path) -> None:
    """What a process does after training, for every case."""
    for name, (_, most) in CASES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        module = InstanceSegmentation(BlobFinder(1), blob_recipe(1, max_detections=most))
        data = InstanceDataModule(load_annotations(root / name))
        evaluate(module, Path("best.ckpt"), data, "test", folder / name, "cpu")
    data = InstanceDataModule(load_annotations(root / "odd"))
    config = OmegaConf.create({"trust": ["helpers"], "tune_metric": "aji", "trainer": {"accelerator": "cpu"}})
    chosen = tune(folder / "model.ckpt", data, config)
    (folder / f"chosen_{Share.of(1).rank}.json").write_text(json.dumps(chosen))


def process(rank: int, processes: int, root: Path, folder: Path) -> None:
    cv2.setNumThreads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    work(root, folder)
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``one`` and ``two``, by as many processes."""
    top = tmp_path_factory.mktemp("shares")
    for name, (images, _) in CASES.items():
        prepare(ShiftedDisks(images + 4), top / "data" / name, seed=0, ratios=(1, 3, images))
    for name in ("one", "two"):
        (top / name).mkdir()
        write_model(top / name / "model.ckpt")
    work(top / "data", top / "one")
    multiprocessing.spawn(process, (2, top / "data", top / "two"), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    return top


def write_model(path: Path) -> None:
    recipe, network = blob_recipe(1), BlobFinder(1)
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(recipe, state)}, path)


@pytest.mark.parametrize("case", list(CASES))
def test_two_processes_write_what_one_does(done: Path, case: str) -> None:
    one, two = (json.loads((done / name / case / "results.json").read_text()) for name in ("one", "two"))
    assert 0 < one["metrics"]["aji"] < 1
    for part in ("metrics", "per_category", "arrangement", "notes"):
        assert one[part] == two[part]
    for file in ("predictions.json", *(f"figures/test_{place}.png" for place in range(CASES[case][0]))):
        assert (done / "one" / case / file).read_bytes() == (done / "two" / case / file).read_bytes()
    names = [{path.name for path in (done / name / case / "figures").iterdir()} for name in ("one", "two")]
    assert names[0] == names[1]
    stored = [read_statistics(done / name / case / "statistics.npz") for name in ("one", "two")]
    assert stored[0].images == stored[1].images
    assert len(stored[0].images) == CASES[case][0]


def test_all_processes_tune_alike(done: Path) -> None:
    one, *two = (
        json.loads((done / name).read_text())
        for name in ("one/chosen_0.json", *map("two/chosen_{}.json".format, (0, 1)))
    )
    assert two == [one, one]
    points = [load_network(done / name / "model.ckpt", trust=["helpers"])[1].operating_point for name in ("one", "two")]
    assert points[0] == points[1]
    assert points[0].to_plain() == one["chosen"]


def test_places_are_shared_out_once_each() -> None:
    for images in range(6):
        shares = [Share(images, rank, 3) for rank in range(3)]
        assert sorted(place for share in shares for place in share.places) == list(range(images))
        assert all(len(share.seen) for share in shares)
