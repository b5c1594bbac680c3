"""FastInst: A Simple Query-Based Model for Real-Time Instance Segmentation (He, Li, Geng, Xie; CVPR 2023).

A query per promising pixel (section 3.3), decoder layers that update pixels and queries in turn (section 3.4), one
mask per query over the whole image, no NMS. In training every layer runs a second time with attention restricted to
the true masks (section 3.5), which costs time but no parameters. Overlapping instances are different queries.

Differences: the position grid starts from small random numbers (the release leaves it uninitialised); boxes are those
of the masks; detections below the common score cut are dropped; small images have as many queries as E4 has cells, and
no more points in the mask loss than four per cell of a mask.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from gains.contract import Detections, Features, Sizes, Target
from gains.models.parts.backbone import ResNetStages
from gains.models.parts.detector import Detector
from gains.models.parts.full_image_masks import FullImageMasks, MapReader
from gains.models.parts.mask_grids import subsample, touched
from gains.models.parts.query.dual_path import DualPathLayer, QueryHead, QueryOutput, attention_block
from gains.models.parts.query.losses import class_loss, mask_losses, proposal_loss
from gains.models.parts.query.matching import Match, Truth, match_pixels, match_queries
from gains.models.parts.query.pixel_decoder import PixelDecoder
from gains.models.parts.query.proposal import Proposals, QueryProposal
from gains.models.parts.transform import ImageTransform
from gains.operating_point import OperatingPoint

MASK_STRIDE, PROPOSAL_STRIDE = 8, 16
POINTS_PER_CELL = 4
AUXILIARY = 8
"""Learned queries beside the proposed ones, which carry context and predict nothing."""
CLASS_WEIGHT, MASK_WEIGHT, DICE_WEIGHT, PROPOSAL_WEIGHT = 2.0, 5.0, 5.0, 20.0


@dataclass(frozen=True)
class Decoded:
    """What the decoder has computed for a batch.

    Attributes:
        proposals: the Q chosen queries.
        grid: ``(H/8, W/8)``.
        pixels: ``(N, H/8 * W/8, C)`` before the first layer and after each.
        queries: ``(N, Q + 8, C)`` likewise.
        positions: position embeddings of pixels ``(1, H/8 * W/8, C)`` and queries.
        outputs: predictions before the first layer and after each.
    """

    proposals: Proposals
    grid: tuple[int, int]
    pixels: list[Tensor]
    queries: list[Tensor]
    positions: tuple[Tensor, Tensor]
    outputs: list[QueryOutput]


class FastInst(Detector):
    """FastInst.

    Args:
        backbone: images to C3, C4, C5.
        transform: normalises, resizes and batches.
        channels: width of pixel decoder, queries and heads; divisible by 8.
        num_classes: K, without background.
        layers: decoder layers L; 1 is the paper's fastest variant, 3 its best.
        queries: proposed per image.
        num_points: points on which masks are compared.
    """

    def __init__(
        self,
        backbone: ResNetStages,
        transform: ImageTransform,
        channels: int,
        num_classes: int,
        layers: int = 3,
        queries: int = 100,
        num_points: int = 12544,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.backbone = backbone
        self.pixel_decoder = PixelDecoder(backbone.channels, channels)
        side = round(queries**0.5)
        self.position = nn.Parameter(0.02 * torch.randn(1, channels, side, side))
        self.auxiliary = nn.Embedding(AUXILIARY, channels)
        self.auxiliary_position = nn.Embedding(AUXILIARY, channels)
        self.proposal = QueryProposal(channels, num_classes, queries)
        self.layers = nn.ModuleList(DualPathLayer(channels) for _ in range(layers))
        self.heads = nn.ModuleList(QueryHead(channels, num_classes) for _ in range(layers + 1))
        self.num_points = num_points
        self.reader = MapReader(MASK_STRIDE, logits=True, aligned=False)

    def decode(self, features: Features) -> "Decoded":
        """All layers, each attending where the prediction before it sees the instance."""
        e3, e4 = self.pixel_decoder(features)
        grid = (int(e3.shape[-2]), int(e3.shape[-1]))
        proposals = self.proposal(e4, self._position_map(e4))
        extra, extra_position = (
            table.weight.expand(len(e3), -1, -1) for table in (self.auxiliary, self.auxiliary_position)
        )
        pixels = [e3.flatten(2).transpose(1, 2)]
        queries = [torch.cat([proposals.features, extra], dim=1)]
        positions = (
            self._position_map(e3).flatten(2).transpose(1, 2),
            torch.cat([proposals.positions, extra_position], dim=1),
        )
        decoded = Decoded(proposals, grid, pixels, queries, positions, [])
        decoded.outputs.append(self._read(decoded, 0, queries[0], pixels[0]))
        for index, layer in enumerate(self.layers):
            blocked = attention_block(decoded.outputs[-1].masks < 0, queries[0].shape[1])
            new_pixels, new_queries = layer(pixels[-1], queries[-1], *positions, blocked)
            pixels.append(new_pixels)
            queries.append(new_queries)
            decoded.outputs.append(self._read(decoded, index + 1, new_queries, new_pixels))
        return decoded

    def decode_guided(self, decoded: "Decoded", truths: list[Truth], matches: list[Match]) -> list[QueryOutput]:
        """Every layer once more on its own output, matched queries attending inside their true mask only (3.5)."""
        outside = torch.zeros_like(decoded.outputs[-1].masks, dtype=torch.bool)
        for image, truth, (queries, instances) in zip(outside, truths, matches, strict=True):
            image[queries] = truth.grid[instances] == 0
        blocked = attention_block(outside, decoded.queries[0].shape[1])
        outputs = []
        for index, layer in enumerate(self.layers):
            pixels, queries = layer(decoded.pixels[index + 1], decoded.queries[index + 1], *decoded.positions, blocked)
            outputs.append(self._read(decoded, index + 1, queries, pixels))
        return outputs

    def _read(self, decoded: "Decoded", index: int, queries: Tensor, pixels: Tensor) -> QueryOutput:
        """Predictions of head ``index`` for the proposed queries (the auxiliary ones have none)."""
        proposed = queries[:, : decoded.proposals.locations.shape[1]]
        output: QueryOutput = self.heads[index](proposed, pixels, decoded.grid)
        return output

    def _position_map(self, like: Tensor) -> Tensor:
        """The learned position grid, resized to a feature map: ``(1, C, h, w)``."""
        return F.interpolate(self.position, size=like.shape[-2:], mode="bilinear", align_corners=False)

    def losses(self, batch: ImageList, features: Features, targets: list[Target]) -> dict[str, Tensor]:
        """``loss_proposal``, and ``loss_class``, ``loss_mask``, ``loss_dice`` summed over all 2L + 1 outputs."""
        height, width = int(batch.tensors.shape[-2]), int(batch.tensors.shape[-1])
        truths = [_truth(target, (height, width), batch.tensors.device) for target in targets]
        decoded = self.decode(features)
        points = min(self.num_points, POINTS_PER_CELL * decoded.grid[0] * decoded.grid[1])
        # Exponentials and sums over thousands of points want full precision.
        with torch.autocast(batch.tensors.device.type, enabled=False):
            matches = [
                match_queries(output, decoded.proposals.locations, truths, (height, width), points)
                for output in decoded.outputs
            ]
        guided = self.decode_guided(decoded, truths, matches[-1])
        outputs = decoded.outputs + guided
        with torch.autocast(batch.tensors.device.type, enabled=False):
            terms = []
            for output, match in zip(outputs, matches + [matches[-1]] * len(guided), strict=True):
                crossed, dice = mask_losses(output, truths, match, (height, width), points)
                terms.append(torch.stack([class_loss(output, truths, match), crossed, dice]))
            by_class, by_mask, by_dice = torch.stack(terms).sum(0)
            pixels = proposal_loss(decoded.proposals.logits, truths, match_pixels(decoded.proposals, truths))
        return {
            "loss_proposal": PROPOSAL_WEIGHT * pixels,
            "loss_class": CLASS_WEIGHT * by_class,
            "loss_mask": MASK_WEIGHT * by_mask,
            "loss_dice": DICE_WEIGHT * by_dice,
        }

    def predict(
        self, batch: ImageList, features: Features, originals: Sizes, point: OperatingPoint
    ) -> list[Detections]:
        """Detections with masks, scored by class probability times the mean mask probability inside the mask."""
        output = self.decode(features).outputs[-1]
        return [
            self._detect(logits.float().softmax(1)[:, :-1], masks.float(), size, original, point)
            for logits, masks, size, original in zip(
                output.logits, output.masks, batch.image_sizes, originals, strict=True
            )
        ]

    def _detect(
        self,
        probabilities: Tensor,
        masks: Tensor,
        size: tuple[int, int],
        original: tuple[int, int],
        point: OperatingPoint,
    ) -> Detections:
        """One image's detections from class probabilities ``(Q, K)`` and mask logits ``(Q, H/8, W/8)``."""
        scores, order = probabilities.flatten().sort(descending=True, stable=True)
        order = order[: point.max_detections][scores[: point.max_detections] > point.min_score]
        query, category = order // probabilities.shape[1], order % probabilities.shape[1]
        found, quality = self.reader.masks(masks[query], size, original)
        scores = probabilities[query, category] * quality
        # A final score can only be lower than the class probability, so the first cut has lost nothing.
        best = torch.argsort(scores, descending=True, stable=True)
        best = best[scores[best] > point.min_score]
        kept = FullImageMasks(found.instances.select(best.tolist()))
        return {
            "boxes": kept.instances.boxes.to(scores),
            "labels": category[best] + 1,
            "scores": scores[best],
            "masks": kept,
        }


def _truth(target: Target, size: tuple[int, int], device: torch.device) -> Truth:
    """One image's ground truth on the grids of a padded input of the given size."""
    masks = target["masks"].to(device)
    grid = (size[0] // MASK_STRIDE, size[1] // MASK_STRIDE)
    cells = (size[0] // PROPOSAL_STRIDE, size[1] // PROPOSAL_STRIDE)
    return Truth(
        target["labels"].to(device) - 1,
        masks,
        subsample(masks, grid, MASK_STRIDE, 0),
        touched(masks, cells, PROPOSAL_STRIDE),
    )
