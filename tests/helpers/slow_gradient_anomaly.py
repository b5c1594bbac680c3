"""Gradient anomaly maps written down as the method describes them: the slow reference of tests and benchmark.

Every window is looked at by itself (``numpy.std`` over its pixels), every field is full-size, every instance meets
every other. Nothing is shared with ``gains``: no window sums, no closed forms, no crops.
"""

import warnings

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
SENTINEL = -4.0


def slow_gradient_anomaly_maps(
    masks: npt.NDArray[np.generic],
    targets: Mask,
    *,
    window: int,
    gain: float,
    overlap_gain: float,
    variant: str = "isbi",
    statistic: str = "reference",
) -> Array:
    """Maps ``(N, H, W)`` of masks ``(N, H, W)``; ``targets (N,)`` tells the instances of the target category."""
    masks = masks.astype(bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # std of an empty window, mean of no neighbours: replaced below
        if statistic == "circular":
            excess = [_circular_excess(masks, targets, window, overlap_gain, variant)]  # type: ignore[arg-type]
        else:
            excess = [_excess(masks, targets, window, overlap_gain, variant, sign) for sign in (1, -1)]  # type: ignore[arg-type]
    maps = np.ones(masks.shape)
    for i in np.flatnonzero(targets):
        if masks[i].any() and _others(masks, targets, i, window, variant):  # type: ignore[arg-type]
            maps[i] = np.mean([_normalise(one[i], masks[i], gain) for one in excess], axis=0)
    return maps


def _gradient(mask: Mask) -> tuple[Array, Array]:
    rows, columns = np.nonzero(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    dy, dx = np.gradient((y - rows.mean()) ** 2 + (x - columns.mean()) ** 2)
    return dy, dx


def _normalise(excess: Array, mask: Mask, gain: float) -> Array:
    magnitude = np.hypot(*_gradient(mask))
    weighted = excess * magnitude / magnitude.max()
    return 1 + gain * weighted / (weighted.max() + 1e-7)  # type: ignore[no-any-return]


def _others(masks: Mask, targets: Mask, i: int, window: int, variant: str) -> list[int]:
    """Whom instance i is compared with: all other targets, or for nuclei the targets among its neighbours."""
    candidates = _neighbours(masks, i, window) if variant == "nuclei" else [k for k in range(len(masks)) if k != i]
    return [k for k in candidates if targets[k]]


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def _neighbours(masks: Mask, i: int, window: int) -> list[int]:
    found = []
    for k in range(len(masks)):
        if k == i or not masks[i].any() or not masks[k].any():
            continue
        ax0, ay0, ax1, ay1 = _box(masks[i])
        bx0, by0, bx1, by1 = _box(masks[k])
        meet = max(ax0, bx0) - min(ax1, bx1) <= 2 * window and max(ay0, by0) - min(ay1, by1) <= 2 * window
        a_holds_b = ax0 <= bx0 and ay0 <= by0 and bx1 <= ax1 and by1 <= ay1
        b_holds_a = bx0 <= ax0 and by0 <= ay0 and ax1 <= bx1 and ay1 <= by1
        if meet and not a_holds_b and not b_holds_a:
            found.append(k)
    return found


# --- reference statistic ---------------------------------------------------------------------------------------------


def _excess(masks: Mask, targets: Mask, window: int, overlap_gain: float, variant: str, sign: int) -> Array:
    """Steps 3 to 5 in one pass: what is left of the mutual anomaly ``(N, H, W)``."""
    angles = np.full(masks.shape, SENTINEL)
    own = np.zeros(masks.shape)
    excess = np.zeros(masks.shape)
    for i in np.flatnonzero(targets):
        if masks[i].any():
            dy, dx = _gradient(masks[i])
            angles[i] = np.where(masks[i], np.arctan2(dy, sign * dx), SENTINEL)
    for i in np.flatnonzero(targets):
        others = _others(masks, targets, i, window, variant)  # type: ignore[arg-type]
        if masks[i].any() and others:
            own[i], excess[i] = _window_anomalies(angles, masks, i, others, window, variant)  # type: ignore[arg-type]
    for i in np.flatnonzero(targets):
        for k in [i] if variant == "nuclei" else range(len(masks)):
            excess[i] = np.maximum(excess[i] - own[k], 0)
            if k != i and targets[k]:
                excess[i] += overlap_gain * (masks[i] & masks[k])
    return excess


def _window_anomalies(
    angles: Array, masks: Mask, i: int, others: list[int], window: int, variant: str
) -> tuple[Array, Array]:
    """Steps 3 and 4: self and mutual anomaly of instance i at every window, brought to the pixels."""
    height, width = masks.shape[1] - window + 1, masks.shape[2] - window + 1
    own, mutual = np.zeros((height, width)), np.zeros((height, width))
    x0, y0, x1, y1 = 0, 0, width, height
    if variant == "nuclei":  # the released program lets windows start in the neighbourhood only
        boxes = np.array([_box(masks[k]) for k in [i, *_neighbours(masks, i, window)]])
        x0, y0, x1, y1 = boxes[:, 0].min(), boxes[:, 1].min(), boxes[:, 2].max(), boxes[:, 3].max()
    rows = slice(max(0, y0 - window + 1), min(height, y1))
    columns = slice(max(0, x0 - window + 1), min(width, x1))

    def windows(field: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return sliding_window_view(field, (window, window))[rows, columns]

    theta, inside = windows(angles[i]), windows(masks[i])
    whole, within = theta.std((-1, -2)), theta.std((-1, -2), where=inside)  # type: ignore[arg-type]
    pairs = []
    for k in others:
        other_theta, other_inside = windows(angles[k]), windows(masks[k])
        pair = (other_theta - theta).std((-1, -2))  # type: ignore[operator]
        if variant != "nuclei":
            pooled = np.concatenate([other_theta, theta], -1)
            pair = np.minimum(pair, pooled.std((-1, -2), where=np.concatenate([other_inside, inside], -1)))
        pairs.append(pair)
    occupied = inside.any((-1, -2))
    own[rows, columns] = np.where(occupied, whole if variant == "chromosome" else np.minimum(whole, within), 0)
    mutual[rows, columns] = np.where(occupied, np.mean(pairs, axis=0), 0)
    own[:y0], own[:, :x0] = 0, 0  # (there the mutual anomaly goes w - 1 further than the self anomaly)
    return _to_pixels(own, masks.shape[1:]), _to_pixels(mutual, masks.shape[1:])


def _to_pixels(per_window: Array, size: tuple[int, ...]) -> Array:
    """Step 2: pixel (y, x) takes the window that starts at (min(y, H - w), min(x, W - w))."""
    rows = np.minimum(np.arange(size[0]), per_window.shape[0] - 1)
    columns = np.minimum(np.arange(size[1]), per_window.shape[1] - 1)
    return per_window[np.ix_(rows, columns)]


# --- circular statistic ----------------------------------------------------------------------------------------------


def _circular_excess(masks: Mask, targets: Mask, window: int, overlap_gain: float, variant: str) -> Array:
    """Dispersion 1 - |sum of unit vectors| / count around each pixel, mutual minus self, bonus last: ``(N, H, W)``."""
    half = window // 2
    taper = np.ones(2 * half + 1)
    if window % 2 == 0:  # an even window has no middle pixel: one more pixel, its two ends counting half
        taper[[0, -1]] = 0.5
    weight = np.outer(taper, taper)

    def windows(field: npt.NDArray[np.generic]) -> Array:
        return sliding_window_view(np.pad(field.astype(float), half), weight.shape) * weight

    sums = {}
    for i in np.flatnonzero(targets):
        if masks[i].any():
            dy, dx = _gradient(masks[i])
            length = np.where(np.hypot(dy, dx) > 0, np.hypot(dy, dx), 1)
            fields = masks[i] * dy / length, masks[i] * dx / length, masks[i]
            sums[i] = np.stack([windows(field).sum((-1, -2)) for field in fields])
        else:
            sums[i] = np.zeros((3, *masks.shape[1:]))

    def dispersion(total: Array) -> Array:
        return 1 - np.hypot(total[0], total[1]) / np.maximum(total[2], 1e-9)  # type: ignore[no-any-return]

    excess = np.zeros(masks.shape)
    own = np.zeros(masks.shape)
    for i in sums:
        own[i] = np.where(sums[i][2] > 0, dispersion(sums[i]), 0)
    for i in sums:
        others = _others(masks, targets, i, window, variant)  # type: ignore[arg-type]
        if not others:
            continue
        mutual = np.mean([dispersion(sums[i] + sums[k]) for k in others], axis=0)  # type: ignore[index]
        subtracted = own[i] if variant == "nuclei" else own.sum(0)
        excess[i] = np.where(sums[i][2] > 0, np.maximum(mutual - subtracted, 0), 0)
        if variant != "nuclei":
            excess[i] += overlap_gain * sum((masks[i] & masks[k]).astype(float) for k in others)
    return excess
