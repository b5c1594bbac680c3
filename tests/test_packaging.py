import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import gains
from gains.models.released import released_models

ROOT = Path(__file__).parents[1]
MOST_MEGABYTES = 100
"""What PyPI takes in one file."""


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


def test_versions_agree_and_the_changelog_has_a_place_for_what_comes() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == gains.__version__
    sections = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", section) for section in sections[1:])


def test_every_make_target_has_a_help_line() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    documented = {line.split(":")[0] for line in lines if "## " in line and ":" in line.split("##")[0]}
    assert {"setup", "train", "eval", "predict", "test", "lint", "benchmark", "clean"} <= documented


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment_outside_the_repository(tmp_path: Path) -> None:
    """Installed by pip into an environment of its own, it finds its configuration and weights, and trains."""
    wheel = pytest.importorskip("hatchling.builders.wheel")
    [built] = wheel.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(built).stat().st_size < MOST_MEGABYTES * 1e6
    with zipfile.ZipFile(built) as archive:
        inside = set(archive.namelist())
    packaged = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gains").rglob("*") if path.is_file()}
    assert {name for name in packaged if "__pycache__" not in name} <= inside
    assert {f"gains/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")} <= inside

    program = fresh_environment(tmp_path / "environment", Path(built))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str) -> str:
        command = [str(program), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    place = subprocess.run(
        [program.parent / "python", "-c", "import gains; print(gains.__file__)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert place.stdout.startswith(str(tmp_path))
    assert "gains" in run("--version")
    assert run("models")
    run("train", "debug=fast", "model=mask_rcnn", "logger=csv", "dataset.format.num_images=12", "dataset.short_side=64")
    [picture, *_] = (tmp_path / "data").rglob("images/*.png")
    for model in filter(lambda model: model.file is not None, released_models()):
        run("predict", f"checkpoint={model}", f"input={picture}", f"output={model}")
        assert (tmp_path / str(model) / "report.html").is_file()


def test_weights_in_the_package_are_small_described_and_each_has_an_entry() -> None:
    entries = {model.file: model for model in released_models() if model.file is not None}
    files = {path.name: path for path in (ROOT / "gains" / "weights").glob("*.safetensors")}
    assert set(files) == set(entries)
    assert all(path.stat().st_size <= 26e6 for path in files.values())
    assert all(model.card for model in entries.values())


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel installed; its dependencies are those of this one. Returns its ``gains``."""
    venv.create(folder, symlinks=True, with_pip=True)  # its own, as this one may have been made by uv without pip
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    [site_packages] = folder.glob("lib/python*/site-packages")
    # Of folders named in a .pth file their own .pth files, such as that of an editable install, are not read.
    (site_packages / "dependencies.pth").write_text(
        "\n".join(sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    )
    return folder / "bin" / "gains"


def test_the_dockerfile_has_what_it_installs_and_a_python_that_the_project_allows(tmp_path: Path) -> None:
    from packaging.specifiers import SpecifierSet

    text = (ROOT / "Dockerfile").read_text()
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    [python] = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    assert python in SpecifierSet(allowed)
    assert re.findall(r"^ARG TORCH=(\S+)$", text, re.MULTILINE) == ["cpu"]

    sources = [word for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in line.split()]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {f"!{source}" for source in sources} <= set(ignored)
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source)
        else:
            shutil.copy(ROOT / source, tmp_path)
    wheel = pytest.importorskip("hatchling.builders.wheel")
    [built] = wheel.WheelBuilder(str(tmp_path)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    assert "gains/conf/train.yaml" in zipfile.ZipFile(built).namelist()


def test_the_linter_finds_nothing_wrong_with_the_dockerfile() -> None:
    linter = shutil.which("hadolint", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


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
