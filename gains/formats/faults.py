"""Everything that is wrong in a file, reported at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from gains.errors import InputError

SHOWN = 10
"""Faults that are written out; of more only the number is told."""


class Faults:
    """Collects what is wrong, so that a file is mended in one go and not fault by fault.

    Args:
        owner: the file or folder, as a message calls it.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.count = 0
        self.shown: list[str] = []

    def add(self, fault: str) -> None:
        """Note a fault; the text of the first ten is kept."""
        self.count += 1
        if self.count <= SHOWN:
            self.shown.append(fault)

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Note an ``InputError`` raised inside instead of ending with it."""
        try:
            yield
        except InputError as error:
            self.add(str(error))

    def check(self) -> None:
        """Refuse the file if anything was wrong.

        Raises:
            InputError: the fault, or the first ten and how many more there are.
        """
        if self.count == 1:
            raise InputError(self.shown[0])
        if self.count:
            more = [f"... and {self.count - SHOWN} more"] if self.count > SHOWN else []
            raise InputError("\n  ".join([f"{self.owner} has {self.count} faults:", *self.shown, *more]))
