"""HTC, Hybrid Task Cascade (Chen et al., CVPR 2019), without its semantic branch.

In a cascade with a mask head per stage the mask heads neither profit from their own stage's refined boxes nor talk to
each other. HTC interleaves the two tasks, mask head t working on boxes that box head t has refined
(``interleaved`` of :class:`gains.models.parts.roi.cascade.CascadeBoxBranch`; section 3.1, eq. 2), and lets mask
features flow from stage to stage (section 3.1, eq. 3 to 5; :class:`HTCMaskBranch`).

Left out: the semantic branch (section 3.2), which needs labels of the background; the authors publish a configuration
without it too. Different from the published settings: the score threshold of 0.05 common to all methods here instead
of 0.001, which fills the 100 places of every image with noise; 1000 instead of 2000 proposals in training; L1 box
loss; see also :mod:`gains.models.cascade_rcnn`.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from gains.models.cascade_rcnn import CascadeMaskBranch
from gains.models.parts.layers import he_init
from gains.models.parts.roi.mask_head import MaskHead


class HTCMaskBranch(CascadeMaskBranch):
    """Mask heads of which each takes in the features of the one before.

    Stage t works on its own RoIs, so all heads before it run on those RoIs too, and learn from its loss.

    Args:
        head: makes a stage's mask head.
        channels_in: width of the RoI features.
        channels: width of the mask heads.
        loss_weights: factor of the mask loss, per stage.
    """

    def __init__(
        self,
        head: Callable[[], MaskHead],
        channels_in: int,
        channels: int,
        loss_weights: Sequence[float] = (1.0, 0.5, 0.25),
    ) -> None:
        super().__init__(head, loss_weights)
        # The first stage has nobody to listen to.
        self.flow = nn.ModuleList(nn.Conv2d(channels, channels_in, 1) for _ in loss_weights[1:])
        for conv in self.flow:
            assert isinstance(conv, nn.Conv2d)
            he_init(conv)

    def mask_features(self, pooled: Tensor, stages: int) -> list[Tensor]:
        """Features ``(P, C, 14, 14)`` of the first ``stages`` heads, all for the same RoI features."""
        features: list[Tensor] = []
        for stage in range(stages):
            received = pooled + F.relu(self.flow[stage - 1](features[-1])) if stage else pooled
            head = self.heads[stage]
            assert isinstance(head, MaskHead)
            features.append(head.trunk(received))
        return features

    def stage_logits(self, pooled: Tensor, stage: int) -> Tensor:
        """Logits ``(P, K, 28, 28)`` of one stage, from 0, after the chain up to it."""
        head = self.heads[stage]
        assert isinstance(head, MaskHead)
        logits: Tensor = head.predictor(self.mask_features(pooled, stage + 1)[-1])
        return logits

    def all_logits(self, pooled: Tensor) -> list[Tensor]:
        """Logits of every stage from one run of the chain."""
        features = self.mask_features(pooled, len(self.heads))
        return [head.predictor(mask) for head, mask in zip(self.heads, features, strict=True)]  # type: ignore[operator]
