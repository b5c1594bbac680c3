"""Which files of a folder are images, and what to say of those that are left out."""

from collections.abc import Iterable
from pathlib import PurePath

from gains.images.notes import Notes

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".btf", ".lsm", ".jpg", ".jpeg", ".webp", ".bmp")

OTHER_IMAGES = (
    *(".czi", ".nd2", ".lif", ".lof", ".oib", ".oif", ".vsi", ".ims", ".dv", ".r3d", ".flex", ".stk", ".zvi", ".sld"),
    *(".svs", ".ndpi", ".scn", ".mrxs", ".qptiff", ".bif", ".vms", ".isyntax", ".dcm", ".mrc", ".h5", ".npy", ".npz"),
    *(".gif", ".jp2", ".jpx", ".j2k", ".heic", ".heif", ".avif", ".jxl", ".jxr", ".tga", ".ppm", ".pgm", ".psd"),
)
"""Suffixes of image files that are not looked for in folders."""


def is_image(path: PurePath) -> bool:
    """Whether a file in a folder is to be read, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def note_others(files: Iterable[PurePath], notes: Notes) -> None:
    """Say of image files that are not looked for in folders that they are left out, and what to do."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in OTHER_IMAGES and not path.name.startswith("."):
            notes.add(str(path), f"{suffix} files are left out; {_remedy(suffix)}")


def _remedy(suffix: str) -> str:
    return "save them as TIFF or PNG"
