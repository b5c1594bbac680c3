"""Runs in processes of their own: failed, killed and finished ones."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from gains.comparison.collect import Key
from gains.comparison.queue import LAST, Job, quoted, run_all

ROOT = Path(__file__).parents[2]
NAMES = "('config.yaml', 'results.json', 'statistics.npz')"
FINISHES = f"from pathlib import Path; [Path({{folder!r}}, name).write_text('') for name in {NAMES}]"
FAILS = "import sys; print('loss is not finite'); print(); sys.exit(3)"
LIES = "print('all is well')"  # ends with 0 and leaves nothing
PRINTS_THREADS = "import os; print(os.environ['OMP_NUM_THREADS']); "


class Scripted(Job):
    """A run that executes a line of Python in place of training."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.overrides[0].format(folder=str(self.folder))]


def jobs(tmp_path: Path, *lines: str) -> list[Job]:
    return [Scripted(Key("d", "m", seed), tmp_path / str(seed), (line,)) for seed, line in enumerate(lines)]


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_failed_run_stops_nobody(tmp_path: Path, side_by_side: int) -> None:
    ended: dict[int, str | None] = {}
    todo = jobs(tmp_path, FINISHES, FAILS, LIES, FINISHES)
    run_all(todo, side_by_side, lambda job, wrong, seconds: ended.update({job.key.seed: wrong}))
    assert ended[0] is None
    assert ended[3] is None
    assert ended[1] is not None
    assert ended[1].startswith("exit status 3: loss is not finite")
    assert ended[2] is not None
    assert ended[2].startswith("exit status 0: all is well")


def test_threads_are_divided(tmp_path: Path) -> None:
    todo = jobs(tmp_path, PRINTS_THREADS + FINISHES)
    run_all(todo, 2, lambda *_: None)
    assert int((tmp_path / "0" / "log.txt").read_text()) == max(1, (os.cpu_count() or 1) // 2)


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    job = Job(Key("d", "m", 1), tmp_path / "a b=(c)", ("model=m",))
    assert not [word for word in job.command() if word.startswith("checkpoint=")]
    assert "split=test" in job.command()
    (job.folder / LAST).parent.mkdir(parents=True)
    (job.folder / LAST).write_text("")
    assert f"checkpoint={quoted(job.folder / LAST)}" in job.command()


def test_interrupted_runs_are_asked_to_end(tmp_path: Path) -> None:
    """Ctrl-C on the study reaches its runs, which may save before they go."""
    run = (
        "import signal, sys, time; from pathlib import Path; folder = Path({folder!r}); "
        "signal.signal(signal.SIGTERM, lambda *_: (folder.joinpath('saved').write_text(''), sys.exit(0))); "
        "folder.joinpath('started').write_text(''); time.sleep(60)"
    )
    script = textwrap.dedent(
        f"""
        import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have turned it off
        sys.path[:0] = {[str(ROOT), str(ROOT / "tests" / "comparison"), str(ROOT / "tests")]!r}
        from pathlib import Path
        from test_queue import Scripted
        from gains.comparison.collect import Key
        from gains.comparison.queue import run_all
        run_all([Scripted(Key("d", "m", 1), Path({str(tmp_path)!r}), ({run!r},))], 1, print)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    while not (tmp_path / "started").is_file():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert (tmp_path / "saved").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell a process that its parent died")
def test_a_killed_watcher_ends_its_run(tmp_path: Path) -> None:
    """Killed, so that it can tell nobody: the run is told to end, and saves."""
    running = (
        "import os, signal, sys, time; from pathlib import Path; folder = Path(r'{folder}');"
        "signal.signal(signal.SIGTERM, lambda *_: (folder.joinpath('saved').touch(), os._exit(143)));"
        "folder.joinpath('running').touch(); time.sleep(60)"
    )
    program = f"""
    import sys; sys.path.insert(0, {str(ROOT / "tests" / "comparison")!r})
    from test_queue import jobs, run_all
    from pathlib import Path
    run_all(jobs(Path({str(tmp_path)!r}), {running!r}), 1, print)
    """
    watcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    wait_for(tmp_path / "0" / "running")
    watcher.kill()
    watcher.wait()
    wait_for(tmp_path / "0" / "saved")


def wait_for(path: Path) -> None:
    begin = time.monotonic()
    while not path.exists():
        assert time.monotonic() - begin < 50, f"{path.name} did not come"
        time.sleep(0.02)
