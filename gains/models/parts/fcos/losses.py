"""Class, box and centre-ness losses of FCOS as CondInst uses them."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from gains.models.parts.fcos.head import FCOSOutput
from gains.models.parts.fcos.targets import LocationTargets, centreness
from gains.models.parts.normaliser import over_processes


def fcos_losses(output: FCOSOutput, targets: list[LocationTargets]) -> dict[str, Tensor]:
    """The three losses of a batch, each of weight 1.

    Args:
        output: predictions.
        targets: of each image.

    Returns:
        ``loss_class``: focal loss, summed over locations and classes and divided by the number of positive locations.
        ``loss_box``: GIoU loss of the positives, mean weighted by their centre-ness target. ``loss_centreness``: binary
        cross entropy, mean over the positives. Without positives the last two are zero and keep the head in the graph.
        Numbers and weights are those of all processes that train together.
    """
    labels = torch.stack([target.labels for target in targets])
    positive = torch.nonzero(labels, as_tuple=True)
    logits = output.logits.float()
    count = over_processes(len(positive[0]), 1, logits)
    truth = F.one_hot(labels, logits.shape[2] + 1)[:, :, 1:].to(logits)
    wanted = torch.stack([target.distances for target in targets])[positive]
    central = centreness(wanted)
    residual = giou_loss(output.distances[positive].float(), wanted)
    centre_loss = F.binary_cross_entropy_with_logits(output.centreness[positive].float(), central, reduction="sum")
    return {
        "loss_class": sigmoid_focal_loss(logits, truth, alpha=0.25, gamma=2.0, reduction="sum") / count,
        "loss_box": (residual * central).sum() / over_processes(central.sum(), 1e-6, central),
        "loss_centreness": centre_loss / count,
    }


def giou_loss(predicted: Tensor, wanted: Tensor) -> Tensor:
    """``1 - GIoU`` (Rezatofighi et al. 2019) of boxes around a common point, intersection and union raised by 1.

    Args:
        predicted: ``(P, 4)`` distances to left, top, right, bottom.
        wanted: likewise.

    Returns:
        ``(P,)`` in [0, 2).
    """
    both = torch.minimum(predicted, wanted)
    hull = torch.maximum(predicted, wanted)
    intersection, enclosing = _area(both), _area(hull)
    union = _area(predicted) + _area(wanted) - intersection
    giou = (intersection + 1) / (union + 1) - (enclosing - union) / enclosing.clamp(min=1e-6)
    return 1 - giou


def _area(distances: Tensor) -> Tensor:
    return (distances[:, 0] + distances[:, 2]) * (distances[:, 1] + distances[:, 3])
