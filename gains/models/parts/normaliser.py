"""What a loss is divided by, where several processes train together."""

import torch
from torch import Tensor, distributed


def over_processes(amount: Tensor | float, least: float, like: Tensor) -> Tensor | float:
    """The amount that a sum over this process' images is divided by, so that it counts alike in every process.

    Processes average their gradients. A sum divided by the mean amount of all processes then gives what one process
    with all the images would: the sum over all, divided by the amount of all. Every process has to call this, also one
    without anything to sum up.

    Args:
        amount: of this process, such as its number of instances.
        least: that the amount of all processes together is taken for at least.
        like: a tensor on the device that the processes talk through.

    Returns:
        The amount itself, at least ``least``, where there is one process; nothing is sent then.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return amount.clamp(min=least) if isinstance(amount, Tensor) else max(amount, least)
    total = torch.as_tensor(amount, dtype=torch.float32, device=like.device).detach().clone()
    distributed.all_reduce(total)
    return total.clamp(min=least) / distributed.get_world_size()
