"""Two-stage networks whose boxes are given: crossing objects survive NMS on masks and fall to NMS on boxes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gains.contract import Rows
from gains.models.parts.detections import keep_detections
from gains.operating_point import OperatingPoint

SIDE = 64
TINY = ("model.width={fpn: 16, box: 16, mask: 16}", f"augmentation.test_short_side={SIDE}")
# Boxes of two bars that cross (IoU 0.89), of one of them found again, and of a third object elsewhere.
BOXES = torch.tensor([[8.0, 8, 40, 40], [7, 9, 41, 41], [9, 7, 42, 40], [46, 46, 60, 60]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6])


def grids() -> Tensor:
    falling = torch.zeros(28, 28)
    for offset in range(-3, 4):
        falling += torch.diag(torch.ones(28 - abs(offset)), offset)
    return torch.stack([falling, falling.flip(1), falling, torch.ones(28, 28)])


class Boxes(nn.Module):
    """Stands in for the box branch of any method."""

    def detect(self, features: Any, proposals: Any, sizes: list[Any], point: OperatingPoint) -> list[Rows]:
        found = [keep_detections(point, BOXES[:, None], SCORES[:, None], size) for size in sizes]
        return found


class Masks(nn.Module):
    """Stands in for the mask branch: the grid of each box that is left."""

    def predict(self, features: Any, detections: list[Rows], sizes: Any) -> list[Rows]:
        return [{**found, "mask_probabilities": grids()[found["roi"]]} for found in detections]


@pytest.fixture
def network(build: Callable[..., Any]) -> Any:
    network = build("mask_rcnn", *TINY, num_classes=1).eval()
    network.box, network.mask = Boxes(), Masks()
    return network


def scores(network: Any, **settings: Any) -> list[float]:
    network.operating_point = OperatingPoint(**settings)
    with torch.no_grad():
        [found] = network([torch.rand(3, SIDE, SIDE)])
    assert len(found["masks"].to_rle()) == len(found["boxes"]) == len(found["labels"])
    return [round(score, 2) for score in found["scores"].tolist()]


def test_crossing_objects_survive_nms_on_masks(network: Any) -> None:
    assert scores(network, nms="box") == [0.9, 0.6]
    assert scores(network, nms="mask") == [0.9, 0.8, 0.6]


def test_the_cap_comes_after_the_suppression(network: Any) -> None:
    assert scores(network, nms="mask", max_detections=2) == [0.9, 0.8]
    assert scores(network, nms="mask", max_detections=1) == [0.9]


def test_copies_of_one_object_do_not_take_the_places_of_others() -> None:
    copies = torch.tensor([[8.0, 8, 40, 40]]) + torch.tensor([[2.0, 0, 2, 0]]) * torch.arange(6)[:, None]
    boxes = torch.cat([copies, torch.tensor([[46.0, 46, 60, 60], [2, 46, 12, 60]])])
    scores = torch.linspace(0.9, 0.2, len(boxes))
    point = OperatingPoint(nms="mask", max_detections=3).candidates()
    kept = keep_detections(point, boxes[:, None], scores[:, None], (SIDE, SIDE))
    assert point.max_detections == 5
    assert kept["roi"].tolist() == [0, 1, 2, 6, 7], "two of the six copies, and both other objects"
    assert (kept["scores"].diff() < 0).all()


@pytest.mark.parametrize("name", ["cascade_rcnn_b", "condinst", "donet", "fastinst", "mask_scoring_rcnn", "pointrend"])
def test_every_kind_of_method_takes_it(build: Callable[..., Any], name: str) -> None:
    torch.manual_seed(1)
    network = build(name, *TINY, target_label=1).eval()
    image = torch.rand(3, SIDE, SIDE)
    network.operating_point = OperatingPoint(min_score=0.0, nms="mask", nms_iou=0.3, max_detections=15)
    with torch.no_grad():
        [found] = network([image])
        network.operating_point = network.operating_point.candidates()
        [before] = network([image])
    assert 0 < len(found["scores"]) <= 15 <= len(before["scores"])
    assert (found["scores"].diff() <= 0).all()
    masks = found["masks"].paste().dense().bool()
    for index, mask in enumerate(masks):
        for other in range(index):
            shared, either = (mask & masks[other]).sum(), (mask | masks[other]).sum()
            assert found["labels"][index] != found["labels"][other] or shared <= 0.3 * either
