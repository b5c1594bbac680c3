"""``gains`` as people type it."""

import io
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from gains import cli


def gains(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run a command in a folder, in this process, which has loaded torch; returns what it printed on both channels."""
    printed = io.StringIO()
    ended = 0
    with (
        mock.patch.object(sys, "argv", ["gains", *arguments]),
        mock.patch.dict(os.environ),
        chdir(folder),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            ended = int(stop.code or 0)
    assert ended == status, printed.getvalue()
    return printed.getvalue()


def gains_alone(folder: Path, *arguments: str, status: int = 0) -> str:
    """The same in a process of its own, which takes seconds more."""
    command = [sys.executable, "-m", "gains.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr
