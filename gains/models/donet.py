"""DoNet, Deep De-overlapping Network (Jiang et al., CVPR 2023).

Translucent cells are taken apart and put together again. Per RoI, the decomposition (DRM, section 3.2) draws a coarse
whole mask, then the part shared with other cells (intersection) and the rest (complement), guided by the coarse
features; the recombination (CRM, section 3.3) fuses the features of both parts into a refined whole mask, which is the
result, and asks that the parts agree with it. Mask-guided region proposal (MRP, section 3.4) weights the pyramid with
the cells' masks before a second pair of RPN and heads looks for what lies in cells: nuclei.

Where the release and the paper's intention part ways, this is what is done here:

- Guidance convolutions are chained. The release feeds each of the three with the same input and keeps the last's output
  only; ``chained_guidance=false`` builds just that one.
- ``consistency=hard`` is the release's term, a comparison of binary masks: logged, but without gradient. ``soft`` is a
  differentiable form of the same comparison. Both look at the masks of each RoI's own class.
- The convolutions of guidance and fusion start from He's normal weights and zero bias, as the heads do; the release
  leaves them at torch's default.
- Images without instances are handled per image, and attention maps follow the image's height and width (the release
  takes the first image as a sign for the batch, and square images).
- The attention map clamps mask logits at 0 on the RoI's grid, before interpolation instead of after it, which makes it
  one matrix product over all RoIs. It is computed at the finest pyramid level's stride.

MRP starts both paths from equal weights, given ones included, and needs two categories, of which one lies in the other.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from gains.contract import Features, Rows, Target
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.layers import conv_stack
from gains.models.parts.roi.amodal import amodal_targets
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, own_class
from gains.models.parts.roi.masks import paste_sum
from gains.models.parts.roi.sampling import RoISamples
from gains.models.parts.roi.two_stage import RoIPath, TwoStageDetector
from gains.operating_point import OperatingPoint

Consistency = Literal["hard", "soft"]


class Parts(NamedTuple):
    """Of the masks that DoNet draws in a RoI: class logits ``(P, K, 28, 28)``, or the features that lead to them."""

    coarse: Tensor
    intersection: Tensor
    complement: Tensor
    whole: Tensor


class DoNetMaskBranch(MaskBranch):
    """Decomposition and recombination of a RoI's mask (DRM and CRM).

    Args:
        head: of the whole mask; used twice, for the coarse and the refined one.
        intersection: head of the part shared with other instances.
        complement: head of the rest.
        channels_in: width of the RoI features.
        channels: width of the heads.
        chained_guidance: guide each part by three convolutions in a row; False takes one.
        consistency: which comparison of parts and whole is added to the losses.
        consistency_weight: its factor; the release has 0.00125 for the hard one, 0.1 is a start for the soft one.

    Raises:
        ValueError: for an unknown kind of consistency.
    """

    def __init__(
        self,
        head: MaskHead,
        intersection: MaskHead,
        complement: MaskHead,
        channels_in: int,
        channels: int,
        chained_guidance: bool = True,
        consistency: Consistency = "hard",
        consistency_weight: float = 0.00125,
    ) -> None:
        super().__init__(head)
        if consistency not in ("hard", "soft"):
            raise ValueError(f"consistency={consistency!r} is unknown; use 'hard' or 'soft'")
        self.intersection = intersection
        self.complement = complement
        guided = channels_in + channels
        self.guide_intersection = funnel(guided, channels_in, 3 if chained_guidance else 1)
        self.guide_complement = funnel(guided, channels_in, 3 if chained_guidance else 1)
        self.fusion = funnel(guided + channels, channels_in, 3)
        self.consistency = consistency
        self.consistency_weight = consistency_weight

    def draw(self, pooled: Tensor) -> Parts:
        """All masks from RoI features ``(P, C, 14, 14)``."""
        features = self.fuse(pooled)
        return Parts(
            self.head.predictor(features.coarse),
            self.intersection.predictor(features.intersection),
            self.complement.predictor(features.complement),
            self.head(features.whole),
        )

    def fuse(self, pooled: Tensor) -> Parts:
        """Features ``(P, C, 14, 14)`` of the parts before their predictors, and of the whole before its head."""
        coarse = self.head.trunk(pooled)
        guided = torch.cat([pooled, coarse], dim=1)
        intersection = self.intersection.trunk(self.guide_intersection(guided))
        complement = self.complement.trunk(self.guide_complement(guided))
        fused = self.fusion(torch.cat([pooled, intersection, complement], dim=1))
        return Parts(coarse, intersection, complement, fused)

    def roi_losses(self, pooled: Tensor, samples: RoISamples, targets: list[Target]) -> dict[str, Tensor]:
        """Losses of the four masks and their consistency; targets need the derived ``visible_masks``."""
        return self.part_losses(self.draw(pooled), samples, targets)

    def part_losses(self, logits: Parts, samples: RoISamples, targets: list[Target]) -> dict[str, Tensor]:
        """Losses of masks drawn in foreground RoIs."""
        labels = torch.cat(samples.labels)
        truth = amodal_targets(samples, targets)
        own = Parts(*(own_class(part, labels).float() for part in logits))
        compare = hard_consistency if self.consistency == "hard" else soft_consistency
        consistency = compare(own) if len(labels) else logits.whole.sum() * 0
        return {
            "loss_mask_coarse": 0.75 * mask_loss(logits.coarse, labels, truth.whole),
            "loss_intersection": mask_loss(logits.intersection, labels, truth.hidden),
            "loss_complement": mask_loss(logits.complement, labels, truth.visible),
            "loss_mask": mask_loss(logits.whole, labels, truth.whole),
            "loss_consistency": self.consistency_weight * consistency,
        }

    def roi_masks(self, pooled: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As Mask R-CNN's: of the four masks the recombined one alone, the parts are there to be learned from."""
        return {"mask_probabilities": own_class(self.head(self.fuse(pooled).whole), labels).float().sigmoid()}


