"""GAMM, the gradient anomaly mapping module: ground-truth masks to one gradient anomaly map per instance.

Each instance gets a radial field, the gradient of the squared distance to its centroid. Inside one instance, directions
change smoothly; where two instances touch, overlap or cross, their fields disagree. A map is 1 away from such places
and rises to 1 + gain where the disagreement is largest. From "GAInS: Gradient Anomaly-aware Biomedical Instance
Segmentation" (arXiv 2409.13988) and, in the details the paper leaves open, its released programs.

The work follows the area of the instances' boxes, never N x H x W: windows that cannot differ from 1 are dropped
first (:mod:`gains.gradient_anomaly.windows`), the spread of directions is measured in those that are left
(:mod:`gains.gradient_anomaly.statistics`), and instances act on each other pixel by pixel
(:mod:`gains.gradient_anomaly.scene`).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gains.gradient_anomaly.field import largest_magnitude, magnitude
from gains.gradient_anomaly.scene import Scene
from gains.gradient_anomaly.statistics import Statistic
from gains.gradient_anomaly.windows import AnomalyWindows
from gains.masks import InstanceCrops

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
    """Gradient anomaly maps of full-size masks; :func:`gradient_anomaly_crops` does the same without full-size arrays.

    Args:
        masks: ``(N, H, W)`` bool or 0/1, on CPU or GPU.
        window: side of the sliding window in pixels, 1/20 to 1/10 of an instance's size; at most ``min(H, W)``.
        gain: what the largest anomaly of an instance adds to 1 (the paper's GA_factor), at least 0.
        overlap_gain: bonus of pixels shared by two masks, before normalisation (the paper's overlap_HL), at least 0.
        variant: which released program to follow: ``isbi``, ``nuclei`` (compares neighbours only, no bonus) or
            ``chromosome``.
        statistic: ``reference``, the published standard deviation of angles, or ``circular``, which does not depend
            on the image's orientation or the order of the masks (and for which ``isbi`` and ``chromosome`` agree).
        labels: ``(N,)`` category of each mask; with None all are of the target category.
        target_label: the category that gets maps, the others get ones; with None every category does.

    Returns:
        ``(N, H, W)`` float32 in [1, 1 + gain]; ones for an instance that is compared with no other.

    Raises:
        ValueError: for an argument out of range, which the message names with what is allowed.
    """
    if masks.ndim != 3:
        raise ValueError(f"masks must have shape (N, H, W), got {tuple(masks.shape)}")
    settings = GradientAnomaly(window, gain, overlap_gain, variant, statistic, target_label)
    if len(masks) == 0:
        settings.check(masks.shape[-2:], 0, labels)
        return masks.new_zeros(masks.shape, dtype=torch.float32)
    return _maps(InstanceCrops.from_dense(masks), labels, settings).dense()


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
        masks: the N instances, each on its tight box, on CPU or GPU.
        labels: as for :func:`gradient_anomaly_maps`, like all that follows and the errors.
        window: see there.
        gain: see there.
        overlap_gain: see there.
        variant: see there.
        statistic: see there.
        target_label: see there.
    """
    return _maps(masks, labels, GradientAnomaly(window, gain, overlap_gain, variant, statistic, target_label))


def anomaly_parts(
    masks: InstanceCrops, *, window: int, variant: str = "isbi", statistic: str = "reference"
) -> tuple[InstanceCrops, InstanceCrops]:
    """Self and mutual anomaly (method, steps 3 and 4), mean of the passes: to look at, not needed in training.

    Args:
        masks: the instances, all of the target category; at least two.
        window: see :func:`gradient_anomaly_maps`.
        variant: see there.
        statistic: see there.

    Returns:
        Two float32 containers with background 0, on the same boxes as the maps.
    """
    settings = GradientAnomaly(window, 0, 0, variant, statistic)
    settings.check(masks.size, len(masks), None)
    scene = Scene.of(masks, settings.targets(len(masks), None), window, variant, statistic, everywhere=True)
    own, mutual = (
        torch.stack(part).mean(0) for part in zip(*(scene.anomalies(build()) for build in scene.passes()), strict=True)
    )
    return scene.crops(own, background=0), scene.crops(mutual, background=0)


@dataclass(frozen=True)
class GradientAnomaly:
    """The settings of :func:`gradient_anomaly_maps`, and the dataset's derived target ``anomaly``.

    Hydra builds it from the configuration; data workers call it after augmentation. ``window`` is in pixels of the
    image on disk: the published maps are computed there and then resized with it.

    Raises:
        ValueError: for a setting out of range.
    """

    window: int
    gain: float
    overlap_gain: float
    variant: str = "isbi"
    statistic: str = "reference"
    target_label: int | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1 pixel, got {self.window}")
        for name, value in (("gain", self.gain), ("overlap_gain", self.overlap_gain)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
        for name, choice, allowed in (("variant", self.variant, VARIANTS), ("statistic", self.statistic, STATISTICS)):
            if choice not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {choice!r}")

    def __call__(self, masks: InstanceCrops, labels: Tensor, resize: float = 1.0) -> InstanceCrops:
        """Maps of one image's instances ``(N,)``, as :func:`gradient_anomaly_crops` returns them.

        Args:
            masks: the N instances in the image that the network sees.
            labels: ``(N,)`` category of each.
            resize: how much larger that image is than the one on disk. The window grows with it, and is rounded to
                whole pixels, at least 2: a single pixel has no spread.

        Where the image is smaller than the window, which random resizing can bring about, there is no window to look
        through. The maps are then ones (the mask loss without re-weighting) rather than the end of a training run.
        """
        settings = replace(self, window=max(round(self.window * resize), min(self.window, 2)))
        if settings.window > min(masks.size):
            none = masks.values.new_zeros(0, dtype=torch.float32)
            return replace(masks, values=none, boxes=torch.zeros_like(masks.boxes), background=1.0)
        return _maps(masks, labels, settings)

    def check(self, size: tuple[int, ...], count: int, labels: Tensor | None) -> None:
        """Raise ``ValueError`` where the settings do not fit an image of ``size`` (height, width) or its labels."""
        height, width = size
        if self.window > min(height, width):
            allowed = f"1 to {min(height, width)} pixels in a {height} x {width} image"
            raise ValueError(f"window must be {allowed}, got {self.window}")
        if labels is not None and labels.shape != (count,):
            raise ValueError(f"labels must have shape ({count},), one per mask, got {tuple(labels.shape)}")
        if labels is None and self.target_label is not None:
            raise ValueError(f"target_label must be None where there are no labels, got {self.target_label}")

    def targets(self, count: int, labels: Tensor | None) -> Tensor:
        """Which of ``count`` instances are of the target category, ``(N,)`` bool on the CPU."""
        if labels is None or self.target_label is None:
            return torch.ones(count, dtype=torch.bool)
        return labels.cpu() == self.target_label


def _maps(masks: InstanceCrops, labels: Tensor | None, settings: GradientAnomaly) -> InstanceCrops:
    """Method, step 6: weight what is left of the mutual anomaly with the radius, normalise, average the passes."""
    settings.check(masks.size, len(masks), labels)
    target = settings.targets(len(masks), labels)
    scene = Scene.of(masks, target, settings.window, settings.variant, settings.statistic, everywhere=False)
    windows, instance = scene.windows, scene.windows.entries.instance
    radius = magnitude(*windows.gradients(windows.entries))
    radius /= largest_magnitude(windows.centroid, windows.size).index_select(0, instance)
    passes = scene.passes()
    total = torch.zeros_like(radius)
    for build in passes:
        total += _normalised(_weighted_excess(scene, build(), settings.overlap_gain, radius), windows)
    return scene.crops(total.mul_(settings.gain / len(passes)).add_(1), background=1)


def _weighted_excess(scene: Scene, statistic: Statistic, overlap_gain: float, radius: Tensor) -> Tensor:
    own, mutual = scene.anomalies(statistic)
    return scene.interaction(own, mutual, overlap_gain).mul_(radius)


def _normalised(excess: Tensor, windows: AnomalyWindows) -> Tensor:
    """Divide each instance's entries by their largest (method, step 6)."""
    instance = windows.entries.instance.long()
    largest = excess.new_zeros(len(windows.centroid)).scatter_reduce_(0, instance, excess, "amax")
    return excess / (largest + 1e-7).index_select(0, instance)
