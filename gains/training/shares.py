"""The processes of a run share what is evaluated after training: each looks at its part of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from torch import distributed

Item = TypeVar("Item")


@dataclass(frozen=True)
class Share:
    """The part of one process.

    Attributes:
        images: how many there are.
        rank: this process among those of the run, from 0.
        processes: how many those are.
    """

    images: int
    rank: int = 0
    processes: int = 1

    @classmethod
    def of(cls, images: int) -> "Share":
        """That of this process, where several train one model; else all."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls(images)
        return cls(images, distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes what all have found."""
        return self.rank == 0

    @property
    def places(self) -> range:
        """Places of this process's images; empty where there are fewer images than processes."""
        return range(self.rank, self.images, self.processes)

    @property
    def seen(self) -> range:
        """The places that it looks at: its own, or the first, not counted, where it has none: all must take part."""
        return self.places or range(1)

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """What all processes have, one item for each of their places (or fewer), in the order of the places."""
        if self.processes == 1:
            return list(items)
        parts: list[Sequence[Item] | None] = [None] * self.processes
        distributed.all_gather_object(parts, list(items)[: len(self.places)])
        missing = object()
        rows = zip_longest(*(part or () for part in parts), fillvalue=missing)
        return [item for row in rows for item in row if item is not missing]  # type: ignore[misc]
