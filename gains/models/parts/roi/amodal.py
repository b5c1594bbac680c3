"""Visible and hidden parts of instances, derived from masks that overlap.

Cells are translucent: annotators draw each outline in full and give no depth order. What methods for occlusion call the
visible part is therefore, as in DoNet's preparation of the data, the part that an instance shares with no other (its
complement); what they call invisible is the part it shares (its intersection). The rules:

- An instance loses a pixel exactly if another instance *of its own category* covers it too. The rule is symmetric: a
  shared pixel is hidden in all instances that share it, and visible in none.
- Where a target category is given, only its instances lose pixels; those of any other category (nuclei, which lie in
  cells by nature) stay whole. Categories never hide each other.
- An instance without a pixel of its own keeps its place, with an empty visible mask.
- Visible and hidden part are disjoint and make up the whole. To keep that true on a RoI's grid, whole and visible mask
  are sampled and made binary first; the hidden part is their difference there.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gains.contract import Target
from gains.masks import InstanceCrops
from gains.models.parts.roi.mask_head import mask_targets
from gains.models.parts.roi.sampling import RoISamples


class VisibleMasks:
    """Derived target: the part of each instance that no other of its category covers.

    It is to be computed after geometric augmentation, from the augmented masks: warping parts one by one would break
    the identity whole = visible + hidden.

    Args:
        target_label: label of the category whose instances overlap; None treats every category so, each on its own.
    """

    def __init__(self, target_label: int | None = None) -> None:
        self.target_label = target_label

    def __call__(self, masks: InstanceCrops, labels: Tensor, resize: float = 1.0) -> InstanceCrops:
        """Visible masks, uint8, on the boxes of the whole masks and in their order.

        Args:
            masks: N whole masks, 0/1.
            labels: ``(N,)`` from 1.
            resize: of the image, which does not count here.
        """
        visible = masks.crops()
        boxes = masks.boxes.tolist()
        for label in sorted(set(labels.tolist())) if self.target_label is None else [self.target_label]:
            members = torch.nonzero(labels == label)[:, 0].tolist()
            count = torch.zeros(masks.size, dtype=torch.int16)
            for index in members:
                x0, y0, x1, y1 = boxes[index]
                count[y0:y1, x0:x1] += visible[index]
            for index in members:
                x0, y0, x1, y1 = boxes[index]
                visible[index] = visible[index] * (count[y0:y1, x0:x1] == 1)
        return InstanceCrops.from_crops(visible, masks.boxes, masks.size)


class AmodalTargets(NamedTuple):
    """Binary mask targets of foreground RoIs, each ``(P, S, S)`` float32; ``whole = visible + hidden``."""

    whole: Tensor
    visible: Tensor
    hidden: Tensor


def amodal_targets(samples: RoISamples, targets: list[Target]) -> AmodalTargets:
    """Mask targets from the targets' ``masks`` and derived ``visible_masks`` (:class:`VisibleMasks`).

    Args:
        samples: foreground RoIs.
        targets: ground truth of the batch.
    """
    whole = mask_targets(samples, targets)
    visible = mask_targets(samples, targets, "visible_masks") * whole
    return AmodalTargets(whole, visible, whole - visible)
