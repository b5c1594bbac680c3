"""ResNet with a feature pyramid, from torchvision."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

ResNet = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
Norm = Literal["frozen", "batch", "group"]

STAGES = ["layer4", "layer3", "layer2", "layer1", "conv1"]


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(min(32, channels // 4), channels)


class FrozenNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """torchvision's batch norm with fixed statistics and affine, but in place and in its input's precision.

    In a ResNet its input is a convolution's output, which nothing else reads: two passes over memory and a second
    copy of every activation are saved, and under mixed precision the activations stay half as wide.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x (N, C, H, W)``, which is overwritten."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        normalised: Tensor = x.mul_(scale[:, None, None]).add_(shift[:, None, None])
        return normalised


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that also trains where a batch leaves one value per channel, as one image of 32 pixels at stride 32.

    One value has no variance: it is normalised by the running statistics, which stay as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalised ``x (N, C, H, W)``."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        normalised: Tensor = super().forward(x)
        return normalised


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frozen": FrozenNorm,
    "batch": BatchNorm,
    "group": _group_norm,
}


def resnet_body(name: ResNet, norm: Norm, trainable_layers: int) -> nn.Module:
    """A torchvision ResNet without pretrained weights, its lower stages without gradient.

    Args:
        name: depth.
        norm: ``frozen`` for pretrained weights and small batches (statistics and affine fixed); ``batch`` or ``group``
            when training from scratch, where frozen statistics would leave the network unnormalised.
        trainable_layers: how many of the five stages (stem, layer1..layer4) train, counted from the top;
            3 is the usual "freeze at 2" of pretrained detectors, 5 trains everything.

    Raises:
        ValueError: for an unknown norm or a number of trainable layers outside 0..5.
    """
    if not 0 <= trainable_layers <= len(STAGES):
        raise ValueError(f"trainable_layers={trainable_layers} is outside 0..{len(STAGES)}")
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r} is unknown; use one of {', '.join(NORMS)}")
    body: nn.Module = get_model(name, weights=None, norm_layer=NORMS[norm])
    trained = tuple(STAGES[:trainable_layers]) + (("bn1",) if trainable_layers == len(STAGES) else ())
    for parameter_name, parameter in body.named_parameters():
        if not parameter_name.startswith(trained):
            parameter.requires_grad_(False)
    return body


def resnet_fpn(
    name: ResNet = "resnet50",
    channels: int = 256,
    norm: Norm = "frozen",
    trainable_layers: int = 3,
    levels: tuple[int, ...] | list[int] = (1, 2, 3, 4),
    extra: ExtraFPNBlock | None = None,
) -> BackboneWithFPN:
    """ResNet-FPN (He et al. 2016; Lin et al. 2017).

    Args:
        name: ResNet depth.
        channels: width of every pyramid level.
        norm: see :func:`resnet_body`.
        trainable_layers: see :func:`resnet_body`.
        levels: residual stages that feed the pyramid; (1, 2, 3, 4) gives P2..P5 with strides 4..32.
        extra: block that adds coarser levels; by default a max pool that adds P6 for the RPN.

    Returns:
        Module from ``(N, 3, H, W)`` to an ordered dict of maps, keys "0", "1", ... and "pool".
    """
    body = resnet_body(name, norm, trainable_layers)
    width = body.inplanes // 8  # type: ignore[operator]
    return BackboneWithFPN(
        body,
        {f"layer{stage}": str(index) for index, stage in enumerate(levels)},
        [int(width * 2 ** (stage - 1)) for stage in levels],
        channels,
        extra_blocks=extra or LastLevelMaxPool(),
    )


class ResNetStages(nn.Module):
    """A ResNet without pyramid: the output of its last three stages.

    Args:
        name: ResNet depth.
        norm: see :func:`resnet_body`.
        trainable_layers: see :func:`resnet_body`.
    """

    def __init__(self, name: ResNet = "resnet50", norm: Norm = "frozen", trainable_layers: int = 5) -> None:
        super().__init__()
        body = resnet_body(name, norm, trainable_layers)
        width: int = body.inplanes  # type: ignore[assignment]
        self.channels = [width // 4, width // 2, width]
        self.body = IntermediateLayerGetter(body, {f"layer{stage}": str(stage - 2) for stage in (2, 3, 4)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """C3, C4, C5 with strides 8, 16, 32 under the keys "0", "1", "2"."""
        features: dict[str, Tensor] = self.body(images)
        return features
