"""Folders that one call writes to at a time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gains.errors import InUse
from gains.files import explained

POLL_SECONDS = 0.2
PATIENCE = 30
"""Seconds in which what is left of a killed call, such as its runs or data workers, has saved and is gone."""


@contextmanager
def alone_in(folder: Path, setting: str, patience: float = 0, inherited: bool = False) -> Iterator[None]:
    """Make a folder if it is not there, and keep it to one call at a time; a killed one leaves no trace.

    Args:
        folder: to be kept.
        setting: what its path was given as.
        patience: seconds to wait for another call, or what is left of it, to end.
        inherited: whether processes that are started meanwhile, without closing what may be inherited, keep it too.

    Raises:
        InUse: if another call is writing to it.
        InputError: if it cannot be made.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # The folder itself is locked, so that no file is left; on a file system without locks there are none.
        held = os.open(folder, os.O_RDONLY)
    try:
        os.set_inheritable(held, inherited)
        end = time.monotonic() + patience
        while not _locked(held):
            if time.monotonic() > end:
                raise InUse(
                    f"{setting}={folder}: another call of gains is writing there; wait for it, or choose another folder"
                )
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(held)


def _locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
