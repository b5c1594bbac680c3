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
        self.found: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep an ``InputError`` raised inside instead of ending with it."""
        try:
            yield
        except InputError as error:
            self.found.append(str(error))

    def check(self) -> None:
        """Refuse the file if anything was wrong.

        Raises:
            InputError: the fault, or the first ten and how many more there are.
        """
        if len(self.found) == 1:
            raise InputError(self.found[0])
        if self.found:
            shown = self.found[:SHOWN]
            more = [f"... and {len(self.found) - SHOWN} more"] if len(self.found) > SHOWN else []
            raise InputError("\n  ".join([f"{self.owner} has {len(self.found)} faults:", *shown, *more]))
