from typing import Any

import pytest
import torch

import gains
from gains.errors import InputError
from gains.models.build import build_plan, network_plan

SMALLEST = ("model.width={fpn: 16, box: 32, mask: 16}", "augmentation.test_short_side=64")


def test_an_untrained_network_in_one_line() -> None:
    network: Any = gains.build_network("mask_rcnn", *SMALLEST, num_classes=3)
    assert network.box.head.predictor.cls_score.out_features == 4
    [found] = network.eval()([torch.rand(3, 64, 64)])
    assert {"boxes", "labels", "scores", "masks"} <= set(found)


def test_name_configuration_and_plan_build_the_same() -> None:
    config = gains.compose("train", "model=htc", "num_classes=2", *SMALLEST)
    networks = []
    for build in (
        lambda: gains.build_network("htc", *SMALLEST, num_classes=2),
        lambda: gains.build_network(config),
        lambda: build_plan(network_plan(config)),
    ):
        torch.manual_seed(3)
        networks.append(build())  # type: ignore[no-untyped-call]
    first, *others = (network.state_dict() for network in networks)
    for state in others:
        assert list(state) == list(first)
        assert all(torch.equal(state[name], first[name]) for name in first)


def test_what_is_unknown_is_named() -> None:
    with pytest.raises(InputError, match="unet"):
        gains.build_network("unet")
    with pytest.raises(InputError, match="resnet_fpn refuses its settings"):
        gains.build_network("mask_rcnn", *SMALLEST, "model.resnet=true")
    with pytest.raises(InputError, match="resnet_fpn needs name, which is null"):
        gains.build_network("mask_rcnn", *SMALLEST, "model.resnet=null")
    with pytest.raises(InputError, match="TwoStageDetector needs rpn, which is null"):
        gains.build_network("mask_rcnn", *SMALLEST, "model.network.rpn=null")
    with pytest.raises(InputError, match="learning_rate"):
        gains.compose("train", "learning_rate=1")
