"""The instances of an image that can have an anomaly, and how they act on each other.

Method, section 1, steps 3 to 5: which instances are compared, their self and mutual anomaly, and what is left of the
mutual anomaly when self anomalies are taken off.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gains.gradient_anomaly.statistics import AngleSpread, Resultant, Statistic
from gains.gradient_anomaly.windows import AnomalyWindows
from gains.masks import InstanceCrops


@dataclass(frozen=True)
class Scene:
    """The instances of an image that can have an anomaly, and who is compared with whom; see :meth:`of`.

    Attributes:
        total: N, all instances of the image; ``chosen``: indices of the n that are looked at.
        windows: their entries.
        others: ``(n,)`` float64, with how many instances each is compared (method, step 4).
        strangers: for each batch of pairs of entries ``(J,)`` bool, which are not compared; None for none of them.
        beyond: ``(E,)`` bool, where there is no self anomaly; None for nowhere.
    """

    total: int
    chosen: list[int]
    windows: AnomalyWindows
    variant: str
    statistic: str
    others: Tensor
    strangers: list[Tensor | None]
    beyond: Tensor | None

    @classmethod
    def of(
        cls,
        masks: InstanceCrops,
        target: Tensor,
        window: int,
        variant: str,
        statistic: str,
        *,
        everywhere: bool,
    ) -> "Scene":
        """Choose the instances and find their windows.

        Args:
            masks: all N instances.
            target: ``(N,)`` bool on the CPU, who is of the target category.
            window, variant, statistic: see :func:`gains.gradient_anomaly.gradient_anomaly_maps`.
            everywhere: keep also those windows in which nothing of the mutual anomaly can be left.
        """
        neighbours, top_left = None, None
        if variant == "nuclei":
            near = _neighbours(masks.boxes, window)
            top_left = _neighbourhood_corner(masks.boxes, near)
            neighbours = near & target & target[:, None]
            others = neighbours.sum(1)
        else:
            others = (target.sum() - 1).expand(len(masks))
        present = (masks.boxes[:, 2:] > masks.boxes[:, :2]).all(1)
        chosen = (target & present & (others > 0)).nonzero().squeeze(1)
        device = masks.values.device
        centred = statistic == "circular"
        # In a window that holds one instance only, self and mutual anomaly are the same number and cancel out; in the
        # published procedure for nuclei they are two numbers, which agree where the mask fills the window.
        lone_below: float = window**2 if variant == "nuclei" and not centred else 0
        if everywhere:
            lone_below = math.inf
        windows = AnomalyWindows(masks.select(chosen.tolist()), window, centred=centred, lone_below=lone_below)
        strangers: list[Tensor | None] = [None for _ in windows.pairs()]
        beyond = None
        instance = windows.entries.instance
        if neighbours is not None:
            table = ~neighbours[chosen][:, chosen].to(device).flatten()
            strangers = [table.index_select(0, instance[a] * len(chosen) + instance[b]) for a, b in windows.pairs()]
        if top_left is not None and not centred:
            top, left = (corner.index_select(0, instance) for corner in top_left[:, chosen].int().to(device))
            y, x = windows.starts()
            beyond = (y < top) | (x < left)
        others = others[chosen].double().to(device)
        return cls(len(masks), chosen.tolist(), windows, variant, statistic, others, strangers, beyond)

    def passes(self) -> Sequence[Callable[[], Statistic]]:
        """What builds the statistic of each pass whose maps are averaged; build, use and drop them one by one."""
        if self.statistic == "circular":
            return [partial(Resultant, self.windows)]
        return AngleSpread.passes(self.windows, self.variant)

    def anomalies(self, statistic: Statistic) -> tuple[Tensor, Tensor]:
        """Self and mutual anomaly ``(E,)`` (method, steps 3 and 4)."""
        own, far = statistic.alone()
        near = torch.zeros_like(far)
        for (a, b), strange in zip(self.windows.pairs(), self.strangers, strict=True):
            spread = statistic.pair(a, b)
            near[a].add_(_without(strange, spread - far[a]))
            near[b].add_(_without(strange, spread.sub_(far[b])))
        others = self.others.index_select(0, self.windows.entries.instance)
        return _without(self.beyond, own), near.div_(others).add_(far)

    def interaction(self, own: Tensor, mutual: Tensor, overlap_gain: float) -> Tensor:
        """What is left of the mutual anomaly ``(E,)`` without the self anomalies, plus the bonus (method, step 5).

        The published order is kept: instance after instance, each subtraction clamped at 0, a bonus subject to later
        subtractions. The circular statistic subtracts all, clamps once and adds every bonus last, so that the order
        of annotations does not count.
        """
        if self.variant == "nuclei":
            return (mutual - own).clamp_(min=0)
        left, circular = mutual.clone(), self.statistic == "circular"
        for begin, members, pixels in self.windows.blocks:
            block = slice(begin, begin + members * pixels)
            rest, inside, others = (part[block].view(members, pixels) for part in (left, self.windows.inside, own))
            if circular:
                shared = (inside * (inside.sum(0) - 1)).to(rest.dtype)
                rest.sub_(others.sum(0)).clamp_(min=0).add_(shared, alpha=overlap_gain)
                continue
            for k in range(members):
                rest.sub_(others[k]).clamp_(min=0)
                bonus = (inside & inside[k]).to(rest.dtype).mul_(overlap_gain)
                bonus[k] = 0
                rest += bonus
        return left

    def crops(self, values: Tensor, background: float) -> InstanceCrops:
        """Crops of all N instances from one value per entry ``(E,)``; empty ones for those not looked at."""
        boxes = torch.zeros(self.total, 4, dtype=torch.int64)
        boxes[self.chosen] = self.windows.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        flat = values.new_full((int(sides.prod(1).sum()),), background, dtype=torch.float32)
        flat.scatter_(0, self.windows.position.long(), values.float())
        return InstanceCrops(flat, boxes, self.windows.size, background)


def _without(where: Tensor | None, values: Tensor) -> Tensor:
    """Zero in place where told."""
    return values if where is None else values.masked_fill_(where, 0)


def _neighbours(boxes: Tensor, window: int) -> Tensor:
    """Who is whose neighbour ``(N, N)`` in the variant ``nuclei``: grown boxes meet, neither contains the other."""
    begin, end = boxes[:, :2], boxes[:, 2:]
    meet = (begin[:, None] - window <= end[None] + window).all(2)
    contains = ((begin[:, None] <= begin[None]) & (end[:, None] >= end[None])).all(2)
    present = (end > begin).all(1)
    return meet & meet.T & ~contains & ~contains.T & present & present[:, None]


def _neighbourhood_corner(boxes: Tensor, neighbours: Tensor) -> Tensor:
    """Top row and left column ``(2, N)`` of the box around each instance and its neighbours."""
    begin = boxes[:, :2].flip(1).T
    if not len(boxes):
        return begin
    return torch.where(neighbours, begin[:, None, :], begin[:, :, None]).amin(2)
