"""Several runs from one command: on every launcher one that fails stops nobody, and its folder says why."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import yaml

from gains.config import compose, config_folder
from gains.tasks.failures import FAILURE
from helpers.commands import gains

FAST = [
    "dataset.root=data",
    "dataset.format.num_images=8",
    "dataset.format.image_size=64",
    "dataset.short_side=64",
    "model=mask_rcnn",
    "trainer.max_steps=1",
    "trainer.val_check_interval=1",
    "batch_size=1",
    "num_workers=0",
    "logger=csv",
]
PLUGINS = {
    "basic": "hydra",
    "local": "submitit",
    "processes": "hydra_plugins.hydra_joblib_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated data, so that runs side by side find them."""
    folder = tmp_path_factory.mktemp("work")
    gains(folder, "prepare", *FAST[:3])
    return folder / "data"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", list(PLUGINS))
def test_a_failed_run_stops_nobody_and_says_why(data: Path, tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(PLUGINS[launcher])
    (tmp_path / "data").symlink_to(data)
    several = ["nms_iou=7,0.4", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "gains.cli", "train", "-m", *FAST, *several]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 1, done.stderr
    assert "nms_iou=7" in (tmp_path / "sweep" / "0" / FAILURE).read_text()
    assert f"{tmp_path}/sweep/0: nms_iou=7" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "sweep" / "1" / "results.json").is_file()
    assert not (tmp_path / "sweep" / "1" / FAILURE).exists()


def test_a_launcher_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    launcher = "hydra.launcher._target_=hydra_plugins.nobody.NoLauncher"
    said = gains(tmp_path, "train", "-m", "seed=1,2", "hydra/launcher=basic", launcher, status=2)
    assert (
        said
        == "gains train: hydra/launcher=basic needs a package that is not installed; docs/scaling.md names its extra\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_methods_are_those_of_the_papers_table() -> None:
    params = yaml.safe_load((config_folder() / "sweep" / "methods.yaml").read_text())["hydra"]["sweeper"]["params"]
    methods = params["model"].split(",")
    assert len(set(methods)) == len(methods) == 13
    for method in methods:
        assert compose("train", f"model={method}").model.name


def test_slurm_jobs_ask_for_resources() -> None:
    pytest.importorskip("submitit")
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", ["hydra/launcher=slurm"], return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.gpus_per_node, launcher.cpus_per_task, launcher.signal_delay_s) == (1, 8, 120)


@pytest.mark.slow
def test_a_search_trains_and_names_the_best(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "data").symlink_to(data)
    space = 'space=["nms_iou=choice(0.4,0.6)"]'
    command = [sys.executable, "-m", "gains.cli", "sweep", *FAST, space, "trials=2", "output=found"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "settings   nms_iou=0." in done.stdout
    with (tmp_path / "found" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "complete"]
    for row in rows:
        config = yaml.safe_load((tmp_path / row["folder"] / "config.yaml").read_text())
        assert config["nms_iou"] == float(row["nms_iou"])


def test_what_the_search_sets_is_not_given(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    error = gains(tmp_path, "sweep", "augmentation=flip", "output=found", status=2)
    assert error.startswith("gains sweep: augmentation=...: the search sets it")


def test_the_search_of_wandb_names_settings_that_exist() -> None:
    search = yaml.safe_load((Path(__file__).parents[2] / "scripts" / "wandb_sweep.yaml").read_text())
    for name, values in search["parameters"].items():
        value = values.get("values", [values.get("min")])[0]
        assert compose("train", f"{name}={value}")
    assert search["command"][1:3] == ["gains", "train"]
