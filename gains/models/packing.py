"""Weights in 8 bits for files that are given to others, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gains.errors import InputError

SCALE = ".scale"
"""After the name of a tensor in 8 bits: the name of its scales."""

STEPS = 127


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kernels and matrices as whole numbers from -127 to 127 with a scale per output channel, the rest as it is.

    Norms and biases weigh nothing and stay. What is lost is at most half a step, 1/254 of a channel's largest weight.

    Args:
        weights: tensors by name; those of two or more dimensions have output channels first.

    Returns:
        ``NAME`` as int8 and ``NAME.scale`` ``(channels,)`` in float32 for each kernel; the others under their names.

    Raises:
        InputError: if a value is not finite.
    """
    packed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if value.dim() < 2 or not value.is_floating_point():
            packed[name] = value
            continue
        if not torch.isfinite(value).all():
            raise InputError(f"{name} has values that are not finite; the model cannot be released so")
        rows = value.float().flatten(1)
        scale = rows.abs().amax(dim=1) / STEPS
        steps = torch.where(scale[:, None] > 0, rows / scale[:, None], 0.0).round().clamp(-STEPS, STEPS)
        packed[name] = steps.to(torch.int8).reshape(value.shape)
        packed[name + SCALE] = scale
    return packed


def unpack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`pack` was given, kernels in float32; tensors that were never packed are left as they are."""
    scales = {name + SCALE for name, value in weights.items() if value.dtype == torch.int8 and name + SCALE in weights}
    return {
        name: value.float() * weights[name + SCALE].reshape(-1, *[1] * (value.dim() - 1))
        if name + SCALE in scales
        else value
        for name, value in weights.items()
        if name not in scales
    }
