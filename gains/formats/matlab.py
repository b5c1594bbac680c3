"""Cell arrays of MATLAB files, both the classic format and the HDF5 one that MATLAB calls v7.3."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from gains.errors import InputError

HDF5_MAGIC = b"\x89HDF"
HDF5_OFFSET = 512  # MATLAB puts its own header before the HDF5 file

Cells = Sequence[Any]
"""A cell array as a sequence: of arrays, or of further cell arrays. HDF5 reads an element when it is asked for."""


def read_cell_arrays(data: bytes, name: str) -> dict[str, Cells]:
    """The cell arrays of a MATLAB file by variable name, flattened; other variables are left out.

    Args:
        data: bytes of the file.
        name: what an error calls it.

    Raises:
        InputError: if it is no MATLAB file, or is v7.3 and h5py is not installed.
    """
    if HDF5_MAGIC in (data[:4], data[HDF5_OFFSET : HDF5_OFFSET + 4]):
        return _read_hdf5(data, name)
    try:
        variables = scipy.io.loadmat(io.BytesIO(data))
    # SciPy raises whatever a damaged byte leads to.
    except Exception as error:
        raise InputError(f"{name} is not a readable MATLAB file: {error}") from None
    cells = {key: value for key, value in variables.items() if _is_cell(value)}
    return {key: [_nested(element) for element in value.ravel(order="F")] for key, value in cells.items()}


def _is_cell(value: Any) -> bool:
    """Whether a variable is a cell array: both readers show one as objects, or references to them."""
    return getattr(getattr(value, "dtype", None), "kind", None) == "O"


def _nested(element: npt.NDArray[Any]) -> Any:
    """An element of a classic cell array: an array, or a list where it is a cell array itself."""
    return [_nested(part) for part in element.ravel(order="F")] if _is_cell(element) else element


class _Hdf5Cells(Sequence[Any]):
    """A cell array of a v7.3 file: a data set of references."""

    def __init__(self, file: Any, references: Any) -> None:
        self.file = file
        self.references = references.ravel(order="F")

    def __len__(self) -> int:
        return len(self.references)

    def __getitem__(self, index: Any) -> Any:
        dataset = self.file[self.references[index]]
        if _is_cell(dataset):
            return _Hdf5Cells(self.file, dataset[()])
        # MATLAB stores columns first, so HDF5 shows every array transposed.
        return np.ascontiguousarray(dataset[()].T)


def _read_hdf5(data: bytes, name: str) -> dict[str, Cells]:
    """Cell arrays of a v7.3 file."""
    try:
        import h5py
    except ImportError:
        raise InputError(
            f"{name} is a MATLAB v7.3 (HDF5) file, which needs h5py: pip install h5py, "
            "or save it again in MATLAB with the option -v7"
        ) from None
    try:
        file = h5py.File(io.BytesIO(data), "r")
        arrays = {key: value[()] for key, value in file.items() if _is_cell(value)}
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{name} is a damaged MATLAB v7.3 file: {error}") from None
    return {key: _Hdf5Cells(file, value) for key, value in arrays.items()}
