"""GAMM, the gradient anomaly mapping module: ground-truth masks to one gradient anomaly map per instance.

Each instance gets a radial field, the gradient of the squared distance to its centroid. Inside one instance, directions
change smoothly; where two instances touch, overlap or cross, their fields disagree. A map is 1 away from such places
and rises to 1 + gain where the disagreement is largest. From "GAInS: Gradient Anomaly-aware Biomedical Instance
Segmentation" (arXiv 2409.13988) and, in the details the paper leaves open, its released programs.

The work follows the area of the instances' boxes, never N x H x W: windows that cannot differ from 1 are dropped
first (:mod:`gains.anomaly_windows`), the spread of directions is measured in those that are left
(:mod:`gains.anomaly_statistics`), and this file combines them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gains.anomaly_statistics import AngleSpread, Overlaps, Resultant, Statistic
from gains.anomaly_windows import AnomalyWindows
from gains.masks import InstanceCrops
from gains.radial_field import largest_magnitude

VARIANTS = ("isbi", "nuclei", "chromosome")
STATISTICS = ("reference", "circular")


def gradient_anomaly_maps(
    masks: Tensor,
    *,
    window: int,
    gain: float,
    overlap_gain: float,
    variant: str = "isbi",
    statistic: str = "reference",
    labels: Tensor | None = None,
    target_label: int | None = None,
) -> Tensor:
    """Gradient anomaly maps of full-size masks; :func:`gradient_anomaly_crops` is the same without full-size arrays.

    Args:
        masks: ``(N, H, W)`` bool or 0/1, on CPU or GPU.
        window: side of the sliding window in pixels, 1/20 to 1/10 of an instance's size; at most ``min(H, W)``.
        gain: what the largest anomaly of an instance adds to 1 (the paper's GA_factor), at least 0.
        overlap_gain: bonus of pixels shared by two masks, before normalisation (the paper's overlap_HL), at least 0.
        variant: which released program to follow: ``isbi``, ``nuclei`` or ``chromosome``.
        statistic: ``reference``, the published standard deviation of angles, or ``circular``, which does not depend
            on the image's orientation or the order of the masks.
        labels: ``(N,)`` category of each mask; with None all are of the target category.
        target_label: the category that gets maps, the others get ones; with None every category does.

    Returns:
        ``(N, H, W)`` float32 in [1, 1 + gain]. An instance that meets no other of the target category gets ones.

    Raises:
        ValueError: for an argument out of range, which the message names with what is allowed.
    """
    if masks.ndim != 3:
        raise ValueError(f"masks must have shape (N, H, W), got {tuple(masks.shape)}")
    crops = gradient_anomaly_crops(
        InstanceCrops.from_dense(masks),
        labels,
        window=window,
        gain=gain,
        overlap_gain=overlap_gain,
        variant=variant,
        statistic=statistic,
        target_label=target_label,
    )
    return crops.to(masks.device).dense()


def gradient_anomaly_crops(
    masks: InstanceCrops,
    labels: Tensor | None = None,
    *,
    window: int,
    gain: float,
    overlap_gain: float,
    variant: str = "isbi",
    statistic: str = "reference",
    target_label: int | None = None,
) -> InstanceCrops:
    """Gradient anomaly maps as crops: float32, background 1, each on its instance's box grown by the window.

    Args:
        masks: the instances on their tight boxes, on CPU or GPU.
        labels: see :func:`gradient_anomaly_maps`, as the remaining arguments and errors.
    """
    _check(masks, labels, window, gain, overlap_gain, variant, statistic, target_label)
    scene = _Scene.of(masks, labels, target_label, window, variant, statistic, everywhere=False)
    windows, result = scene.windows, torch.zeros_like(scene.windows.count)
    magnitude = windows.gradients(windows.entries).square_().sum(0).sqrt_()
    magnitude /= largest_magnitude(windows.centroid, windows.size)[windows.entries.instance]
    passes = 0
    for measure in scene.passes():
        own, mutual = scene.anomalies(measure)
        result += _normalised(scene.interaction(own, mutual, overlap_gain) * magnitude, windows)
        passes += 1
    return scene.crops(1 + gain / passes * result, background=1)


def anomaly_parts(
    masks: InstanceCrops, *, window: int, variant: str = "isbi", statistic: str = "reference"
) -> tuple[InstanceCrops, InstanceCrops]:
    """Self and mutual anomaly (method, steps 3 and 4), mean of both passes: to look at, not needed in training.

    Returns:
        Two float32 containers with background 0, like the maps otherwise.
    """
    _check(masks, None, window, 0, 0, variant, statistic, None)
    scene = _Scene.of(masks, None, None, window, variant, statistic, everywhere=True)
    passes = [scene.anomalies(measure) for measure in scene.passes()]
    own, mutual = (torch.stack(part).mean(0) for part in zip(*passes, strict=True))
    return scene.crops(own, background=0), scene.crops(mutual, background=0)


class GradientAnomaly:
    """The dataset's derived target ``anomaly``: built by Hydra, called in data workers after augmentation.

    Args: see :func:`gradient_anomaly_maps`.

    Raises:
        ValueError: for arguments out of range, already at construction.
    """

    def __init__(
        self,
        window: int,
        gain: float,
        overlap_gain: float,
        variant: str = "isbi",
        statistic: str = "reference",
        target_label: int | None = None,
    ) -> None:
        _check_settings(window, gain, overlap_gain, variant, statistic)
        self.window = window
        self.gain = gain
        self.overlap_gain = overlap_gain
        self.variant = variant
        self.statistic = statistic
        self.target_label = target_label

    def __call__(self, masks: InstanceCrops, labels: Tensor) -> InstanceCrops:
        """Maps of one image's instances; ones (so: no re-weighting) where the image is smaller than the window.

        An augmentation may hand over such an image. There is no window to look through then, and the training run
        must not end for it.
        """
        if self.window > min(masks.size):
            return _ones(masks)
        return gradient_anomaly_crops(
            masks,
            labels,
            window=self.window,
            gain=self.gain,
            overlap_gain=self.overlap_gain,
            variant=self.variant,
            statistic=self.statistic,
            target_label=self.target_label,
        )


@dataclass(frozen=True)
class _Scene:
    """The instances of an image that can have an anomaly, and who is compared with whom.

    Attributes:
        total: N, all instances of the image; ``chosen``: indices of the n that are looked at.
        windows: their entries.
        others: ``(n,)`` float64, with how many instances each is compared (method, step 4).
        neighbours: ``(n, n)`` bool, which pairs are compared; None for all.
        corner: ``(2, n)`` first row and column at which windows of the self anomaly start; None for no limit.
    """

    total: int
    chosen: list[int]
    windows: AnomalyWindows
    variant: str
    statistic: str
    others: Tensor
    neighbours: Tensor | None
    corner: Tensor | None

    @classmethod
    def of(
        cls,
        masks: InstanceCrops,
        labels: Tensor | None,
        target_label: int | None,
        window: int,
        variant: str,
        statistic: str,
        *,
        everywhere: bool,
    ) -> "_Scene":
        """Choose the instances; ``everywhere`` keeps also those windows in which the anomaly is certain to be zero."""
        target = torch.ones(len(masks), dtype=torch.bool)
        if labels is not None and target_label is not None:
            target = labels.cpu() == target_label
        neighbours, corner = None, None
        if variant == "nuclei":
            near = _neighbours(masks.boxes, window)
            corner = _neighbourhood_corner(masks.boxes, near)
            neighbours = near & target & target[:, None]
            others = neighbours.sum(1)
        else:
            others = (target.sum() - 1).expand(len(masks))
        present = (masks.boxes[:, 2:] > masks.boxes[:, :2]).all(1)
        chosen = (target & present & (others > 0)).nonzero().squeeze(1)
        device = masks.values.device
        centred = statistic == "circular"
        # A window that holds one instance only has the same self and mutual anomaly, which cancel out. In the published
        # procedure for nuclei they are two different numbers.
        shared_only = not everywhere and (centred or variant != "nuclei")
        return cls(
            len(masks),
            chosen.tolist(),
            AnomalyWindows(masks.select(chosen.tolist()), window, centred=centred, shared_only=shared_only),
            variant,
            statistic,
            others[chosen].double().to(device),
            None if neighbours is None else neighbours[chosen][:, chosen].to(device),
            None if corner is None or centred else corner[:, chosen].to(device),
        )

    def passes(self) -> Iterator[Statistic]:
        """The statistic, once for each pass whose maps are averaged; each is built when the one before is done."""
        if self.statistic == "circular":
            yield Resultant(self.windows)
            return
        overlaps = Overlaps(self.windows, self.pairs)
        for mirrored in (False, True):
            yield AngleSpread(self.windows, overlaps, self.variant, mirrored=mirrored)

    @cached_property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of entries of one pixel whose instances are compared, in batches."""
        batches = list(self.windows.pairs())
        if self.neighbours is None:
            return batches
        instance = self.windows.entries.instance
        kept = [self.neighbours[instance[a], instance[b]] for a, b in batches]
        return [(a[keep], b[keep]) for (a, b), keep in zip(batches, kept, strict=True)]

    def anomalies(self, statistic: Statistic) -> tuple[Tensor, Tensor]:
        """Self and mutual anomaly ``(E,)`` (method, steps 3 and 4)."""
        own, far = statistic.alone()
        near = torch.zeros_like(far)
        for batch, (a, b) in enumerate(self.pairs):
            spread = statistic.pair(batch, a, b)
            near.index_add_(0, a, spread - far[a])
            near.index_add_(0, b, spread - far[b])
        instance = self.windows.entries.instance
        if self.corner is not None:
            own = own * (self.windows.start >= self.corner[:, instance]).all(0)
        return own, far + near / self.others[instance]

    def interaction(self, own: Tensor, mutual: Tensor, overlap_gain: float) -> Tensor:
        """What is left of the mutual anomaly ``(E,)`` without the self anomalies, plus the bonus (method, step 5).

        The published order is kept: instance after instance, each subtraction clamped at 0, a bonus subject to later
        subtractions. The circular statistic subtracts all, clamps once and adds every bonus last, so that the order
        of annotations does not count.
        """
        if self.variant == "nuclei":
            return (mutual - own).clamp_(min=0)
        windows = self.windows
        left, bonus = mutual.clone(), torch.zeros_like(mutual)
        rows = torch.arange(len(mutual), device=mutual.device)
        step = 0
        while len(rows := rows[windows.members[rows] > step]):
            other = windows.first[rows] + step
            shared = windows.inside[rows] & windows.inside[other] & (rows != other)
            remaining = left[rows] - own[other]
            if self.statistic == "circular":
                left[rows] = remaining
                bonus[rows] += overlap_gain * shared
            else:
                left[rows] = remaining.clamp_(min=0).add_(shared, alpha=overlap_gain)
            step += 1
        return left.clamp_(min=0) + bonus

    def crops(self, values: Tensor, background: float) -> InstanceCrops:
        """Crops of all N instances from one value per entry ``(E,)``; empty ones for those not looked at."""
        boxes = torch.zeros(self.total, 4, dtype=torch.int64)
        boxes[self.chosen] = self.windows.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        flat = values.new_full((int(sides.prod(1).sum()),), background, dtype=torch.float32)
        flat[self.windows.position] = values.float()
        return InstanceCrops(flat, boxes, self.windows.size, background)


def _normalised(excess: Tensor, windows: AnomalyWindows) -> Tensor:
    """Divide each instance's entries by their largest (method, step 6)."""
    instance = windows.entries.instance
    largest = excess.new_zeros(len(windows.centroid)).scatter_reduce_(0, instance, excess, "amax")
    return excess / (largest + 1e-7)[instance]


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
    return torch.where(neighbours, begin[:, None, :], begin[:, :, None]).amin(2)


def _ones(masks: InstanceCrops) -> InstanceCrops:
    """A map of ones per instance: nothing but background."""
    none = masks.values.new_zeros(0, dtype=torch.float32)
    return replace(masks, values=none, boxes=torch.zeros_like(masks.boxes), background=1.0)


def _check_settings(window: int, gain: float, overlap_gain: float, variant: str, statistic: str) -> None:
    if window < 1:
        raise ValueError(f"window must be at least 1 pixel, got {window}")
    for name, value in (("gain", gain), ("overlap_gain", overlap_gain)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    for name, choice, allowed in (("variant", variant, VARIANTS), ("statistic", statistic, STATISTICS)):
        if choice not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {choice!r}")


def _check(
    masks: InstanceCrops,
    labels: Tensor | None,
    window: int,
    gain: float,
    overlap_gain: float,
    variant: str,
    statistic: str,
    target_label: int | None,
) -> None:
    _check_settings(window, gain, overlap_gain, variant, statistic)
    height, width = masks.size
    if window > min(height, width):
        raise ValueError(f"window must be 1 to {min(height, width)} pixels in a {height} x {width} image, got {window}")
    if labels is not None and labels.shape != (len(masks),):
        raise ValueError(f"labels must have shape ({len(masks)},), one per mask, got {tuple(labels.shape)}")
    if target_label is not None and labels is None:
        raise ValueError(f"target_label must be None where no labels are given, got {target_label}")
