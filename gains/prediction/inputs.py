"""Which files ``gains predict`` reads, and what the results of each are called."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from gains.errors import InputError
from gains.export.formats import FORMATS
from gains.images.listing import is_file, is_image, note_others, page_stem
from gains.images.notes import Notes
from gains.images.still import READABLE
from gains.prediction.folder import holds_results

RESERVED = tuple(Path(form.joined).stem for form in FORMATS.values() if form.joined.endswith(form.suffix))
"""An image called so would share a file with the joined one of all images."""
LONGEST_NAME = 200
"""Bytes of a result's name without suffix; file systems allow 255 in all."""
WILDCARDS = re.compile(r"[*?\[]")
UNPRINTABLE = re.compile("[\ud800-\udfff]")
"""Bytes of a file's name that are no UTF-8, as Python keeps them."""


@dataclass(frozen=True)
class Source:
    """A file to predict.

    Attributes:
        name: of its results, below the folder of results and without suffix; unlike that of any other file.
        path: where it lies.
        relative: its path below the folder that was searched, with ``/`` and as it can be printed.
    """

    name: str
    path: Path
    relative: str


def find_images(pattern: str, output: Path, notes: Notes) -> list[Source]:
    """The files of an ``input``, sorted.

    Args:
        pattern: a file, a folder (its own files, not those of folders in it), or a glob pattern (``**`` for any depth).
        output: folder of results, in which no input is looked for; nor is a result of any call an input.
        notes: get a line about image files that are not read, and about names that had to change.

    Raises:
        InputError: if there is none.
    """
    path = Path(pattern)
    if is_file(path):
        return name_files([path], path.parent, notes)
    root = path if path.is_dir() else _fixed_part(path)
    matches = root.iterdir() if path.is_dir() else root.glob(str(path.relative_to(root)) or "*")
    files = sorted(file for file in matches if is_file(file) and not _is_result(file, root, output))
    found = [file for file in files if is_image(file)]
    note_others(files, notes)
    if not found and path.is_dir():
        raise InputError(f"input={pattern} holds no {READABLE} file; for folders in it: '{path}/**/*'")
    if not found:
        raise InputError(f"input={pattern} is no file, no folder, and matches no {READABLE} file")
    return name_files(found, root, notes)


def _fixed_part(pattern: Path) -> Path:
    """The folder that a glob pattern searches: all before its first wildcard."""
    parts = list(pattern.parts[:-1])
    wild = next((index for index, part in enumerate(parts) if WILDCARDS.search(part)), len(parts))
    return Path(*parts[:wild])


def _is_result(file: Path, root: Path, output: Path) -> bool:
    """Whether a file below a folder ``root`` is a result: in ``output``, or of another call and called as one."""
    folders = file.resolve().parents
    if output.resolve() in folders and output.resolve() not in (root.resolve(), *root.resolve().parents):
        return True
    if not file.name.endswith(tuple(form.suffix for form in FORMATS.values())):
        return False
    near = [folder for folder in folders if folder.is_relative_to(root.resolve()) or folder == output.resolve()]
    return any(map(holds_results, near))


def name_files(files: Sequence[Path], root: Path, notes: Notes) -> list[Source]:
    """Give files names for their results: paths below ``root`` without suffix, made different where they are not."""
    # Absolute, not resolved: a link is called what its folder calls it.
    paths = [os.path.relpath(os.path.abspath(file), os.path.abspath(root)) for file in files]
    stems = [os.path.splitext(path)[0] for path in paths]
    count = Counter([*stems, *RESERVED])
    names: dict[str, int] = {}
    # Names that nobody else wants first, so that a made-up one never takes somebody's own.
    for index in sorted(range(len(files)), key=lambda index: count[stems[index]] > 1):
        plain = stems[index] if count[stems[index]] == 1 else paths[index].replace(".", "_")
        name = wanted = _writable(plain)
        number = 2
        while name in names:
            name, number = f"{wanted}_{number}", number + 1
        names[name] = index
        if name != plain:
            notes.add(printable(paths[index]), "its results have another name, as its own is too long or not UTF-8")
    by_index = {index: name for name, index in names.items()}
    return [
        Source(by_index[index], file, printable(Path(path).as_posix()))
        for index, (file, path) in enumerate(zip(files, paths, strict=True))
    ]


def page_name(name: str, page: int, names: Collection[str]) -> str:
    """Name of a page of a file, other than that of any file."""
    found = page_stem(name, page)
    while found in names:
        found = f"{found}_page"
    return found


def printable(text: str) -> str:
    """A path as it can be printed and written to files: bytes that are no UTF-8 become underscores."""
    return UNPRINTABLE.sub("_", text)


def _writable(name: str) -> str:
    """A relative path whose last part leaves room for suffixes and can be printed, whatever bytes the file's has."""
    folder, last = os.path.split(printable(name))
    encoded = last.encode()
    if len(encoded) > LONGEST_NAME:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        last = f"{encoded[: LONGEST_NAME - 9].decode(errors='ignore')}_{digest}"
    return os.path.join(folder, last)
