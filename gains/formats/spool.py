"""Records by owner in a temporary file: ten million of them would not fit into memory as Python objects."""

import marshal
import tempfile
from array import array
from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError

IN_MEMORY = 2**24
"""Bytes of records from which on they lie in a file."""


class Spool:
    """Records of plain values, each of an owner; they are read when all have been added."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - gone with this object
        self._place: dict[Hashable, int] = {}
        self._owner, self._end = array("i"), array("q", [0])

    def add(self, owner: Hashable, record: Any) -> None:
        """Append a record of numbers, texts, None, and lists, tuples and dictionaries of them.

        Raises:
            InputError: if the disk of temporary files is full.
        """
        packed = marshal.dumps(record)
        try:
            self._file.write(packed)
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()} cannot hold the annotations: {error.strerror}; set TMPDIR to a folder with "
                "more space"
            ) from None
        self._owner.append(self._place.setdefault(owner, len(self._place)))
        self._end.append(self._end[-1] + len(packed))

    def __len__(self) -> int:
        return len(self._owner)

    def of(self, owner: Hashable) -> list[Any]:
        """Records of an owner, in the order in which they were added."""
        if owner not in self._place:
            return []
        place, first = self._place[owner], self._first
        return [self._read(row) for row in self._order[first[place] : first[place + 1]].tolist()]

    def _read(self, row: int) -> Any:
        self._file.seek(self._end[row])
        return marshal.loads(self._file.read(self._end[row + 1] - self._end[row]))

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """Rows by owner."""
        return np.argsort(np.asarray(self._owner), kind="stable")

    @cached_property
    def _first(self) -> npt.NDArray[np.int64]:
        """Where the rows of each owner begin in the order, and the end of all."""
        return np.concatenate([[0], np.cumsum(np.bincount(np.asarray(self._owner)))])
