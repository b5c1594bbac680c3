"""Training runs one after the other, or a few side by side, each in a process of its own.

A process of its own means that a run which fails, runs out of memory or is killed takes nothing else with it, and that
every run starts from the same state. Its output goes to ``log.txt`` in its folder.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gains.comparison.collect import CONFIG, CURVES, Key, is_finished
from gains.ending import end_with

LOG = "log.txt"
LAST = Path("checkpoints") / "last.ckpt"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Job:
    """A run to be done.

    Attributes:
        key: what it is.
        folder: where it goes.
        overrides: settings for ``gains train``.
    """

    key: Key
    folder: Path
    overrides: tuple[str, ...]

    def command(self) -> list[str]:
        """The command line; a run that was killed goes on from its last checkpoint."""
        resume = [f"checkpoint={quoted(self.folder / LAST)}"] if (self.folder / LAST).is_file() else []
        return [
            sys.executable,
            "-m",
            "gains.cli",
            "train",
            "split=test",  # a run that could not be compared is not begun
            *self.overrides,
            *resume,
            f"hydra.run.dir={quoted(self.folder)}",
        ]


def quoted(path: Path) -> str:
    """A path as a value in Hydra's grammar, whatever characters it holds."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def run_all(jobs: Sequence[Job], side_by_side: int, on_end: Callable[[Job, str | None, float], None]) -> None:
    """Do all jobs.

    Args:
        jobs: in the order in which they are to start.
        side_by_side: how many at a time; the processor's threads (or OMP_NUM_THREADS) are divided between them.
        on_end: called with each job when it ends, what went wrong (None if nothing did), and its seconds.
    """
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // side_by_side)
    waiting, running = list(jobs), dict[subprocess.Popen[bytes], tuple[Job, float]]()
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                job = waiting.pop(0)
                running[start(job, threads)] = (job, time.monotonic())
            for process in [process for process in running if process.poll() is not None]:
                job, begin = running.pop(process)
                on_end(job, failure(job, process.returncode), time.monotonic() - begin)
            time.sleep(POLL_SECONDS)
    except BaseException:
        for process in running:
            process.terminate()  # a run that is asked to end saves its last checkpoint first
        for process in running:
            process.wait()
        raise


def failure(job: Job, status: int) -> str | None:
    """Why a job that ended has no result: the last line it printed; None if it has one."""
    if status == 0 and is_finished(job.folder):
        return None
    lines = [line for line in (job.folder / LOG).read_text(errors="replace").splitlines() if line.strip()]
    said = lines[-1].strip() if lines else "it printed nothing"
    return f"exit status {status}: {said} ({job.folder / LOG})"


def start(job: Job, threads: int) -> subprocess.Popen[bytes]:
    """Begin a job in a process of its own with so many threads, its output to its log."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if not (job.folder / LAST).is_file():  # a run that was killed before its first checkpoint begins anew
        (job.folder / CONFIG).unlink(missing_ok=True)
        (job.folder / CURVES).unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    parent = os.getpid()
    with (job.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            job.command(),
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            preexec_fn=lambda: end_with(parent),
            close_fds=False,  # it keeps the study's folder until it has saved, should this process be killed
        )
