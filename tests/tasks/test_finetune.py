"""``experiment=finetune`` as people type it, from a checkpoint for other classes."""

import json
from pathlib import Path

import pytest

from helpers.commands import gains

TINY = [
    "dataset.format.num_images=10",
    "dataset.format.image_size=64",
    "dataset.short_side=64",
    "model=mask_rcnn",
    "model.width={fpn: 16, box: 16, mask: 16}",
    "model.proposals={pre_nms: [50, 50], post_nms: [50, 20]}",
    "trainer.val_check_interval=1",
    "batch_size=2",
    "num_workers=0",
    "logger=csv",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    gains(folder, "train", *TINY, "trainer.max_steps=1", "hydra.run.dir=first")
    return folder


def test_heads_of_the_shared_class_are_kept_and_the_run_stops_by_itself(trained: Path) -> None:
    weights = "model.weights=first/checkpoints/last.ckpt"
    output = gains(trained, "train", "experiment=finetune", weights, "dataset=touching_nuclei", *TINY,
                   "trainer.max_steps=40", "callbacks.early_stop.patience=1", "model.optimizer.lr=0",
                   "hydra.run.dir=second")  # fmt: skip
    assert "heads kept for nucleus" in output
    assert "stopped at step 2: val/segm_map has not risen for 1 validations" in output
    assert list(json.loads((trained / "second/results.json").read_text())["per_category"]) == ["nucleus"]


def test_weights_must_be_given(trained: Path) -> None:
    output = gains(trained, "train", "experiment=finetune", *TINY, "hydra.run.dir=third", status=2)
    assert "gains train: model.weights=... is missing" in output
    assert "Traceback" not in output
