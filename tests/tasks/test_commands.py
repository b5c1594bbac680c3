"""The commands as people type them, on a tiny generated data set."""

import csv
import json
from pathlib import Path

import pytest
import torch

from helpers.commands import gains, gains_alone

TINY = [
    "dataset.format.num_images=10",
    "dataset.format.image_size=64",
    "dataset.short_side=64",
    "model.proposals={pre_nms: [50, 50], post_nms: [50, 20]}",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.log_every_n_steps=1",
    "batch_size=2",
    "num_workers=0",
]


def losses(run: Path) -> list[tuple[str, str]]:
    """Step and total loss of every logged training step."""
    with (run / "metrics.csv").open() as file:
        return [(row["step"], row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Working folder, run folder and output of one training run with an offline W&B log."""
    folder = tmp_path_factory.mktemp("work")
    output = gains_alone(folder, "train", *TINY)
    (run,) = (folder / "outputs/train/overlapping_cells_gains").iterdir()
    return folder, run, output


def test_run_folder_holds_everything_and_is_named(trained: tuple[Path, Path, str]) -> None:
    folder, run, output = trained
    files = ("config.yaml", "results.json", "predictions.json", "metrics.csv", "report.html")
    pictures = ("curves", "test_0", "val_0", "anomaly_0", "anomaly_test_0")
    for name in (
        *files,
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        *(f"figures/{name}.png" for name in pictures),
    ):
        assert (run / name).is_file(), name
    assert "Predicted gradient anomaly" in (run / "report.html").read_text()
    (tracked,) = run.glob("wandb/offline-run-*/*.wandb")
    content = tracked.read_bytes()
    for word in (b"overlapping_cells_gains_seed1", b"test/segm_map", b"val_check_interval"):
        assert word in content, word
    assert "wandb:" not in output
    assert "weights_only" not in output
    assert "/4 [" in output  # one bar over all steps
    assert "Epoch" not in output
    (last,) = (line for line in output.splitlines() if line.startswith("run folder"))
    assert last.endswith(str(run.relative_to(folder)))
    assert "AJI" in output
    metrics = json.loads((run / "results.json").read_text())["metrics"]
    assert {"segm_map", "aji", "aji_paper", "pq", "f1_50", "n_images"} <= set(metrics)
    assert metrics["n_images"] == 2
    with (run / "metrics.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames or [])
    assert {"train/loss_mask", "train/loss_anomaly", "train/loss_objectness", "val/segm_map", "val/aji"} <= columns


def test_checkpoint_is_plain_data_and_enough_to_predict(trained: tuple[Path, Path, str]) -> None:
    from gains.models.checkpoint import load_network

    _, run, _ = trained
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert content["gains"]["categories"] == ["cytoplasm", "nucleus"]
    network, recipe = load_network(run / "checkpoints/best.ckpt")
    assert recipe.categories == ["cytoplasm", "nucleus"]
    with torch.inference_mode():
        (found,) = network([torch.rand(3, 50, 70)])
    assert len(found["masks"].to_rle()) == len(found["scores"])


def test_eval_repeats_the_result_of_train(trained: tuple[Path, Path, str]) -> None:
    folder, run, _ = trained
    gains(folder, "eval", f"checkpoint={run}/checkpoints/best.ckpt", *TINY[:2], "num_workers=0")
    (evaluated,) = (folder / "outputs/eval").glob("*/*/results.json")
    found, expected = (json.loads(path.read_text())["metrics"] for path in (evaluated, run / "results.json"))
    assert found == expected
    entries = json.loads((evaluated.parent / "predictions.json").read_text())
    assert all({"image_id", "category_id", "score", "bbox", "segmentation"} == set(entry) for entry in entries)


def test_resume_goes_on_where_the_last_run_stopped(trained: tuple[Path, Path, str]) -> None:
    folder, run, _ = trained
    settings = ("trainer.max_steps=6", f"checkpoint={run}/checkpoints/last.ckpt", "logger=csv", "hydra.run.dir=longer")
    assert "resuming from" in gains(folder, "train", *TINY, *settings)
    newest = folder / "longer"
    assert [step for step, _ in losses(newest)] == ["0", "1", "2", "3", "4", "5"]
    assert losses(newest)[:4] == losses(run)
    assert (newest / "results.json").is_file()


@pytest.mark.slow
def test_same_seed_same_losses(trained: tuple[Path, Path, str]) -> None:
    folder, run, _ = trained
    gains(folder, "train", *TINY, "logger=csv", "hydra.run.dir=again")
    assert losses(folder / "again") == losses(run)
    gains(folder, "train", *TINY, "logger=csv", "hydra.run.dir=other", "seed=5")
    assert losses(folder / "other") != losses(run)


@pytest.mark.slow
def test_sweep_gives_each_run_a_folder(trained: tuple[Path, Path, str]) -> None:
    folder, _, _ = trained
    gains(folder, "train", "-m", *TINY, "model=mask_rcnn", "trainer.max_steps=1", "seed=1,2",
          "logger=csv", "hydra.sweep.dir=sweep")  # fmt: skip
    assert sorted(path.parent.name for path in (folder / "sweep").glob("*/results.json")) == ["0", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "checkpoint=nowhere.ckpt"], "checkpoint=nowhere.ckpt does not exist"),
        (
            ["train", "dataset.root=nowhere", "dataset.format._target_=gains.data.sources.coco.Coco"],
            "gains prepare dataset=",
        ),
        (["train", "dataset.target_category=mitochondrion"], "not among the categories cytoplasm, nucleus"),
        (["train", "model.weights=nowhere.pth"], "weights=nowhere.pth does not exist"),
        (["train", "model.network.mask.anomaly.fusion=mean"], "fusion='mean' is unknown; use 'sum' or 'concat'"),
        (["eval"], "checkpoint=PATH is missing"),
    ],
)
def test_bad_settings_are_one_clear_message(
    trained: tuple[Path, Path, str], arguments: list[str], message: str
) -> None:
    task, *settings = arguments
    output = gains(trained[0], task, *TINY[:2], *settings, status=2)
    assert message in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_two_processes_train_one_run(trained: tuple[Path, Path, str]) -> None:
    folder, _, _ = trained
    gains_alone(folder, "train", *TINY, "trainer.max_steps=2", "trainer.devices=2", "+trainer.strategy=ddp",
                "logger=csv", "hydra.run.dir=ddp")  # fmt: skip
    metrics = json.loads((folder / "ddp/results.json").read_text())["metrics"]
    assert metrics["n_images"] == 2
    with (folder / "ddp/metrics.csv").open() as file:
        (validated,) = [row["val/n_images"] for row in csv.DictReader(file) if row.get("val/n_images")]
    assert float(validated) == 2
