"""Exported models against the models they were made from."""

import json
from pathlib import Path

import pytest
import torch
import torchvision  # noqa: F401  (its operators are what a trace calls)

from gains.config import compose
from gains.errors import InputError
from gains.models.build import build_plan, network_plan
from gains.models.recipe import Recipe
from gains.operating_point import OperatingPoint
from gains.prediction.predictor import Predictor
from gains.prediction.torchscript import Traceable, export_torchscript, probes
from helpers.blob_finder import blob_predictor

EXPORTS = [
    "mask_rcnn",
    "gains",
    "htc",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("mask_scoring_rcnn", "pisa", "cascade_rcnn", "occlusion_rcnn", "donet")
    ),
]
SIZE = (64, 96)
TINY = [
    "model.width={fpn: 16, box: 32, mask: 16}",
    "model.proposals={pre_nms: [60, 60], post_nms: [40, 40]}",
    f"augmentation.test_short_side={SIZE[0]}",
]


def predictor_of(name: str, seed: int = 0) -> Predictor:
    """An untrained model whose weights are scaled up, so that scores are far apart and vary with the image."""
    torch.manual_seed(seed)
    overrides = (f"model={name}", "num_classes=2", "target_label=1", *TINY)
    plan = network_plan(compose("train", *overrides))
    network = build_plan(plan)
    for key, parameter in network.named_parameters():
        if key.endswith(("cls_score.weight", "cls_logits.weight", "bbox_pred.weight", "logits.weight")):
            parameter.data *= 20
    point = OperatingPoint(min_score=0.9, nms_iou=0.2)  # numbers of detections that differ, and are below the cap
    return Predictor(network, Recipe(plan, ["a", "b"], 96, model=name, operating_point=point), torch.device("cpu"))


@pytest.mark.parametrize("name", EXPORTS)
def test_the_file_gives_what_the_model_gives(name: str, tmp_path: Path) -> None:
    predictor = predictor_of(name)
    export_torchscript(predictor, tmp_path / "model.pt", SIZE)
    about = {"gains.json": ""}
    loaded = torch.jit.load(tmp_path / "model.pt", _extra_files=about)
    assert json.loads(about["gains.json"]) == {"categories": ["a", "b"], "size": list(SIZE), "intensity": "full_range"}
    counts = set()
    generator = torch.Generator().manual_seed(7)
    for image in [*probes(SIZE), torch.rand(3, *SIZE, generator=generator)]:
        with torch.no_grad():
            boxes, labels, scores, masks = loaded(image)
            [expected] = predictor.network([image])
        torch.testing.assert_close(boxes, expected["boxes"], atol=0.01, rtol=0)
        assert torch.equal(labels, expected["labels"])
        torch.testing.assert_close(scores, expected["scores"], atol=1e-4, rtol=0)
        torch.testing.assert_close(masks, expected["masks"].probabilities, atol=1e-4, rtol=0)
        counts.add(len(boxes))
    assert len(counts) > 1, "a trace that froze the number of detections must not pass"


def test_a_model_without_mask_grids_is_refused(tmp_path: Path) -> None:
    predictor = blob_predictor(tile=64)
    with pytest.raises(InputError, match=r"blobs cannot be exported as TorchScript.*two-stage models"):
        export_torchscript(predictor, tmp_path / "model.pt", SIZE)
    assert not list(tmp_path.iterdir())


def test_pointrend_whose_steps_depend_on_the_detections_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pointrend cannot be exported as TorchScript"):
        export_torchscript(predictor_of("pointrend"), tmp_path / "model.pt", SIZE)
    assert not list(tmp_path.iterdir())


def test_a_trace_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of("mask_rcnn")
    trace, other = torch.jit.trace, Traceable(predictor_of("mask_rcnn", seed=1).network).eval()
    monkeypatch.setattr(torch.jit, "trace", lambda model, *given, **options: trace(other, *given, **options))  # type: ignore[no-untyped-call]
    with pytest.raises(InputError, match="a trace of it gives"):
        export_torchscript(predictor, tmp_path / "model.pt", SIZE)
    assert not list(tmp_path.iterdir())
