"""``gains`` as people type it."""

import subprocess
import sys
from pathlib import Path


def gains(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run a command in a folder; returns what it printed on both channels."""
    command = [sys.executable, "-m", "gains.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr
