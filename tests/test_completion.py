import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gains import cli
from helpers.commands import gains


def ask(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a shell would offer after a line."""
    monkeypatch.setenv("COMP_LINE", line)
    return gains(folder, "-sc", "query=bash").split()


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("gains ", [*cli.COMMANDS, "--version"], ["model="]),
        ("gains s", ["score", "sweep"], ["train"]),
        ("gains train mo", ["model", "model."], ["score", "batch_size="]),
        ("gains train model=point", ["model=pointrend"], ["model=gains"]),
        ("gains  train model=htc trainer.max_s", ["trainer.max_steps="], ["trainer.max_epochs="]),
        ("gains train dataset=coco augmentation.sh", ["augmentation.short_sides."], []),
        ("gains predict ti", ["tile="], ["model="]),
        ("/somewhere/bin/gains eval ", ["checkpoint=", "split="], ["max_steps="]),
        ("gains trian mo", [], ["model="]),
    ],
)
def test_what_a_shell_offers(
    line: str, offered: list[str], not_offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ask(line, tmp_path, monkeypatch)
    assert [word for word in offered if word not in found] == []
    assert [word for word in not_offered if word in found] == []
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_bash_without_torch(tmp_path: Path) -> None:
    program = tmp_path / "gains"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.modules['torch'] = None\nfrom gains.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    script = (
        'eval "$(gains -sc install=bash)"\n'
        'complete -p gains\nCOMP_LINE="gains train model=fast"; COMP_POINT=${#COMP_LINE}; COMP_CWORD=2\n'
        'hydra_bash_completion; echo "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "hydra_bash_completion gains" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "model=fastinst"
