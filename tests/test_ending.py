"""Processes that are told to end, and those whose parent is killed."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 120
"""After which a test gives up."""


def started(program: str) -> subprocess.Popen[str]:
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(program)}"
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_until(what: str, there: Callable[[], bool]) -> None:
    begin = time.monotonic()
    while not there():
        assert time.monotonic() - begin < SECONDS, what
        time.sleep(0.05)


def test_what_a_command_holds_is_given_back_at_sigterm() -> None:
    """Once out of the command, the signal ends the process at once, as ever."""
    program = """
        import time
        from gains.ending import in_order
        try:
            with in_order("predict"):
                try:
                    print("holds", flush=True)
                    time.sleep(600)
                finally:
                    print("gives back", flush=True)
        except SystemExit as stop:
            print(stop.code, flush=True)
            time.sleep(600)
    """
    process = started(program)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    process.terminate()
    assert process.stdout.readline() == "gives back\n"
    assert process.stdout.readline() == "143\n"
    process.terminate()
    assert process.wait(SECONDS) == -signal.SIGTERM
    assert process.stderr is not None
    assert process.stderr.read() == "gains predict: ended by SIGTERM\n"


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tell a process that its parent died")
def test_workers_of_a_killed_launcher_save_and_do_none_of_the_waiting_jobs(tmp_path: Path) -> None:
    """Two workers of joblib with four jobs, which end as a training does that is told to: saved, by SystemExit."""
    pytest.importorskip("joblib")
    program = f"""
        import os, signal, time
        from pathlib import Path
        import joblib
        from gains.ending import no_longer_than

        def job(number, launcher):
            def save(*_):
                Path({str(tmp_path)!r}, f"saved{{number}}").touch()
                raise SystemExit(143)
            signal.signal(signal.SIGTERM, save)
            with no_longer_than(launcher):
                place = Path({str(tmp_path)!r}, f"job{{number}}")
                place.with_suffix(".part").write_text(str(os.getpid()))
                place.with_suffix(".part").rename(place)
                time.sleep(600)

        joblib.Parallel(n_jobs=2, pre_dispatch="all")(joblib.delayed(job)(n, os.getpid()) for n in range(4))
    """
    launcher = started(program)
    begun = [tmp_path / "job0", tmp_path / "job1"]
    wait_until("two jobs begin", lambda: all(path.is_file() for path in begun))
    workers = [int(path.read_text()) for path in begun]
    launcher.kill()
    launcher.wait()
    try:
        wait_until("both workers end", lambda: not any(map(alive, workers)))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["job0", "job1", "saved0", "saved1"]
    finally:
        for worker in workers:
            if alive(worker):
                os.kill(worker, signal.SIGKILL)
