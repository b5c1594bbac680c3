"""Files that are whole or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gains.errors import InputError

PARTIAL = ".part"
"""Suffix of a file that is being written; such a file under a folder of results is a leftover of a killed run."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside the final one; on success it gets the final name, on failure it is removed.

    The name changes only when the bytes are on the disk, so that neither a killed process nor a power cut leaves half
    a file under its final name.

    Raises:
        InputError: if the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(
                f"{path} cannot be written: the disk is full, or your share of it; free some space and call again"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise InputError(f"{path} cannot be written: {error.strerror}; choose a folder you may write to") from None
        raise
    except BaseException:
        _discard(temporary)
        raise


def _discard(path: Path) -> None:
    """Remove a file if that is possible: on the way out of a failure, whose own error is the one to show."""
    with suppress(OSError):
        path.unlink()
