"""PISA, Prime Sample Attention (Cao, Chen, Loy, Lin; CVPR 2020), on Mask R-CNN.

Not all samples matter alike for average precision: of the boxes on one object the best localised, of the false boxes in
one place the highest scored. PISA ranks them in two steps, first among their rivals, then among all of one rank
(section 3), and turns ranks into weights of the classification loss (ISR, section 4.1); a
classification-aware regression loss (CARL, section 4.2) raises the score of boxes that are well localised. The
network and inference are Mask R-CNN's. Left out: the 2000 proposals of the published configuration, so that
all methods compare on the same number.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou, nms

from gains.contract import Features, Sizes, Target
from gains.models.parts.roi.box_branch import BoxBranch, BoxHead, BoxOutput
from gains.models.parts.roi.sampling import RoISampler, RoISamples

MIN_SCORE = 0.05
"""Foreground score from which a false box is ranked."""

GROUP_IOU = 0.5
"""Overlap with the highest-scored false box of a place, above which another belongs to that place."""


class PISABoxBranch(BoxBranch):
    """Box branch with importance-based sampling and weights.

    Args:
        head: predicts classes and deltas.
        sampler: says how many RoIs to draw; draws the foreground.
        positive_exponent: of the weights of foreground RoIs (the paper's gamma); 0 weights all alike.
        negative_exponent: of the weights of background RoIs.
        beta: error of a delta from which the smooth L1 loss is linear; 0 is plain L1.
    """

    def __init__(
        self,
        head: BoxHead,
        sampler: RoISampler,
        positive_exponent: float = 2.0,
        negative_exponent: float = 0.5,
        beta: float = 1.0,
    ) -> None:
        super().__init__(head, sampler)
        self.positive_exponent = positive_exponent
        self.negative_exponent = negative_exponent
        self.beta = beta

    def losses(
        self, features: Features, proposals: list[Tensor], sizes: Sizes, targets: list[Target]
    ) -> tuple[dict[str, Tensor], RoISamples]:
        """Weighted classification loss, smooth L1 loss and CARL, all divided by the number of RoIs, and the RoIs."""
        samples, weights = self.sample(features, proposals, sizes, targets)
        output = self.head(self.head.pool(features, samples.boxes, sizes))
        labels = torch.cat(samples.labels)
        positive = torch.where(labels > 0)[0]
        entropy = F.cross_entropy(output.logits.float(), labels, reduction="none")
        weights[positive] = self._positive_weights(output, samples, entropy.detach())
        residual = self.head.regression_residual(output, samples)
        distance = F.smooth_l1_loss(residual, torch.zeros_like(residual), reduction="none", beta=self.beta).sum(1)
        scores = output.logits.float().softmax(-1)[positive, labels[positive]]
        count = max(len(labels), 1)
        losses = {
            "loss_classifier": (weights * entropy).sum() / count,
            "loss_box_reg": distance.sum() / count,
            "loss_carl": (carl_weights(scores) * distance).sum() / count,
        }
        return losses, samples

    def _positive_weights(self, output: BoxOutput, samples: RoISamples, entropy: Tensor) -> Tensor:
        """ISR-P weights ``(P,)`` of the foreground RoIs, by the IoU of their *refined* boxes."""
        labels = torch.cat(samples.labels)
        positive = torch.where(labels > 0)[0]
        refined = self.head.own_boxes(output, torch.cat(samples.boxes), labels)[positive]
        iou = box_iou(refined, torch.cat(samples.matched_boxes)[positive]).diagonal()
        # Images number their ground truth from 0 each.
        truth = [matched + (image << 32) for image, matched in enumerate(samples.matched)]
        weights = positive_weights(iou, torch.cat(truth)[positive], labels[positive], self.positive_exponent)
        return keep_total(weights, entropy[positive])

    @torch.no_grad()
    def sample(
        self, features: Features, proposals: list[Tensor], sizes: Sizes, targets: list[Target]
    ) -> tuple[RoISamples, Tensor]:
        """Random foreground, and the background that the head finds hardest (ISR-N).

        Returns:
            The RoIs, and their weights ``(R,)``: 1 for foreground.
        """
        candidates = self.sampler.match(proposals, targets)
        drawn, _ = self.sampler.draw(candidates.labels)
        negatives = [torch.where(labels == 0)[0] for labels in candidates.labels]
        boxes = [box[rows] for box, rows in zip(candidates.boxes, negatives, strict=True)]
        output = self.head(self.head.pool(features, boxes, sizes))
        counts = [len(rows) for rows in negatives]
        parts = zip(drawn, negatives, boxes, output.logits.split(counts), output.deltas.split(counts), strict=True)
        keep, weights = [], []
        for flags, rows, box, logits, deltas in parts:
            positive = torch.where(flags > 0)[0]
            wanted = min(len(rows), self.sampler.draw.batch_size_per_image - len(positive))
            chosen, weight = self._pick_negatives(BoxOutput(logits.float(), deltas), box, wanted)
            keep.append(torch.cat([positive, rows[chosen]]))
            weights.append(torch.cat([torch.ones(len(positive), device=weight.device), weight]))
        return candidates.select(keep), torch.cat(weights)

    def _pick_negatives(self, output: BoxOutput, boxes: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Rows ``(wanted,)`` of one image's false boxes ``(R, 4)``, and their weights."""
        scores, category = output.logits.softmax(-1)[:, 1:].max(1)
        refined = self.head.own_boxes(output, boxes, category + 1)
        rows, weights = prime_negatives(scores, refined, wanted, self.negative_exponent)
        entropy = -output.logits.log_softmax(-1)[rows, 0]
        return rows, keep_total(weights, entropy)


def positive_weights(iou: Tensor, truth: Tensor, labels: Tensor, exponent: float) -> Tensor:
    """ISR-P: weights of foreground RoIs by IoU hierarchical local rank, before normalisation.

    Args:
        iou: ``(P,)`` of each refined box with its ground truth.
        truth: ``(P,)`` number of that ground truth, unique in the batch.
        labels: ``(P,)`` its class.
        exponent: turns the linear weights into ``weight ** exponent``.

    Returns:
        ``(P,)`` in (0, 1]; the best box on each object comes before every second best, and so on.
    """
    if len(iou) == 0:
        return iou
    most = labels.bincount().max()
    local = rank_within(iou, truth)
    rank = rank_within(iou.double() + (most - local), labels)
    return (((most - rank) / most) ** exponent).to(iou)


def prime_negatives(scores: Tensor, boxes: Tensor, wanted: int, exponent: float) -> tuple[Tensor, Tensor]:
    """ISR-N: the false boxes of one image to train on, by score hierarchical local rank.

    Args:
        scores: ``(R,)`` highest foreground score of each false box.
        boxes: ``(R, 4)`` xyxy, refined for that class.
        wanted: how many to pick, at most R; where too few score above 0.05, others are drawn at random.
        exponent: turns the linear weights into ``weight ** exponent``.

    Returns:
        Rows ``(wanted,)``, the most important first, and their weights ``(wanted,)``, before normalisation.
    """
    valid = torch.where(scores > MIN_SCORE)[0]
    rest = torch.where(scores <= MIN_SCORE)[0]
    local = rank_within(scores[valid], nms_groups(boxes[valid], scores[valid], GROUP_IOU))
    importance = scores[valid].double() - local
    best = valid[importance.argsort(descending=True, stable=True)[:wanted]]
    fill = rest[torch.randperm(len(rest), device=rest.device)[: wanted - len(best)]]
    highest = max(wanted, len(valid), 1)
    ranked = 1 - torch.arange(len(best), device=scores.device) / highest
    lowest = ranked[-1:] if len(best) else ranked.new_ones(1)
    return torch.cat([best, fill]), torch.cat([ranked, lowest.expand(len(fill))]) ** exponent


def nms_groups(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Which box would suppress each box in NMS: groups of boxes in one place.

    Returns:
        ``(R,)`` number of the group; groups are numbered by their best score.
    """
    leaders: Tensor = nms(boxes, scores, iou)
    if len(leaders) == 0:
        return leaders
    overlaps = box_iou(boxes, boxes[leaders]) > iou
    # A kept box leads its own group even where its area, and so any IoU, is 0.
    overlaps[leaders, torch.arange(len(leaders), device=leaders.device)] = True
    group: Tensor = overlaps.int().argmax(1)
    return group


def rank_within(values: Tensor, group: Tensor) -> Tensor:
    """Rank ``(R,)`` from 0 of each value among those of its group, the highest first; ties keep their order."""
    order = values.argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]
    ordered = group[order].contiguous()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - torch.searchsorted(ordered, ordered)
    return rank


def keep_total(weights: Tensor, losses: Tensor) -> Tensor:
    """Scale weights ``(R,)`` so that the weighted sum of losses ``(R,)`` equals the plain sum."""
    weighted = (weights * losses).sum()
    return weights * torch.where(weighted > 0, losses.sum() / weighted, 1.0)


def carl_weights(scores: Tensor, bias: float = 0.2) -> Tensor:
    """CARL's factors ``(P,)`` of the regression loss, mean 1, growing with the score; the gradient reaches the score.

    Args:
        scores: ``(P,)`` probability of each foreground RoI's true class.
        bias: factor of a score of 0 relative to that of a score of 1.
    """
    factors = bias + (1 - bias) * scores
    return factors * (len(factors) / factors.sum().clamp(min=1e-6))
