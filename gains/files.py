"""Files and folders that are whole or not there."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gains.errors import Unwritable

PARTIAL = ".part"
"""Suffix of a file that is being written; such a file under a folder of results is a leftover of a killed run."""
NAME_BYTES = 255  # the longest file name that common file systems take
FEW = 16  # files that are waited for one by one
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside the final one; on success it gets the final name, on failure it is removed.

    The name changes only when the bytes are on the disk, so that neither a killed process nor a power cut leaves half
    a file under its final name.

    Raises:
        Unwritable: if the disk is full or the folder cannot be written to.
    """
    temporary = temporary_name(path)
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            put_in_place(temporary, path)
    except BaseException:
        with suppress(OSError):  # on the way out of a failure, whose own error is the one to show
            temporary.unlink()
        raise


@contextmanager
def replacing_folder(root: Path) -> Iterator[Path]:
    """A temporary sibling of ``root`` that takes its place when the block ends well, and vanishes when it does not.

    As with :func:`replacing` all bytes are on the disk before the name changes.

    Raises:
        Unwritable: if the disk is full or the place cannot be written to.
    """
    work: Path | None = None
    try:
        with explained(root):
            root.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".partial", dir=root.parent))
            partial = work / "new"
            partial.mkdir()
            yield partial
            _wait_for_disk(partial)
            if root.exists():
                os.rename(root, work / "old")
            os.rename(partial, root)
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _wait_for_disk(folder: Path) -> None:
    """Return when all files below a folder are on the disk."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) > FEW and hasattr(os, "sync"):
        os.sync()  # everything at once: a wait for each of 100,000 files takes hours on some disks
        return
    for path in files:
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a complete file its final name, once its bytes are on the disk."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def temporary_name(path: Path) -> Path:
    """Where a file is written before it gets its name: beside it, hidden; a name too long for that is shortened."""
    name = f".{path.name}{PARTIAL}"
    if len(os.fsencode(name)) > NAME_BYTES:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}{PARTIAL}"
    return path.with_name(name)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one line why a file or folder could not be written.

    Raises:
        Unwritable: instead of an ``OSError`` for a full disk, missing rights or an impossible name.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Unwritable(
                f"{path} cannot be written: the disk is full, or your share of it; free some space and call again"
            ) from error
        if error.errno in FORBIDDEN:
            raise Unwritable(f"{path} cannot be written: {error.strerror}; choose a folder you may write to") from error
        raise
