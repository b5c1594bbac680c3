"""GAInS: Gradient Anomaly-aware Biomedical Instance Segmentation (BIBM 2024, arXiv 2409.13988).

Mask R-CNN with a second branch that learns where instances touch, overlap or cross, and a mask loss that counts these
places more. The gradient anomaly maps come from the ground truth (:mod:`gains.gradient_anomaly`, GAMM) as the
derived target ``anomaly``. The adaptive local refinement module (ALRM) is here: fusion unit and anomaly head predict
the map, and the map weights the mask loss:

    L = L_RPN + L_box + 0.75 mean(a BCE(m, t)) + mean((e - a)^2)

with mask logits m, mask target t, anomaly target a and predicted anomaly e of each RoI's class. At inference the branch
runs only where its maps are asked for. Nothing is left out; each part switches off for the ablation table. Where figure
and released code part ways (``fusion``), both are there and the figure is the default.

Ours, and not the paper's, is what refines at inference (``refiner``, :mod:`gains.models.parts.roi.mask_refiner`): the
masks are drawn once more on 56x56 cells with the image's own pixels in view. Both drawings train with L_MR and its
factor. ``experiment=paper_*`` leaves it out.

Different from the release, beside what :mod:`gains.models.mask_rcnn` says of all two-stage methods:

- The anomaly branch starts at the maps' background, 1 (``start``; the release: 0).
- The factor of the mask loss is 3 (``mask_weight``; the release: 0.75), and the maps' gain is 2 (``dataset.gamm.gain``;
  the release: 0.5 to 0.8, and up to 2 as its rule of thumb): found on validation data of short runs from scratch, see
  ``docs/results.md``. ``experiment=paper_*`` has all three as released.
- The fusion unit's convolutions start from He's normal weights and zero bias, as those of the mask head do; the release
  leaves them at torch's default, uniform by fan-in with random biases.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.contract import Features, Rows, Sizes, Target
from gains.models.mask_rcnn import MaskBranch
from gains.models.parts.detections import add_rows, split_detections
from gains.models.parts.layers import conv_stack
from gains.models.parts.roi.mask_head import MaskHead, mask_loss, mask_targets, own_class, roi_targets
from gains.models.parts.roi.mask_refiner import MaskRefiner
from gains.models.parts.roi.sampling import RoISamples

Fusion = Literal["sum", "concat"]


class FusionUnit(nn.Module):
    """Joins RoI features and mask features, both ``(P, C, 14, 14)``, for the anomaly head.

    ``sum`` is the paper's figure: add, then three 3x3 convolutions. ``concat`` is what the released code comes to:
    concatenate, then one 3x3 convolution from 2C to C.
    """

    def __init__(self, channels_roi: int, channels: int, fusion: Fusion = "sum") -> None:
        super().__init__()
        if fusion not in ("sum", "concat"):
            raise ValueError(f"fusion={fusion!r} is unknown; use 'sum' or 'concat'")
        if fusion == "sum" and channels_roi != channels:
            raise ValueError(f"fusion='sum' adds maps of one width, got {channels_roi} and {channels}; use 'concat'")
        self.fusion = fusion
        if fusion == "sum":
            self.convs = conv_stack(channels, channels, 3)
        else:
            self.convs = conv_stack(channels_roi + channels, channels, 1)

    def forward(self, roi_features: Tensor, mask_features: Tensor) -> Tensor:
        """Fused features ``(P, C, 14, 14)``."""
        if self.fusion == "sum":
            joined = roi_features + mask_features
        else:
            joined = torch.cat([roi_features, mask_features], dim=1)
        fused: Tensor = self.convs(joined)
        return fused


class AnomalyBranch(nn.Module):
    """Predicts the instance gradient anomaly map of a RoI from its own and the mask head's features.

    Args:
        channels_roi: width of the RoI features.
        channels: width of the mask features and of this branch.
        num_classes: K, without background.
        fusion: how the two features are joined.
        start: value that the branch predicts everywhere before training. Ours is 1, the maps' background level; the
            release starts at 0, and L_GA then first teaches the shared features that offset instead of the anomaly.
    """

    def __init__(
        self, channels_roi: int, channels: int, num_classes: int, fusion: Fusion = "sum", start: float = 1.0
    ) -> None:
        super().__init__()
        self.fusion = FusionUnit(channels_roi, channels, fusion)
        self.head = MaskHead(channels, channels, num_classes)
        bias = self.head.predictor.logits.bias
        assert bias is not None
        nn.init.constant_(bias, start)

    def forward(self, roi_features: Tensor, mask_features: Tensor) -> Tensor:
        """Anomaly value per class ``(P, K, 28, 28)``, without activation; the background level is 1."""
        values: Tensor = self.head(self.fusion(roi_features, mask_features))
        return values


class GAInSMaskBranch(MaskBranch):
    """Mask branch with ALRM.

    Args:
        head: class logits from RoI features.
        anomaly: predicts anomaly maps; None leaves the branch out (ablation).
        reweight: weight the mask loss with the anomaly target (L_MR); off gives the plain mask loss (ablation).
        mask_weight: factor of the mask loss in the total, of coarse and refined masks each.
        anomaly_weight: factor of L_GA in the total.
        anomaly_rois_per_image: the anomaly branch trains on at most that many of an image's foreground RoIs, drawn at
            random; None takes all.
        predict_anomaly: add predicted anomaly maps to the detections.
        refiner: draws the masks once more, finer; None leaves the coarse ones (as published).

    Raises:
        ValueError: if maps are to be predicted without an anomaly branch.
    """

    def __init__(
        self,
        head: MaskHead,
        anomaly: AnomalyBranch | None,
        reweight: bool = True,
        mask_weight: float = 0.75,
        anomaly_weight: float = 1.0,
        anomaly_rois_per_image: int | None = None,
        predict_anomaly: bool = False,
        refiner: MaskRefiner | None = None,
    ) -> None:
        super().__init__(head)
        if predict_anomaly and anomaly is None:
            raise ValueError(
                "predict_anomaly=true needs the anomaly branch, which model.network.mask.anomaly=null leaves out"
            )
        self.anomaly = anomaly
        self.reweight = reweight
        self.mask_weight = mask_weight
        self.anomaly_weight = anomaly_weight
        self.anomaly_rois_per_image = anomaly_rois_per_image
        self.predict_anomaly = predict_anomaly
        self.refiner = refiner

    def losses(self, features: Features, samples: RoISamples, sizes: Sizes, targets: list[Target]) -> dict[str, Tensor]:
        """Of the foreground RoIs: weighted L_MR as ``loss_mask``, and as ``loss_refined`` that of the refined masks;
        weighted L_GA as ``loss_anomaly``; each where its part is there.
        """
        samples = samples.positives()
        labels = torch.cat(samples.labels)
        pooled = self.pool(features, samples.boxes, sizes)
        mask_features = self.head.trunk(pooled)
        logits = self.head.predictor(mask_features)
        anomaly = None
        if self.reweight or self.anomaly is not None:
            anomaly = roi_targets(samples, targets, lambda target: target["anomaly"])
        weight = anomaly if self.reweight else None
        losses = {"loss_mask": self.mask_weight * mask_loss(logits, labels, mask_targets(samples, targets), weight)}
        if self.refiner is not None:
            refined = self.refiner(features["image"], samples.boxes, own_class(logits, labels), mask_features)
            losses["loss_refined"] = self.mask_weight * self._refined_loss(refined, samples, targets)
        if self.anomaly is not None and anomaly is not None:
            rows = self._anomaly_rows(samples)
            if rows is not None:
                pooled, mask_features, labels, anomaly = pooled[rows], mask_features[rows], labels[rows], anomaly[rows]
            predicted = self.anomaly(pooled, mask_features)
            losses["loss_anomaly"] = self.anomaly_weight * anomaly_loss(predicted, labels, anomaly)
        return losses

    def _refined_loss(self, refined: Tensor, samples: RoISamples, targets: list[Target]) -> Tensor:
        """L_MR of refined logits ``(P, S, S)``."""
        side = refined.shape[-1]
        weight = roi_targets(samples, targets, lambda target: target["anomaly"], side) if self.reweight else None
        one_class = torch.ones(len(refined), dtype=torch.int64, device=refined.device)
        return mask_loss(refined[:, None], one_class, mask_targets(samples, targets, size=side), weight)

    def _anomaly_rows(self, samples: RoISamples) -> Tensor | None:
        """Rows of the RoIs on which the anomaly branch trains, or None for all of them."""
        limit = self.anomaly_rois_per_image
        if limit is None:
            return None
        rows, begin = [], 0
        for labels in samples.labels:
            rows.append(begin + torch.randperm(len(labels), device=labels.device)[:limit])
            begin += len(labels)
        return torch.cat(rows)

    def predict(self, features: Features, detections: list[Rows], sizes: Sizes) -> list[Rows]:
        """Add ``mask_probabilities (D, M, M)`` to each image's detections, M = 28, or the refiner's size, and
        ``anomaly_maps (D, 28, 28)`` on each detection's box where they are asked for.
        """
        boxes, labels = split_detections(detections)
        pooled = self.pool(features, boxes, sizes)
        mask_features = self.head.trunk(pooled)
        logits = own_class(self.head.predictor(mask_features), labels)
        if self.refiner is not None:
            logits = self.refiner(features["image"], boxes, logits, mask_features)
        found = {"mask_probabilities": logits.float().sigmoid()}
        if self.predict_anomaly and self.anomaly is not None:
            found["anomaly_maps"] = own_class(self.anomaly(pooled, mask_features), labels).float()
        return add_rows(detections, **found)


def anomaly_loss(values: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """L_GA: mean squared error of the anomaly map of each RoI's own class.

    Args:
        values: ``(P, K, S, S)`` anomaly values.
        labels: ``(P,)`` from 1.
        target: ``(P, S, S)`` RoI-aligned gradient anomaly maps.

    Returns:
        Scalar; without RoIs a zero that keeps the branch in the graph.
    """
    if len(labels) == 0:
        return values.sum() * 0
    return F.mse_loss(own_class(values, labels).float(), target)
