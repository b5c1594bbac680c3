"""Heads for other classes: which rows of a network's weights belong to which class, and those of shared names kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gains.models.build import Plan, build_plan

BACKGROUND_FIRST = (".cls_score.", ".bbox_pred.")
"""Parts whose background comes before the classes, as in torchvision; in others no-object is the last row."""


@dataclass(frozen=True)
class Rows:
    """How the first axis of a tensor is divided among classes.

    Attributes:
        each: rows of one class.
        rest: rows of background or no-object; 0 where there is none.
        first: whether these come before the classes.
    """

    each: int
    rest: int
    first: bool

    def of(self, position: int) -> slice:
        """Rows of the class at a position from 0."""
        start = position * self.each + (self.rest if self.first else 0)
        return slice(start, start + self.each)

    def background(self, classes: int) -> slice:
        """Rows of background or no-object among so many classes."""
        return slice(0, self.rest) if self.first else slice(classes * self.each, classes * self.each + self.rest)


def class_rows(network: nn.Module, plan: Plan, classes: int, trust: Sequence[str] = ()) -> dict[str, Rows | None]:
    """The tensors of a network that depend on its classes, found by building it for one class more without memory.

    Args:
        network: built from the plan.
        plan: its ``_target_`` tree.
        classes: K of the plan.
        trust: see :func:`gains.models.build.build_plan`.

    Returns:
        The rows of each class, by the tensor's name; None where classes are mixed within rows (PointRend's point head).
    """
    with torch.device("meta"):
        wider = build_plan(_one_more(plan), trust).state_dict()
    found: dict[str, Rows | None] = {}
    for name, value in network.state_dict().items():
        if name not in wider or wider[name].shape == value.shape:
            continue
        each = len(wider[name]) - len(value)
        mixed = value.shape[1:] != wider[name].shape[1:]
        first = any(part in f".{name}" for part in BACKGROUND_FIRST)
        found[name] = None if mixed else Rows(each, len(value) - each * classes, first)
    return found


def _one_more(tree: Any) -> Any:
    """A plan for one class more."""
    if isinstance(tree, list):
        return [_one_more(value) for value in tree]
    if not isinstance(tree, Mapping):
        return tree
    return {key: value + 1 if key == "num_classes" else _one_more(value) for key, value in tree.items()}


def carry_classes(own: Tensor, theirs: Tensor, rows: Rows, old: Sequence[str], new: Sequence[str]) -> Tensor | None:
    """A tensor of the new network with the rows of background and of classes of the same name filled in.

    Args:
        own: tensor ``(rows, ...)`` of the new network as initialised.
        theirs: of the trained one.
        rows: how they are divided.
        old: classes of the trained one, in order.
        new: of the new one.

    Returns:
        The filled copy; None where the trained tensor is divided otherwise.
    """
    if len(theirs) != rows.each * len(old) + rows.rest or theirs.shape[1:] != own.shape[1:]:
        return None
    filled = own.clone()
    filled[rows.background(len(new))] = theirs[rows.background(len(old))].to(own.dtype)
    for position, name in enumerate(new):
        if name in old:
            filled[rows.of(position)] = theirs[rows.of(old.index(name))].to(own.dtype)
    return filled