def funnel(channels_in: int, channels: int, count: int) -> nn.Sequential:
    """``count`` 3x3 convolutions with ReLU, all of the input's width but the last, which gives ``channels``."""
    return nn.Sequential(*conv_stack(channels_in, channels_in, count - 1), *conv_stack(channels_in, channels, 1))


def hard_consistency(logits: Parts) -> Tensor:
    """The release's consistency of own-class logits ``(P, 28, 28)``: a scalar without gradient.

    Binary cross entropy of the parts' exclusive-or against the whole mask, all three cut at probability 0.5. Of two
    binary maps that is 100 (where the logarithm is clamped) times the share of pixels that disagree.
    """
    parts = (logits.complement > 0) ^ (logits.intersection > 0)
    return 100 * (parts != (logits.whole > 0)).float().mean()


def soft_consistency(logits: Parts) -> Tensor:
    """Binary cross entropy of the parts' soft exclusive-or against the whole mask's probability, which it leaves alone.

    Args:
        logits: own-class logits ``(P, 28, 28)``, float32.
    """
    complement, intersection = logits.complement.sigmoid(), logits.intersection.sigmoid()
    parts = (complement + intersection - 2 * complement * intersection).clamp(1e-6, 1 - 1e-6)
    whole = logits.whole.sigmoid().detach()
    return -(whole * parts.log() + (1 - whole) * (1 - parts).log()).mean()


