from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from gains.errors import InputError
from gains.models import weights as weights_module
from gains.models.build import build_network
from gains.models.parts.backbone import resnet_fpn
from gains.models.parts.roi.box_branch import BoxHead
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.rpn import build_rpn
from gains.models.weights import load_weights


class Detector(nn.Module):
    def __init__(self, resnet: Any = "resnet18", norm: Any = "frozen", channels: int = 256) -> None:
        super().__init__()
        self.backbone = resnet_fpn(resnet, channels, norm, 3)
        self.rpn = build_rpn(channels)
        self.box = nn.Module()
        self.box.head = BoxHead(channels, 90, 1024)
        self.mask = nn.Module()
        self.mask.head = MaskHead(channels, 256, 90)


def test_classifier_file_fills_the_whole_body(tmp_path: Path) -> None:
    classifier = torchvision.models.resnet18(weights=None)
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    network = Detector()
    filled = load_weights(network, str(tmp_path / "resnet18.pth"), "resnet18")
    body = dict(network.backbone.body.state_dict())
    assert {f"backbone.body.{name}" for name in body} == set(filled.names)
    assert {name.split(".")[0] for name in filled.missing} == {"backbone", "rpn", "box", "mask"}
    assert torch.equal(body["layer4.1.conv2.weight"], classifier.layer4[1].conv2.weight)


def test_torchvision_detector_fills_every_layer_but_class_dependent_ones(tmp_path: Path) -> None:
    theirs = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(theirs.state_dict(), tmp_path / "detector.pth")
    network: Any = Detector("resnet50")
    filled = load_weights(network, str(tmp_path / "detector.pth"), "resnet50")
    # Ours has one mask channel per class and none for background.
    assert filled.missing == ["mask.head.predictor.logits.bias", "mask.head.predictor.logits.weight"]
    assert str(filled).endswith("2 were not in them or have another shape and start anew: mask.head.predictor.logits")
    assert torch.equal(network.mask.head.trunk[4].weight, theirs.roi_heads.mask_head[2][0].weight)


@pytest.mark.parametrize("model", ["fastinst", "condinst", "htc", "donet", "gains"])
def test_a_model_starts_from_its_own_checkpoint_without_loss(model: str, tmp_path: Path) -> None:
    tiny = ("model.width={fpn: 16, box: 16, mask: 16}",)
    trained, fresh = (build_network(model, *tiny, num_classes=2, target_label=1) for _ in range(2))
    path = tmp_path / "trained.ckpt"
    torch.save({"state_dict": {f"network.{name}": value for name, value in trained.state_dict().items()}}, path)
    filled = load_weights(fresh, str(path), "resnet18")
    assert filled.missing == []
    assert str(filled) == f"{len(filled.names)} tensors start from {path} weights"
    state = fresh.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in trained.state_dict().items())


def test_what_is_not_filled_is_named(tmp_path: Path) -> None:
    three, two = (build_network("mask_rcnn", num_classes=count) for count in (3, 2))
    torch.save(three.state_dict(), tmp_path / "three.pth")
    filled = load_weights(two, str(tmp_path / "three.pth"), "resnet18")
    assert "6 were not in them or have another shape and start anew" in str(filled)
    parts = ("box.head.predictor.bbox_pred", "box.head.predictor.cls_score", "mask.head.predictor.logits")
    assert str(filled).endswith(", ".join(parts))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    state["layer3.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"1 of its tensors are not finite \(first: backbone.body.layer3.0.conv1"):
        load_weights(Detector(), str(tmp_path / "nan.pth"), "resnet18")


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), tmp_path / "resnet50.pth")
    with pytest.raises(InputError, match="tensors of the backbone resnet18 are not in it or have another shape"):
        load_weights(Detector(), str(tmp_path / "resnet50.pth"), "resnet18")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pth does not exist"):
        load_weights(Detector(), "nowhere.pth", "resnet18")
    (tmp_path / "damaged.pth").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"damaged\.pth cannot be read"):
        load_weights(Detector(), str(tmp_path / "damaged.pth"), "resnet18")


def test_unreachable_download_says_what_to_pass_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    assert weights_module.load_weights  # type: ignore[truthy-function]
    with pytest.raises(InputError, match=r"model\.weights=PATH.*model/pretrained=none"):
        load_weights(Detector(), "imagenet", "resnet18")
    with pytest.raises(InputError, match=r"weights=coco"):
        load_weights(Detector("resnet50"), "coco", "resnet50")


@pytest.mark.parametrize("resnet", ["resnet18", "resnet50", "resnet101"])
def test_imagenet_weights_are_those_of_torchvisions_detectors(resnet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(self: Any, **_: Any) -> Any:
        asked.append(self)
        body = resnet if len(asked) == 1 else "resnet50"
        return torchvision.models.get_model(body, weights=None).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fetch)
    load_weights(Detector(resnet), "imagenet", resnet)
    torchvision.models.detection.maskrcnn_resnet50_fpn(num_classes=2)  # fetches what it takes for its backbone
    assert [weights.name for weights in asked] == [asked[1].name] * 2


def test_weights_reach_donets_second_path(tmp_path: Path) -> None:
    """Those of Mask R-CNN have one path; DoNet's own have two, which stay apart."""
    tiny = ("model.width={fpn: 16, box: 16, mask: 16}",)
    trained, path = build_network("mask_rcnn", *tiny, num_classes=2), tmp_path / "mask_rcnn.pth"
    torch.save(trained.state_dict(), path)
    network = build_network("donet", *tiny, num_classes=2, target_label=1)
    load_weights(network, str(path), "resnet18")
    state, theirs = network.state_dict(), trained.state_dict()
    heads = [name for name in theirs if name.startswith(("rpn.", "box.", "mask."))]
    assert len(heads) > 20
    assert all(torch.equal(state[name], theirs[name]) for name in heads)
    assert all(torch.equal(state[f"inner.{name}"], theirs[name]) for name in heads)

    for parameter in network.inner.parameters():  # type: ignore[union-attr]
        torch.nn.init.constant_(parameter, 0.125)
    torch.save(network.state_dict(), path)
    again = build_network("donet", *tiny, num_classes=2, target_label=1)
    load_weights(again, str(path), "resnet18")
    assert all((parameter == 0.125).all() for parameter in again.inner.parameters())  # type: ignore[union-attr]
    assert torch.equal(again.state_dict()["box.head.head.fc6.weight"], state["box.head.head.fc6.weight"])
