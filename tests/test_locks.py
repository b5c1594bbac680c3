"""Folders that one call writes to at a time."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from gains.errors import InUse
from gains.locks import alone_in

ROOT = Path(__file__).parents[1]


def test_a_second_call_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with alone_in(tmp_path / "a" / "b", "output"):
            with pytest.raises(InUse, match="another call of gains is writing there"), alone_in(tmp_path / "a/b", "x"):
                pass
            with alone_in(tmp_path / "a", "output"):
                pass
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_killed_call_leaves_no_trace(tmp_path: Path) -> None:
    program = f"""
import sys, time; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from gains.locks import alone_in
with alone_in(Path({str(tmp_path)!r}), "output"):
    print("held", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(InUse), alone_in(tmp_path, "output"):
        pass
    process.kill()
    process.wait()
    with alone_in(tmp_path, "output"):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inherited", [True, False])
def test_what_a_call_has_started_may_keep_the_folder(tmp_path: Path, inherited: bool) -> None:
    """As long as it lives; whoever waits gets the folder then."""
    with ExitStack() as held:
        with alone_in(tmp_path, "output", inherited=inherited):
            waiting = [sys.executable, "-c", "import sys; sys.stdin.read(1)"]
            process = subprocess.Popen(waiting, stdin=subprocess.PIPE, close_fds=False)
        held.callback(process.wait)
        held.callback(process.kill)
        if inherited:
            with pytest.raises(InUse), alone_in(tmp_path, "output"):
                pass
            assert process.stdin is not None
            process.stdin.close()
        with alone_in(tmp_path, "output", patience=60):
            pass