class DoNet(TwoStageDetector):
    """DoNet's detector: one path as every two-stage method, and with MRP a second one for what lies in cells.

    With MRP the first path finds the category of cells, the second all others. To both, instances of the other's
    category are background, so that they learn to tell them apart.

    Args:
        num_classes: K, without background.
        cell_label: label of the category that contains the others; None if there is no such thing.
        mrp: whether to look for what lies in cells on a path of its own; None does so exactly if there are two
            categories and one is that of cells.
        parts: see :class:`TwoStageDetector`; the mask branch has to be a :class:`DoNetMaskBranch`.

    Raises:
        ValueError: if MRP is asked for without ``cell_label``, or with a single category.
    """

    mask: DoNetMaskBranch

    def __init__(
        self,
        num_classes: int,
        cell_label: int | None = None,
        mrp: bool | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        if mrp and (cell_label is None or num_classes < 2):
            raise ValueError("mrp=true needs a target category (dataset.target_category) and another one in it")
        if mrp is None:
            mrp = num_classes == 2 and cell_label is not None
        self.cell_label = cell_label or 0  # 0, no label: there is no second path then
        self.inner = RoIPath(*copy.deepcopy((self.rpn, self.box, self.mask))) if mrp else None

    def losses(self, batch: ImageList, features: Features, targets: list[Target]) -> dict[str, Tensor]:
        """Weighted losses by name, those of the second path ending in ``_inner``."""
        if self.inner is None:
            return super().losses(batch, features, targets)
        cells = [self._background_unless(target, cell=True) for target in targets]
        others = [self._background_unless(target, cell=False) for target in targets]
        proposals, losses = self.rpn(batch, features, cells)
        box_losses, samples = self.box.losses(features, proposals, batch.image_sizes, cells)
        samples = samples.positives()
        logits = self.mask.draw(self.mask.pool(features, samples.boxes, batch.image_sizes))
        mask_losses = self.mask.part_losses(logits, samples, cells)
        whole = own_class(logits.whole, torch.cat(samples.labels))
        per_image = torch.split(whole, [len(boxes) for boxes in samples.boxes])
        attention = attention_maps(per_image, samples.boxes, features)
        inner = self.inner.losses(batch, attend(features, attention), others)
        return {**losses, **box_losses, **mask_losses, **{f"{name}_inner": loss for name, loss in inner.items()}}

    def _background_unless(self, target: Target, cell: bool) -> Target:
        """The target with label 0, background, for cells or for all others."""
        labels = target["labels"]
        return {**target, "labels": torch.where((labels == self.cell_label) == cell, labels, 0)}

    def detect(self, batch: ImageList, features: Features, point: OperatingPoint) -> list[Rows]:
        """Detections of each image; with MRP the best of both paths."""
        found = super().detect(batch, features, point)
        if self.inner is None:
            return found
        cells = [_rows(image, image["labels"] == self.cell_label) for image in found]
        logits = [image["mask_probabilities"].logit(eps=1e-6) for image in cells]
        attention = attention_maps(logits, [image["boxes"] for image in cells], features)
        others = [
            _rows(image, image["labels"] != self.cell_label)
            for image in self.inner.detect(batch, attend(features, attention), point)
        ]
        return [_join(*pair, point.max_detections) for pair in zip(cells, others, strict=True)]


def _join(cells: Rows, others: Rows, most: int) -> Rows:
    """Both paths' detections of one image, the best by score."""
    joined = {name: torch.cat([value, others[name]]) for name, value in cells.items()}
    return _rows(joined, joined["scores"].argsort(descending=True, stable=True)[:most])


def _rows(found: Rows, rows: Tensor) -> Rows:
    return {name: value[rows] for name, value in found.items()}


def attention_maps(logits: Sequence[Tensor], boxes: Sequence[Tensor], features: Features) -> Tensor:
    """Where cells are: the sigmoid of all RoIs' positive mask logits, pasted and added up.

    Args:
        logits: per image ``(P, S, S)``, of the mask of each RoI's own class.
        boxes: per image ``(P, 4)`` in network input pixels.
        features: pyramid; the maps get the size of its finest level, of stride 4.

    Returns:
        ``(N, 1, H/4, W/4)`` in [0.5, 1]: exactly 0.5 where there is no cell.
    """
    size = (int(features["0"].shape[-2]), int(features["0"].shape[-1]))
    pairs = zip(logits, boxes, strict=True)
    return torch.stack([paste_sum(grid.clamp(min=0), box, size, 4) for grid, box in pairs])[:, None].sigmoid()


def attend(features: Features, attention: Tensor) -> Features:
    """Every pyramid level times the attention map ``(N, 1, h, w)``, resized to it by the nearest pixel."""
    return {name: level * F.interpolate(attention, level.shape[-2:]) for name, level in features.items()}
