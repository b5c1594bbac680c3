"""How a process ends: together with the one that started it, and in order where it is told to."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1  # of prctl.h


def end_with(parent: int) -> None:
    """Be told to end (SIGTERM) when the process that started this one is killed (on Linux; elsewhere this one goes on).

    Otherwise a run that nobody watches would train on, while another process takes it up in the same folder.

    Args:
        parent: number of that process.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was killed just before
            os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def no_longer_than(launcher: int) -> Iterator[None]:
    """Do a job of several in a process that ends with the one that handed it out, where that is its parent.

    A worker of joblib that outlives it would do the jobs that wait in its queue, too, and then wait for more.

    Args:
        launcher: number of the process; it may be this one, or one of another machine.
    """
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid != launcher:
        yield
        return
    end_with(launcher)
    try:
        yield
    finally:
        if os.getppid() != launcher:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + signal.SIGTERM)


@contextmanager
def in_order(command: str) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what it holds is given back, one line says so, the status is 143.

    By default a process is gone at once, and leaves behind jobs of its cluster and what it keeps in files meanwhile.
    Where somebody listens already, or in another thread than the main one, nothing is changed.

    Args:
        command: as the line calls it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        told.append(number)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SystemExit:
        if told:
            print(f"gains {command}: ended by SIGTERM", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
