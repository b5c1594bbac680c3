"""Which channels of an image the network sees: one rule for every kind of file and every command."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gains.errors import InputError
from gains.images.options import MAX_CHANNELS, ReadOptions


def choose_channels(options: ReadOptions, count: int, is_rgb: bool, name: str) -> list[int]:
    """The channels to read of an image that has ``count``; alpha is none of them.

    Without a choice one channel is gray and three are red, green and blue. Colour images keep their colour where they
    store further channels behind it. Everything else has to be chosen: nothing is dropped without being said.

    Args:
        options: with the choice.
        count: of channels.
        is_rgb: whether the file says that its first three channels are colours.
        name: of the file, for the error.

    Raises:
        InputError: if the choice does not fit, or one has to be made.
    """
    channels, setting = options.channels, options.setting("channels")
    if channels is not None:
        if any(not 0 <= index < count for index in channels):
            has = "1 channel, number 0" if count == 1 else f"{count} channels, counted from 0 to {count - 1}"
            raise InputError(f"{setting}={list(channels)}: {name} has {has}")
        return list(channels)
    if count == 1:
        return [0]
    if is_rgb and count > MAX_CHANNELS:
        options.notes.add(
            name, f"left out is what lies behind red, green and blue (alpha?); {setting}=[{MAX_CHANNELS}] reads it"
        )
    if count == MAX_CHANNELS or (is_rgb and count > MAX_CHANNELS):
        return [0, 1, 2]
    raise InputError(
        f"{name} has {count} channels; choose one to three of them, such as {setting}=[0] (gray) or "
        f"{setting}=[1,0] (red and green)"
    )


def gray_or_rgb(stacked: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``(h, w, 1 to 3)`` as ``(h, w)`` or ``(h, w, 3)``; with two channels the third is 0."""
    if stacked.shape[2] == 1:
        return stacked[:, :, 0]
    if stacked.shape[2] == 2:
        return np.concatenate([stacked, np.zeros_like(stacked[:, :, :1])], axis=2)
    return stacked
