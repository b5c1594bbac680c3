"""Files of microscope makers, through readers that are installed as an extra: Nikon's ND2 and Zeiss' CZI."""

import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.limits import check_pixels
from gains.images.options import ReadOptions
from gains.images.pixel_size import czi_pixel_size, square_side
from gains.images.raster import ArrayStack, Raster, Stack, numbered_rasters
from gains.rle import Box

try:
    import nd2
except ImportError:
    nd2 = None
try:
    import czifile
except ImportError:
    czifile = None

INSTALL = "pip install 'gains[vendor]'"


def vendor_rasters(path: Path, name: str, options: ReadOptions) -> list[Raster]:
    """The images of an ND2 or CZI file: every position or scene, time point and plane.

    Args:
        path: of the file, whose suffix decides.
        name: what errors and notes call it.
        options: see :class:`ReadOptions`.

    Raises:
        InputError: if the reader is not installed, the file is damaged, or its channels do not fit.
    """
    suffix = path.suffix.lower()
    if (nd2 if suffix == ".nd2" else czifile) is None:
        raise InputError(f"{name} is a {suffix} file; to read it: {INSTALL}")
    try:
        stacks = [Nd2Stack(path, name, options)] if suffix == ".nd2" else _czi_stacks(path, name, options)
    except InputError:
        raise
    # The readers raise whatever a damaged byte leads to.
    except Exception as error:
        raise _damaged(name, error) from None
    return numbered_rasters(stacks, options)


class Nd2Stack:
    """The frames of an ND2 file, each read when one of its planes is asked for.

    Args:
        path: of the file.
        name: what errors call it.
        options: limit the size of a frame.
    """

    def __init__(self, path: Path, name: str, options: ReadOptions) -> None:
        self.name = name
        self._file: Any = nd2.ND2File(path)
        weakref.finalize(self, self._file.close)
        sizes = {str(axis): int(length) for axis, length in self._file.sizes.items()}
        self.size = (sizes["Y"], sizes["X"])
        # In micrometres, x, y and z.
        self.pixel_size_um = square_side(lambda: tuple(self._file.voxel_size()[:2]))
        self.lengths = {axis: length for axis, length in sizes.items() if axis not in "YX"}
        self.is_rgb = sizes.get("S") == 3
        self._frame_axes = [axis for axis in sizes if axis in "CYXS"]
        self._loops = [axis for axis in sizes if axis not in "CYXS"]
        check_pixels(self.size, options, name, math.prod(sizes.get(axis, 1) for axis in "CS"))
        self._last: tuple[int, npt.NDArray[Any]] | None = None

    def read(self, plane: dict[str, int], box: Box) -> npt.NDArray[Any]:
        """Pixels ``(h, w, samples)`` of a box.

        Raises:
            InputError: if the frame is damaged.
        """
        x0, y0, x1, y1 = box
        spans: dict[str, slice | int] = {**plane, "Y": slice(y0, y1), "X": slice(x0, x1)}
        frame = self._frame(plane)
        part = frame[tuple(spans.get(axis, slice(None)) for axis in self._frame_axes)]
        return part if "S" in self._frame_axes else part[:, :, None]

    def _frame(self, plane: dict[str, int]) -> npt.NDArray[Any]:
        """All channels at one place and time; frames lie in the order of the loops."""
        number = 0
        for axis in self._loops:
            number = number * self.lengths[axis] + plane[axis]
        if self._last is None or self._last[0] != number:
            try:
                self._last = (number, np.asarray(self._file.read_frame(number)))
            except Exception as error:
                raise _damaged(self.name, error) from None
        return self._last[1]

    def is_missing(self, plane: dict[str, int]) -> bool:
        """Never: the reader counts the frames that are there."""
        return False

    def is_elsewhere(self, plane: dict[str, int]) -> bool:
        """All is here."""
        return False


def _czi_stacks(path: Path, name: str, options: ReadOptions) -> list[Stack]:
    """One stack for each scene; the reader of before 2026 knows the whole file only, its scenes as an axis."""
    with czifile.CziFile(path) as file:
        scenes = list(file.scenes.values()) if hasattr(file, "scenes") else [file]
        side = czi_pixel_size(file.metadata)
        stacks: list[Stack] = []
        for scene in scenes:
            check_pixels(scene.shape, options, name)
            axes = "".join(scene.axes)
            if "0" in axes:  # how that reader calls the samples of a pixel, and S the scenes
                axes = axes.replace("S", "P").replace("0", "S")
            pixels = np.asarray(scene.asarray())
            alone = tuple(place for place, axis in enumerate(axes) if axis not in "YX" and pixels.shape[place] == 1)
            kept = "".join(axis for place, axis in enumerate(axes) if place not in alone)
            stacks.append(ArrayStack(np.squeeze(pixels, axis=alone), kept, name, side))
    return stacks


def _damaged(name: str, error: Exception) -> InputError:
    text = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} is a damaged file, or of a kind that its reader does not know: {text[:200]}")
