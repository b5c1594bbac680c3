"""Which files of a folder are images, and what to say of those that are left out."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from gains.images.notes import Notes

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".btf", ".lsm", ".jpg", ".jpeg", ".webp", ".bmp")

OTHER_IMAGES = (
    *(".lif", ".lof", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".flex", ".stk", ".zvi", ".sld"),
    *(".svs", ".ndpi", ".scn", ".mrxs", ".qptiff", ".bif", ".vms", ".isyntax", ".dcm", ".mrc", ".h5", ".npy", ".npz"),
    *(".gif", ".jp2", ".jpx", ".j2k", ".heic", ".heif", ".avif", ".jxl", ".jxr", ".tga", ".ppm", ".pgm", ".psd"),
)
"""Suffixes of image files that are not looked for in folders."""


STORE_SUFFIX = ".zarr"
"""Of folders that are one image."""

VENDOR_SUFFIXES = (".nd2", ".czi")


def is_image(path: PurePath) -> bool:
    """Whether a file in a folder is to be read, by its suffix."""
    suffixes = (*IMAGE_SUFFIXES, *VENDOR_SUFFIXES, STORE_SUFFIX)
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def is_file(path: Path) -> bool:
    """Whether this is a file, or a folder that stands for one, and no part of such a folder."""
    if any(parent.suffix.lower() == STORE_SUFFIX for parent in path.parents):
        return False
    return path.is_file() or (path.suffix.lower() == STORE_SUFFIX and path.is_dir())


def note_others(files: Iterable[PurePath], notes: Notes, also: Sequence[str] = ()) -> None:
    """Say of image files that are not looked for in folders that they are left out, and what to do.

    Args:
        files: all that were found.
        notes: get a line for each suffix.
        also: further suffixes that are not looked for.
    """
    for path in files:
        suffix = path.suffix.lower()
        if suffix in (*OTHER_IMAGES, *also) and not path.name.startswith("."):
            notes.add(str(path), f"{suffix} files are left out; save them as TIFF or PNG")


def page_stem(stem: str, page: int) -> str:
    """What page ``page`` (from 1) of a file is called whose name without suffix is ``stem``."""
    return f"{stem}_p{page:03d}"
