"""Parameter groups and learning-rate schedule shared by all models."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

NORM_LAYERS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.Embedding)


def parameter_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters in three groups, told apart by ``part``.

    ``backbone`` holds those of a submodule of that name; ``norm`` normalisation layers and embeddings, which take no
    weight decay; ``rest`` all others.
    """
    undecayed = {
        id(parameter)
        for layer in network.modules()
        if isinstance(layer, NORM_LAYERS)
        for parameter in layer.parameters(recurse=False)
    }
    groups: dict[str, list[nn.Parameter]] = {"backbone": [], "norm": [], "rest": []}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = "norm" if id(parameter) in undecayed else "backbone" if name.startswith("backbone.") else "rest"
            groups[part].append(parameter)
    return [{"params": parameters, "part": part} for part, parameters in groups.items() if parameters]


def warmup_and_steps(
    total_steps: int,
    warmup_steps: int = 0,
    warmup_factor: float = 0.001,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> Callable[[int], float]:
    """Factor of the learning rate by step: linear warm-up, then a drop at each milestone.

    Args:
        total_steps: length of the run.
        warmup_steps: over which the factor rises linearly from ``warmup_factor`` to 1; at most a fifth of the run.
        warmup_factor: factor at step 0.
        milestones: as fractions of the run.
        gamma: factor at each milestone.
    """
    warmup = min(warmup_steps, total_steps // 5)

    def factor(step: int) -> float:
        passed = sum(step >= milestone * total_steps for milestone in milestones)
        warm = 1.0 if step >= warmup else warmup_factor + (1 - warmup_factor) * step / warmup
        return float(warm * gamma**passed)

    return factor
