"""Processes of one run that ``srun`` has started: the first leaves its folder in a file, the others wait for it.

The file lies in the folder in which the job was started, which all machines see. Its name is that of job and command
line, so that the same job, started again after a machine was lost (``--requeue``), finds its folder and goes on there.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gains.files import replacing

PLACE = Path(".gains_slurm")
POLL_SECONDS = 0.2
RUN = "GAINS_SLURM_RUN"
"""Environment variable: name of the files of this run."""


def started(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs a command that :func:`begin` was told of."""
    return RUN in environment


def begin(words: Sequence[str]) -> None:
    """Take part in the run of a command line, if SLURM has started this process; an interactive shell has none.

    Args:
        words: of the command line, alike in all processes.
    """
    names = os.environ.get("SLURM_JOB_NAME"), os.environ.get("SLURM_JOB_ID")
    if "SLURM_PROCID" in os.environ and names[0] not in ("bash", "interactive") and names[1] is not None:
        mark = hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
        os.environ[RUN] = f"{names[1]}_{mark}"


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether SLURM has started the job again, and its folder is known."""
    return started(environment) and environment.get("SLURM_RESTART_COUNT", "0") != "0" and _folder().is_file()


def publish(folder: Path) -> None:
    """Let the other processes go on, in this folder."""
    PLACE.mkdir(exist_ok=True)
    for path in (_folder(), _ready()):
        with replacing(path) as temporary:
            temporary.write_text(str(folder.resolve()))


def folder_of_first(patience: float) -> str:
    """The folder, once the first process has prepared all that is shared.

    Raises:
        TimeoutError: if it does not within ``patience`` seconds.
    """
    end = time.monotonic() + patience
    while not _ready().is_file():
        if time.monotonic() > end:
            raise TimeoutError(f"the first process has not prepared the run within {patience:.0f} s")
        time.sleep(POLL_SECONDS)
    return _ready().read_text()


def known_folder() -> str:
    """The folder that the first process had before the job was started again."""
    return _folder().read_text()


def _folder() -> Path:
    return PLACE / os.environ[RUN]


def _ready() -> Path:
    """Says that the first is ready: in this step of the job, since it was last started."""
    step, restart = (os.environ.get(f"SLURM_{name}", "0") for name in ("STEP_ID", "RESTART_COUNT"))
    return PLACE / f"{os.environ[RUN]}_{step}_{restart}"
