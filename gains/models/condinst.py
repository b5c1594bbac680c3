"""CondInst: Conditional Convolutions for Instance Segmentation (Tian, Shen, Chen; ECCV 2020).

No RoIs. An anchor-free detector (FCOS) predicts at each location a class, a box, how central it lies, and the weights
of a tiny network (section 3.2) that draws the instance's mask over the whole image from shared mask features and
coordinates relative to the location. Overlapping instances do not compete: each has a network of its own.

Left out: the auxiliary semantic loss (off by default in the paper's code). Differences: group norm instead of batch
norm in the mask branch, since batches here may hold one image; NMS and score cut follow the protocol all methods share.
Kept although it looks like a slip: the step from stride 8 to 4 puts the cell whose coordinates are 8 i + 4 at pixel
8 i + 6. It does so in training and at inference alike, and the networks learn it.
"""

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from gains.contract import Detections, Features, Rows, Sizes, Target
from gains.models.parts.aligned_upsampling import aligned_upsample
from gains.models.parts.backbone import NORMS
from gains.models.parts.detections import keep_detections
from gains.models.parts.detector import Detector
from gains.models.parts.dice import squared_dice
from gains.models.parts.fcos.dynamic_mask_head import CHANNELS, dynamic_masks
from gains.models.parts.fcos.head import FCOSHead, FCOSOutput
from gains.models.parts.fcos.losses import fcos_losses
from gains.models.parts.fcos.targets import Locations, LocationTargets, assign
from gains.models.parts.full_image_masks import MapReader
from gains.models.parts.mask_grids import centroids, subsample
from gains.models.parts.normaliser import over_processes
from gains.models.parts.transform import ImageTransform, rescale_boxes
from gains.operating_point import OperatingPoint

MASK_STRIDE = 4
"""Input pixels per cell of the predicted masks, half the stride of the mask features."""


def _conv_norm(channels_in: int, channels: int) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, NORMS["group"](channels), nn.ReLU(inplace=True))


class MaskFeatures(nn.Module):
    """Joins P3, P4 and P5 into 8 feature maps of stride 8, from which every instance's network reads.

    Args:
        channels: width of the pyramid levels; this branch has half of it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 2
        self.refine = nn.ModuleList(_conv_norm(channels, width) for _ in range(3))
        self.tower = nn.Sequential(*(_conv_norm(width, width) for _ in range(4)))
        self.output = nn.Conv2d(width, CHANNELS, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Mask features ``(N, 8, H/8, W/8)`` from P3, P4, P5."""
        joined = self.refine[0](levels[0])
        for power, (refine, level) in enumerate(zip(self.refine[1:], levels[1:], strict=True), start=1):
            joined = joined + aligned_upsample(refine(level), 2**power)
        features: Tensor = self.output(self.tower(joined))
        return features


