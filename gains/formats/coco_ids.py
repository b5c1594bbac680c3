"""Ids as COCO files write them: whole numbers, text, or text and fractions that are whole numbers."""

import math
from collections.abc import Iterable
from typing import Any

Id = int | str

MOST_ID = 2**63


def to_id(value: Any) -> Id | None:
    """An id as a whole number where it can be read as one, else as text; None for what is no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):  # as most are
        return value if abs(value) < MOST_ID else None
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 19 else value or None
    return int(value) if isinstance(value, float) and math.isfinite(value) and value == int(value) else None


def number_ids(ids: Iterable[Id]) -> dict[Id, int]:
    """A number for each id: itself, or, where it is text, one that no other has, in the order given."""
    ids = list(ids)
    numbers = [name for name in ids if isinstance(name, int)]
    free = iter(range(max(numbers, default=0) + 1, max(numbers, default=0) + 1 + len(ids)))
    return {name: name if isinstance(name, int) else next(free) for name in ids}
