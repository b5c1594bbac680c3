"""Stacks of layers and initialisations that heads share."""

from torch import nn

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d


def he_init(layer: Layer) -> None:
    """He normal weights (fan-out) and zero bias."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def normal_init(layer: Layer, std: float) -> None:
    """Normal weights of a given standard deviation and zero bias, for a layer that predicts."""
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def conv_stack(channels_in: int, channels: int, count: int) -> nn.Sequential:
    """``count`` times 3x3 convolution and ReLU, the first from ``channels_in``, He-initialised."""
    layers: list[nn.Module] = []
    for index in range(count):
        conv = nn.Conv2d(channels_in if index == 0 else channels, channels, 3, padding=1)
        layers += [conv, nn.ReLU(inplace=True)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            he_init(layer)
    return nn.Sequential(*layers)


def vector_stack(inputs: int, width: int) -> nn.Sequential:
    """Two fully connected layers with ReLU, initialised as Caffe2's Xavier filler does (uniform by fan-in)."""
    hidden = [nn.Linear(inputs, width), nn.Linear(width, width)]
    for layer in hidden:
        nn.init.kaiming_uniform_(layer.weight, a=1)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(hidden[0], nn.ReLU(inplace=True), hidden[1], nn.ReLU(inplace=True))
