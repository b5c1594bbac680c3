"""What there is to say about the sizes of what was found in an image: cut by tiles, or not of the size learned from."""

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

REMEDY = "give object_diameter= or scale="


def size_remarks(
    found: Instances, cut: npt.NDArray[np.bool_], label: int | None, view: View, training: Training
) -> list[str]:
    """Remarks, in words that do not depend on the image, so that those on many images are one line.

    Args:
        found: in one image.
        cut: ``(N,)`` whether no tile shows it whole.
        label: of the category whose size the network knows; None where it knows none.
        view: how the image was cut.
        training: what the network learned from.
    """
    remarks = []
    if np.count_nonzero(cut) >= ENOUGH and np.mean(cut) > MANY:
        large = equivalent_diameter(found.masks.areas().numpy()[cut])
        what = "larger than" if np.median(large) > view.side else "cut by"
        remarks.append(f"many instances are {what} the tiles of {view.side} pixels: {REMEDY} or a larger tile=")
    if training.diameters is None or training.network_side is None or label is None:
        return remarks
    chosen = found.masks.areas().numpy()[found.labels == label]
    if len(chosen) < ENOUGH:
        return remarks
    side = min(view.grid(found.size).tile)
    seen = float(np.median(equivalent_diameter(chosen))) * training.network_side / side
    low, _, high = training.diameters
    if not low / BEYOND <= seen <= BEYOND * high:
        than = "smaller" if seen < low else "larger"
        remarks.append(f"most objects are {than} than those that the model learned from: {REMEDY}")
    return remarks
