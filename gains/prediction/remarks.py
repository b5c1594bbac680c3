"""What there is to say about the sizes of what was found in an image: cut by tiles, or not of the size learned from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gains.instances import Instances
from gains.masks import equivalent_diameter
from gains.prediction.scale import Training, View

MANY = 0.1
"""Share of the instances that tiles may cut without a word: there are large ones everywhere."""

ENOUGH = 3
"""Instances of which sizes are spoken of."""

BEYOND = 1.25
"""How far the median may lie outside the learned 5 to 95 %: an image has few objects, often alike."""

REMEDY, OF_SEVERAL = "give object_diameter= or scale=", "give other scales="
"""What to do, where images are looked at at one scale, and where at several."""


def size_remarks(
    found: Instances, cut: npt.NDArray[np.bool_], label: int | None, views: Sequence[View], training: Training
) -> list[str]:
    """Remarks, in words that do not depend on the image, so that those on many images are one line.

    Args:
        found: in one image.
        cut: ``(N,)`` whether no tile shows it whole.
        label: of the category whose size the network knows; None where it knows none.
        views: how the image was cut, at each scale.
        training: what the network learned from.
    """
    several = len(views) > 1
    remedy, largest = OF_SEVERAL if several else REMEDY, max(view.side for view in views)
    remarks = []
    if np.count_nonzero(cut) >= ENOUGH and np.mean(cut) > MANY:
        large = equivalent_diameter(found.masks.areas().numpy()[cut])
        what = "larger than" if np.median(large) > largest else "cut by"
        smaller = "" if several else " or a larger tile="
        remarks.append(f"many instances are {what} the tiles of {largest} pixels: {remedy}{smaller}")
    if training.diameters is None or training.network_side is None or label is None:
        return remarks
    chosen = found.masks.areas().numpy()[found.labels == label]
    if len(chosen) < ENOUGH:
        return remarks
    median = float(np.median(equivalent_diameter(chosen)))
    seen = [median * training.network_side / min(view.grid(found.size).tile) for view in views]
    low, _, high = training.diameters
    # One scale that fits is enough.
    if max(seen) < low / BEYOND or min(seen) > BEYOND * high:
        than = "smaller" if max(seen) < low else "larger"
        at = " at each of the scales" if several else ""
        remarks.append(f"most objects are {than} than those that the model learned from{at}: {remedy}")
    return remarks
