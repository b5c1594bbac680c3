"""What every model has to keep to, whatever its method: one model per file in conf/model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from gains.config import compose, config_folder
from gains.masks import InstanceCrops
from gains.models.build import build_network
from gains.operating_point import OperatingPoint
from helpers.far_device import Far, far_device, send, waits

NAMES = sorted(path.stem for path in (config_folder() / "model").glob("*.yaml"))
MODELS = [name for name in NAMES if not name.endswith("_r101")]  # they differ in size alone, which is small here
ONE_CLASS = [(name, 1) for name in MODELS]
TWO_CLASSES = [(name, 2) for name in MODELS]
SIZES = [(64, 80), (72, 56)]
SMALLEST = [
    "model/size=small",
    "model/pretrained=none",
    "model.width={fpn: 32, box: 32, mask: 32}",
    "model.rois_per_image=32",
    "model.proposals={pre_nms: [100, 60], post_nms: [60, 60]}",
    "augmentation=none",
    "augmentation.test_short_side=96",
]

Targets = list[dict[str, Any]]


def assemble(name: str, num_classes: int) -> tuple[nn.Module, dict[str, Callable[..., Any]]]:
    """The network, and the further targets it asks the data for."""
    label = "target_label=1" if num_classes == 2 else "target_label=null"
    config = compose("train", f"model={name}", f"num_classes={num_classes}", label, *SMALLEST)
    torch.manual_seed(1)
    network: Any = build_network(config)
    network.operating_point = OperatingPoint(min_score=0.0, max_detections=20)  # untrained, it is sure of nothing
    derived = instantiate(config.model.targets, _convert_="all")
    return network, {name: derive for name, derive in derived.items() if derive is not None}


@pytest.fixture(scope="module", params=ONE_CLASS + TWO_CLASSES, ids=lambda p: f"{p[0]}-K{p[1]}")
def subject(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, Callable[..., Any]], int]:
    return (*assemble(*request.param), request.param[1])


def make_images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.rand(3, *size, generator=generator) for size in SIZES]


def make_target(
    derived: dict[str, Callable[..., Any]],
    num_classes: int,
    size: tuple[int, int],
    boxes: list[tuple[int, int, int, int]],
) -> dict[str, Any]:
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    crops = InstanceCrops.from_dense(masks)
    labels = torch.tensor([1 + index % num_classes for index in range(len(boxes))], dtype=torch.int64)
    target = {"boxes": crops.boxes.float(), "labels": labels, "masks": crops, "image_id": 1}
    return target | {name: derive(crops, labels) for name, derive in derived.items()}


def make_targets(derived: dict[str, Callable[..., Any]], num_classes: int, empty: bool = False) -> Targets:
    """Three overlapping objects in the first image (unless empty), none in the second."""
    boxes = [] if empty else [(6, 8, 40, 44), (12, 14, 24, 26), (28, 20, 70, 60)]
    return [
        make_target(derived, num_classes, SIZES[0], boxes),
        make_target(derived, num_classes, SIZES[1], []),
    ]


def make_crowd(derived: dict[str, Callable[..., Any]], num_classes: int) -> Targets:
    """120 small objects in the first image, a single one in the second."""
    grid = [(8 * column, 5 * row, 8 * column + 9, 5 * row + 7) for row in range(12) for column in range(10)]
    boxes = [(x0, y0, min(x1, SIZES[0][1]), min(y1, SIZES[0][0])) for x0, y0, x1, y1 in grid]
    return [
        make_target(derived, num_classes, SIZES[0], boxes),
        make_target(derived, num_classes, SIZES[1], [(5, 5, 50, 60)]),
    ]


@pytest.mark.parametrize("truth", ["one_without", "none", "crowd"])
def test_training_step(subject: Any, truth: str) -> None:
    network, derived, num_classes = subject
    if truth == "crowd":
        targets = make_crowd(derived, num_classes)
    else:
        targets = make_targets(derived, num_classes, empty=truth == "none")
    check_step(network, targets)


@pytest.mark.parametrize("boxes", [[(26, 27, 32, 32)], []], ids=["corner", "gone"])
def test_training_step_of_a_single_small_image(subject: Any, boxes: list[tuple[int, int, int, int]]) -> None:
    network, derived, num_classes = subject
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(2))
    check_step(network, [make_target(derived, num_classes, (32, 32), boxes)], [image])


def check_step(network: nn.Module, targets: Targets, images: list[Tensor] | None = None) -> None:
    """Every loss is finite, and every parameter gets a finite gradient."""
    network.train().zero_grad(set_to_none=True)
    losses = network(images or make_images(), targets)
    assert all(name.startswith("loss_") for name in losses)
    for name, loss in losses.items():
        assert loss.shape == (), name
        assert torch.isfinite(loss), name
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} has no gradient"
            assert torch.isfinite(parameter.grad).all(), f"{name} has a gradient that is not finite"


def test_predictions(subject: Any) -> None:
    network, _, num_classes = subject
    with torch.no_grad():
        predictions = network.eval()(make_images())
    assert len(predictions) == 2
    for found, (height, width) in zip(predictions, SIZES, strict=True):
        count = len(found["scores"])
        assert 0 < count <= 20
        assert found["boxes"].shape == (count, 4)
        assert found["labels"].dtype == torch.int64
        assert set(found["labels"].tolist()) <= set(range(1, num_classes + 1))
        scores = found["scores"].tolist()
        assert scores == sorted(scores, reverse=True)
        assert 0 <= scores[-1] <= scores[0] <= 1
        assert (found["boxes"] >= 0).all()
        assert (found["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert len(found["masks"]) == len(found["masks"].paste()) == count
        rles = found["masks"].to_rle()
        assert [rle["size"] for rle in rles] == [[height, width]] * count
        assert coco_mask.decode(rles).shape == (height, width, count)


@pytest.mark.parametrize("subject", TWO_CLASSES, indirect=True, ids=MODELS)
def test_same_seed_same_losses(subject: Any) -> None:
    network, derived, num_classes = subject
    images, targets = make_images(), make_targets(derived, num_classes)
    network.train()
    torch.manual_seed(9)
    first = network(images, targets)
    torch.manual_seed(9)
    assert network(images, targets) == first


@pytest.mark.slow
@pytest.mark.parametrize("subject", TWO_CLASSES, indirect=True, ids=MODELS)
def test_mixed_precision(subject: Any) -> None:
    network, derived, num_classes = subject
    with torch.autocast("cpu", torch.bfloat16):
        check_step(network, make_targets(derived, num_classes))
        with torch.no_grad():
            predictions = network.eval()(make_images())
    assert all(0 < len(found["masks"].to_rle()) == len(found["scores"]) for found in predictions)
    assert all(found["scores"].dtype == found["boxes"].dtype == torch.float32 for found in predictions)


WAITS = {"condinst": 4, "fastinst": 5, "cascade_rcnn_b": 24, "htc": 30}
"""How often our code may wait for the device in a step on two images. RoIs are picked by value: 16 elsewhere."""


def far_target(target: dict[str, Any]) -> dict[str, Any]:
    """A target as the data module hands it to a model on another device: boxes of crops stay on the CPU."""
    tensors = {name: Far(value) for name, value in target.items() if isinstance(value, Tensor)}
    crops = {name: value for name, value in target.items() if isinstance(value, InstanceCrops)}
    return tensors | {name: replace(value, values=Far(value.values)) for name, value in crops.items()}


@pytest.mark.parametrize("name", MODELS)
def test_on_another_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor is made in the wrong place, and the device is waited for no more often than necessary."""
    network, derived = assemble(name, 2)
    expected = network.train()(make_images(), make_targets(derived, 2)) if name == "condinst" else None
    send(network)
    targets = [far_target(target) for target in make_targets(derived, 2)]
    with far_device(monkeypatch):
        images = [Far(image) for image in make_images()]
        losses = network.train()(images, targets)
        assert len(waits) <= WAITS.get(name, 16), waits
        total = sum(losses.values())
        total.backward()
        with torch.no_grad():
            predictions = network.eval()(images)
        assert all(len(found["masks"].to_rle()) == len(found["scores"]) > 0 for found in predictions)
    assert isinstance(total, Far)
    assert all(isinstance(parameter.grad, Far) for parameter in network.parameters() if parameter.grad is not None)
    if expected is not None:  # nothing random in it
        for key, loss in expected.items():
            torch.testing.assert_close(losses[key].inner, loss.detach())
