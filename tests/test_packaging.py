import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_conda_environment_and_pyproject_ask_for_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert python == "python" + project["requires-python"]
    assert sorted(pip["pip"]) == sorted(project["dependencies"] + project["optional-dependencies"]["dev"])


def test_the_compromised_lightning_releases_are_excluded() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = {Requirement(line).name: Requirement(line) for line in project["dependencies"]}
    lightning = requirements["pytorch-lightning"].specifier
    assert "2.6.2" not in lightning
    assert "2.6.3" not in lightning
    assert "2.6.4" in lightning
    torch = requirements["torch"].specifier
    assert all(version in torch for version in ("2.11.0", "2.13.1", "2.15.0"))
    assert "2.0.8" in requirements["albumentations"].specifier
    assert "2.1.0" not in requirements["albumentations"].specifier


def test_every_make_target_has_a_help_line() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    documented = {line.split(":")[0] for line in lines if "## " in line and ":" in line.split("##")[0]}
    assert {"setup", "train", "eval", "predict", "test", "lint", "benchmark", "clean"} <= documented


def test_the_wheel_works_outside_the_repository(tmp_path: Path) -> None:
    """Built, unpacked elsewhere and imported from there, it finds its configuration and says that it is typed."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    [built] = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "target")
    code = "import gains, gains.config as c; print(gains.__file__); print(c.compose('train', 'model=htc').model.name)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "target")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "target" / "gains" / "__init__.py"), "htc"]
    assert (tmp_path / "target" / "gains" / "py.typed").is_file()


def test_no_library_asks_the_internet_when_the_program_is_imported() -> None:
    program = """
import socket

def refuse(*_, **__):
    raise SystemExit("a connection is opened")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import gains.data.augmentation, gains.prediction.predictor, gains.training.module
"""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
