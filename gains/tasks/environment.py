"""What a run was made with: versions, commit, processor, threads, precision."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig

from gains import __version__
from gains.comparison.collect import ENVIRONMENT
from gains.plain import write_json

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "opencv-python-headless",
    "albumentations",
    "pycocotools",
)
"""Those whose version can change a number."""


def write_environment(folder: Path, precision: str = "32-true") -> None:
    """Write ``environment.json`` into a run folder: with another of these, figures may differ in their last digits.

    Args:
        folder: of the run.
        precision: Lightning's name of the one that the run computes with.
    """
    write_json(folder / ENVIRONMENT, {**environment(), "precision": precision})


def same_settings(folder: Path) -> bool:
    """Whether a run with the present one's settings has begun in a folder."""
    try:
        found: bool = json.loads((folder / ENVIRONMENT).read_text())["settings"] == settings()
        return found
    except (OSError, ValueError, KeyError):
        return False


def settings() -> list[str] | None:
    """What the command line says of this run, of several for this one; None outside a command."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else None


def environment() -> dict[str, Any]:
    """Versions, commit (None outside a checkout), processor, devices, threads, command line and settings."""
    return {
        "command": sys.argv,
        "settings": settings(),
        "gains": __version__,
        "commit": commit(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }


def commit(root: Path) -> str | None:
    """Commit of the checkout at ``root``, with ``+changes`` where tracked files differ; None where there is none.

    A package installed into somebody else's repository is not part of it, and gets none.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "gains/__init__.py") is None:
        return None
    found = git("rev-parse", "HEAD")
    return f"{found}+changes" if found and git("status", "--porcelain", "--untracked-files=no") else found


def processor() -> str:
    """Name of the processor, as Linux knows it, or what Python says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
