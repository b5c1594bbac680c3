"""Pickles of numpy arrays and plain containers, as ``_seg.npy`` files are: nothing else is ever built from them."""

import io
import pickle
from typing import Any

import numpy as np

from gains.errors import InputError


def _empty_array(*_: Any) -> Any:
    """What a pickled array starts as, whatever size is asked for: its state brings the values."""
    return np.ndarray((0,), dtype=np.int8)


NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
PARTS: dict[str, Any] = {
    "_reconstruct": _empty_array,
    "ndarray": "ndarray",  # an argument of the former only, never called
    "dtype": np.dtype,
    "scalar": np.int8(0).__reduce__()[0],
    "_frombuffer": lambda data, dtype, shape, order: np.frombuffer(data, dtype).reshape(shape, order=order),
}
"""What numpy pickles arrays, their types and numbers with."""
CONTAINERS = ("set", "frozenset", "bytearray", "complex")
"""Of ``builtins``; the other containers need no name."""

MOST_HEADER = 10_000


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in NUMPY and name in PARTS:
            return PARTS[name]
        if module == "builtins" and name in CONTAINERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither an array nor a plain container")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside of it")


def load_pickled_npy(data: bytes, where: str) -> Any:
    """The object in a ``.npy`` file of one pickled object.

    Args:
        data: bytes of the file.
        where: what the error calls it.

    Raises:
        InputError: if it is no such file, damaged, or asks for anything but arrays, numbers, text and containers.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream, max_header_size=MOST_HEADER)
        if dtype != np.dtype(object) or shape != ():
            raise InputError(f"{where} holds an array, not the dictionary that Cellpose writes")
        value = _PlainUnpickler(stream).load()
    except InputError:
        raise
    except Exception as error:  # a damaged or hostile pickle may raise anything
        raise InputError(f"{where} is not read: {error}") from None
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value
