from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from gains.errors import InputError
from gains.models import weights as weights_module
from gains.models.parts.backbone import resnet_fpn
from gains.models.parts.roi.box_branch import BoxHead
from gains.models.parts.roi.mask_head import MaskHead
from gains.models.parts.roi.rpn import build_rpn
from gains.models.weights import load_weights


class Detector(nn.Module):
    def __init__(self, resnet: str = "resnet18", norm: str = "frozen", channels: int = 256) -> None:
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
    assert {f"backbone.body.{name}" for name in body} == set(filled)
    assert torch.equal(body["layer4.1.conv2.weight"], classifier.layer4[1].conv2.weight)


def test_torchvision_detector_fills_every_layer_but_class_dependent_ones(tmp_path: Path) -> None:
    theirs = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    torch.save(theirs.state_dict(), tmp_path / "detector.pth")
    network = Detector("resnet50")
    filled = set(load_weights(network, str(tmp_path / "detector.pth"), "resnet50"))
    # Ours has one mask channel per class and none for background.
    missing = set(network.state_dict()) - filled
    assert missing == {"mask.head.predictor.logits.weight", "mask.head.predictor.logits.bias"}
    assert torch.equal(network.mask.head.trunk[4].weight, theirs.roi_heads.mask_head[2][0].weight)


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
    assert weights_module.load_weights
    with pytest.raises(InputError, match=r"model\.weights=PATH.*model/pretrained=none"):
        load_weights(Detector(), "imagenet", "resnet18")
    with pytest.raises(InputError, match=r"weights=coco"):
        load_weights(Detector("resnet50"), "coco", "resnet50")
