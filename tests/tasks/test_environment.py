import json
import subprocess
from pathlib import Path

import torch

from gains.tasks.environment import commit, write_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def checkout(folder: Path, name: str) -> Path:
    (folder / Path(name).parent).mkdir(parents=True)
    (folder / name).write_text("1")
    git(folder, "init", "-q")
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_environment_says_what_numbers_depend_on(tmp_path: Path) -> None:
    write_environment(tmp_path, "bf16-mixed")
    written = json.loads((tmp_path / "environment.json").read_text())
    assert set(written["packages"]) >= {"torch", "torchvision", "numpy"}
    assert written["threads"] == torch.get_num_threads()
    assert written["processor"]
    assert written["precision"] == "bf16-mixed"


def test_commit_is_that_of_our_checkout_and_no_other(tmp_path: Path) -> None:
    ours = checkout(tmp_path / "ours", "gains/__init__.py")
    assert commit(ours) == git(ours, "rev-parse", "HEAD")
    (ours / "gains/__init__.py").write_text("2")
    assert commit(ours) == git(ours, "rev-parse", "HEAD") + "+changes"
    theirs = checkout(tmp_path / "theirs", "thesis/main.tex")
    assert commit(theirs) is None
    assert commit(tmp_path) is None
