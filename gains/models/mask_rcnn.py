"""Mask R-CNN (He, Gkioxari, Dollár, Girshick; ICCV 2017).

A region proposal network proposes boxes; each is classified and refined, and a small convolutional head draws one mask
per class inside it. Class and mask are decoupled (a sigmoid per class, section 3), so overlapping objects each keep
their whole mask. Differences to the paper follow today's common form: ROIAlign with two samples a bin (torchvision's),
L1 box loss, mask targets binarised at 0.5.

Where torchvision, on whose parts this stands, and detectron2, on which GAInS was released, part ways, every two-stage
method here follows torchvision but in the targets of masks and the number of proposals:

- RoIAlign pools features without the shift by half a pixel (``aligned=False``; detectron2: true). Mask and anomaly
  targets are sampled with it, as in detectron2 (torchvision: without).
- The RPN's box loss is smooth L1 with beta 1/9 (detectron2: L1).
- The box head's layers start from torch's default, uniform by fan-in with random biases (detectron2: Caffe2's Xavier
  for the two hidden layers, N(0, 0.01) for the classifier and N(0, 0.001) for the deltas, zero biases).
- 1000 proposals are kept per image in training, as the paper's settings say (torchvision: 2000).
"""

import torch
from torch import Tensor, nn

from gains.contract import Features, Rows, Sizes, Target
from gains.models.parts.detections import add_rows, split_detections
from gains.models.parts.roi.box_branch import roi_pooler
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, mask_targets, own_class
from gains.models.parts.roi.sampling import RoISamples


class MaskBranch(nn.Module):
    """Trains on foreground RoIs, draws a mask in every detection. Methods that change the masks derive from it
    and write their own :meth:`roi_losses` and :meth:`roi_masks`, or :meth:`losses` and :meth:`predict` where they need
    more than the pooled features.

    Args:
        head: class logits from RoI features.
    """

    def __init__(self, head: MaskHead) -> None:
        super().__init__()
        self.pooler = roi_pooler(14)
        self.head = head

    def pool(self, features: Features, boxes: list[Tensor], sizes: Sizes) -> Tensor:
        """RoI features ``(P, C, 14, 14)``."""
        pooled: Tensor = self.pooler(features, boxes, sizes)
        return pooled

    def losses(self, features: Features, samples: RoISamples, sizes: Sizes, targets: list[Target]) -> dict[str, Tensor]:
        """Losses of the foreground RoIs among the samples."""
        samples = samples.positives()
        return self.roi_losses(self.pool(features, samples.boxes, sizes), samples, targets)

    def roi_losses(self, pooled: Tensor, samples: RoISamples, targets: list[Target]) -> dict[str, Tensor]:
        """Weighted losses by name of foreground RoIs with features ``(P, C, 14, 14)``."""
        return {"loss_mask": mask_loss(self.head(pooled), torch.cat(samples.labels), mask_targets(samples, targets))}

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """Add what :meth:`roi_masks` gives to each image's detections."""
        boxes, labels = split_detections(detections)
        return add_rows(detections, **self.roi_masks(self.pool(features, boxes, sizes), labels))

    def roi_masks(self, pooled: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``mask_probabilities (D, M, M)`` of the classes ``(D,)`` of detections with features ``(D, C, 14, 14)``."""
        return {"mask_probabilities": own_class(self.head(pooled), labels).float().sigmoid()}