class CondInst(Detector):
    """CondInst.

    Args:
        backbone: images to P3..P7.
        transform: normalises, resizes and batches.
        head: FCOS head with 169 extra outputs per location, the weights of the mask networks (the controller).
        mask_features: shared input of the mask networks.
        max_masks: at most that many of a batch's positive locations draw a mask in training, chosen at random.
        candidates: at most that many locations per level go on to NMS.
    """

    def __init__(
        self,
        backbone: nn.Module,
        transform: ImageTransform,
        head: FCOSHead,
        mask_features: MaskFeatures,
        max_masks: int = 500,
        candidates: int = 1000,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.backbone = backbone
        self.head = head
        self.mask_features = mask_features
        self.max_masks = max_masks
        self.candidates = candidates
        self.reader = MapReader(MASK_STRIDE, logits=False, aligned=True)

    def _predict_maps(self, features: Features) -> tuple[Locations, FCOSOutput, Tensor]:
        levels = list(features.values())
        sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in levels]
        return Locations.of(sizes, levels[0].device), self.head(levels), self.mask_features(levels[:3])

    def losses(self, batch: ImageList, features: Features, targets: list[Target]) -> dict[str, Tensor]:
        """``loss_class``, ``loss_box``, ``loss_centreness`` (see :func:`fcos_losses`) and ``loss_mask``."""
        locations, output, maps = self._predict_maps(features)
        assigned = [
            assign(
                locations,
                target["boxes"].to(locations.points),
                target["labels"],
                centroids(target["masks"]).to(locations.points),
            )
            for target in targets
        ]
        losses = fcos_losses(output, assigned)
        return {**losses, "loss_mask": self._mask_loss(locations, output, maps, assigned, targets)}

    def _mask_loss(
        self,
        locations: Locations,
        output: FCOSOutput,
        maps: Tensor,
        assigned: list[LocationTargets],
        targets: list[Target],
    ) -> Tensor:
        """Mean dice loss of the masks drawn by (a random choice of) the positive locations."""
        nothing = maps.float().sum() * 0 + output.extra.float().sum() * 0
        image, place = torch.nonzero(torch.stack([target.labels for target in assigned]), as_tuple=True)
        if len(image) > self.max_masks:
            chosen = torch.randperm(len(image), device=image.device)[: self.max_masks]
            image, place = image[chosen], place[chosen]
        dice, visible = [], []
        for index, target in enumerate(targets):
            rows = place[image == index]
            if len(rows) == 0:
                continue
            probabilities = self._draw(maps[index], output.extra[index, rows], locations, rows)
            grid = (int(probabilities.shape[1]), int(probabilities.shape[2]))
            truth = subsample(target["masks"], grid, MASK_STRIDE, MASK_STRIDE // 2)[assigned[index].instance[rows]]
            dice.append(squared_dice(probabilities, truth))
            visible.append(truth.flatten(1).any(1))
        # A mask that falls between the cells has nothing to be drawn.
        counts = torch.cat(visible).float() if visible else nothing.new_zeros(0)
        count = over_processes(counts.sum(), 1, nothing)
        return nothing + (torch.cat(dice) * counts).sum() / count if dice else nothing

    def _draw(self, features: Tensor, parameters: Tensor, locations: Locations, rows: Tensor) -> Tensor:
        """Mask probabilities ``(P, H/4, W/4)`` of the locations ``rows (P,)`` of one image."""
        logits = dynamic_masks(features, parameters, locations.points[rows], locations.extents[rows])
        return aligned_upsample(logits[:, None], 2)[:, 0].sigmoid()

    def predict(
        self, batch: ImageList, features: Features, originals: Sizes, point: OperatingPoint
    ) -> list[Detections]:
        """Detections with masks, scored by the square root of class probability times centre-ness.

        The point's ``min_score`` is compared with that product, before the root.
        """
        locations, output, maps = self._predict_maps(features)
        results: list[Detections] = []
        for index, (size, original) in enumerate(zip(batch.image_sizes, originals, strict=True)):
            found, rows = self._detect(locations, output, index, size, point)
            probabilities = self._draw(maps[index], output.extra[index, rows], locations, rows)
            masks, _ = self.reader.masks(probabilities, size, original)
            boxes = rescale_boxes(found["boxes"], size, original)
            results.append(
                {"boxes": boxes, "labels": found["labels"], "scores": found["scores"].sqrt(), "masks": masks}
            )
        return results

    def _detect(
        self, locations: Locations, output: FCOSOutput, index: int, size: tuple[int, int], point: OperatingPoint
    ) -> tuple[Rows, Tensor]:
        """Filtered boxes of one image, and the location ``(D,)`` of each."""
        scores = output.logits[index].float().sigmoid() * output.centreness[index].float().sigmoid()[:, None]
        begin, kept = 0, []
        for level in torch.split(scores.amax(1), locations.levels):
            kept.append(begin + level.topk(min(self.candidates, len(level))).indices)
            begin += len(level)
        rows = torch.cat(kept)
        points = locations.points[rows]
        distances = output.distances[index, rows].float() * locations.strides[rows, None]
        boxes = torch.cat([points - distances[:, :2], points + distances[:, 2:]], dim=1)
        found = keep_detections(point, boxes[:, None].expand(-1, scores.shape[1], 4), scores[rows], size)
        return found, rows[found["roi"]]
