"""Occlusion R-CNN, ORCNN (Follmann et al., "Learning to See the Invisible", WACV 2019).

Two parallel mask heads on the same RoI features draw the whole (amodal) object and its visible part; the invisible part
follows from their logits without parameters of its own, as amodal - ReLU(visible), and is supervised too. All three
losses weigh 1. Boxes are those of the whole objects, the whole mask is what counts.

Nothing of the network is left out. The paper's data knows which object is in front; microscopy data does not, so the
visible mask here is the part that an instance shares with no other (:mod:`gains.models.parts.roi.amodal`).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from gains.contract import Target
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.roi.amodal import amodal_targets
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, own_class
from gains.models.parts.roi.sampling import RoISamples


def invisible_logits(whole: Tensor, visible: Tensor) -> Tensor:
    """Logits of the hidden part: the whole mask's, lowered where the visible mask is positive.

    Without the ReLU a confidently negative visible logit outside the object would count for the hidden part.
    """
    return whole - F.relu(visible)


class OcclusionMaskBranch(MaskBranch):
    """Draws whole, visible and invisible mask of a RoI.

    Args:
        head: of the whole mask.
        visible_head: of the visible mask.
    """

    def __init__(self, head: MaskHead, visible_head: MaskHead) -> None:
        super().__init__(head)
        self.visible_head = visible_head

    def roi_losses(self, pooled: Tensor, samples: RoISamples, targets: list[Target]) -> dict[str, Tensor]:
        """Losses of the three masks; targets need the derived ``visible_masks``."""
        labels = torch.cat(samples.labels)
        whole, visible = self.head(pooled), self.visible_head(pooled)
        truth = amodal_targets(samples, targets)
        return {
            "loss_mask": mask_loss(whole, labels, truth.whole),
            "loss_visible": mask_loss(visible, labels, truth.visible),
            "loss_invisible": mask_loss(invisible_logits(whole, visible), labels, truth.hidden),
        }

    def roi_masks(self, pooled: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """As Mask R-CNN's, with ``visible_probabilities`` and ``invisible_probabilities (D, 28, 28)``."""
        whole = own_class(self.head(pooled), labels).float()
        visible = own_class(self.visible_head(pooled), labels).float()
        return {
            "mask_probabilities": whole.sigmoid(),
            "visible_probabilities": visible.sigmoid(),
            "invisible_probabilities": invisible_logits(whole, visible).sigmoid(),
        }
