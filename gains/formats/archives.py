"""A folder or a zip archive read through the same few methods; an archive is never extracted."""

import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from gains.errors import InputError
from gains.images.listing import is_file
from gains.images.options import MAX_PIXELS

MOST_BYTES, MOST_EXPANSION = 2**26, 200
"""An entry of a zip archive that is larger and expands more is taken for a bomb: a few bytes that fill the memory.
The bytes grow with ``max_pixels`` where that is raised."""


class Files(Protocol):
    """Files by their relative name with forward slashes, sorted; hidden files and archive junk left out."""

    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""

    def source(self, name: str) -> Path | bytes:
        """What to read it from: its path, or its bytes where it has none."""

    def where(self, name: str) -> str:
        """What an error message calls it."""


class FolderFiles:
    """Files below a folder; an OME-Zarr folder counts as one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if is_file(path))
        self.names = sorted(name for name in paths if not is_junk(name))

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.where(name)} cannot be read: {error.strerror}") from None

    def source(self, name: str) -> Path:
        """Its path."""
        return self.folder / name

    def where(self, name: str) -> str:
        """Its path."""
        return str(self.folder / name)


class ZipFiles:
    """Entries of a zip archive.

    Args:
        path: of the archive.
        max_pixels: most pixels of an image in it.

    Raises:
        InputError: if it is no zip archive, or an entry points outside of it.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS) -> None:
        self.path = path
        self.most_bytes = MOST_BYTES * max(max_pixels / MAX_PIXELS, 1)
        try:
            self.archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a readable zip archive: {error}") from None
        entries = [entry.filename for entry in self.archive.infolist() if not entry.is_dir()]
        for entry in entries:
            check_relative(entry, str(path))
        # Some programs write the backslashes of their system, and folders as empty entries that end in one.
        self.entries = {entry.replace("\\", "/"): entry for entry in entries if not entry.endswith("\\")}
        self.names = sorted(name for name in self.entries if not is_junk(name))
        counts = Counter(entry.replace("\\", "/") for entry in entries)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise InputError(f"{path} holds two files called {twice[0]}; remove one of them")

    def read(self, name: str) -> bytes:
        """The bytes of one entry, its checksum verified.

        Raises:
            InputError: if it is damaged, or would expand as no image or annotation does.
        """
        entry = self.archive.getinfo(self.entries[name])
        if entry.file_size > self.most_bytes and entry.file_size > MOST_EXPANSION * entry.compress_size:
            raise InputError(
                f"{self.where(name)} expands {entry.file_size // max(1, entry.compress_size)}-fold to "
                f"{entry.file_size >> 20} MB; if that is meant, raise dataset.max_pixels or unpack the archive"
            )
        try:
            return self.archive.read(self.entries[name])
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
            raise InputError(f"{self.where(name)} cannot be read: {error}") from None

    def source(self, name: str) -> bytes:
        """The bytes of one entry."""
        return self.read(name)

    def where(self, name: str) -> str:
        """Archive and entry."""
        return f"{self.path}:{name}"


def open_files(
    source: str | Path | None, option: str = "dataset.source", max_pixels: int = MAX_PIXELS
) -> FolderFiles | ZipFiles:
    """The files of a folder or zip archive.

    Args:
        source: its path.
        option: the setting it came from, for the error.
        max_pixels: see :class:`ZipFiles`.

    Raises:
        InputError: if nothing is given or there, or it is another kind of file.
    """
    if source is None:
        raise InputError(f"{option} is not set; give the folder or zip archive as {option}=PATH")
    path = Path(source)
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise InputError(f"{option}={path} does not exist")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{option}={path} is neither a folder nor a zip archive")
    return ZipFiles(path, max_pixels)


def check_relative(name: str, owner: str) -> None:
    """Refuse a name that leads out of its folder.

    Raises:
        InputError: for an absolute name, or one with ``..``.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        raise InputError(f"{owner} names a file {name!r}, which is no name")
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise InputError(
            f"{owner} names the file {name!r}, which lies outside of it; write it relative to the folder of the images"
        )


def is_junk(name: str) -> bool:
    """Hidden files and the resource forks that macOS puts into archives."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def unique_names(paths: Sequence[str]) -> list[str]:
    """A name for each file: its stem where all stems differ, else its whole path joined by underscores."""
    stems = [PurePosixPath(path).stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return ["_".join(PurePosixPath(path).with_suffix("").parts) for path in paths]
