from typing import Any

import pytest

from gains.config import compose
from gains.errors import InputError
from gains.models.build import build_network
from gains.tasks.from_data import fit_caps
from gains.tasks.trainer import set_device_and_precision


def test_proposals_follow_the_fullest_image() -> None:
    config = compose("train", "model=mask_rcnn", "num_classes=1", "max_detections=400")
    notes = fit_caps(config, 226)
    assert list(config.model.proposals.pre_nms) == [678, 300]
    assert list(config.model.proposals.post_nms) == [678, 300]
    assert notes[0].startswith("model.proposals.pre_nms[0] is raised from 500 to 678: an image holds 226 instances")
    assert len(notes) == 2
    network: Any = build_network(config)
    assert network.rpn.train().post_nms_top_n() == 678


def test_queries_follow_the_fullest_image() -> None:
    config = compose("train", "model=fastinst", "num_classes=1", "max_detections=400")
    notes = fit_caps(config, 226)
    assert config.model.queries == config.model.network.queries == 283
    assert notes == ["model.queries is raised from 100 to 283: an image holds 226 instances"]


@pytest.mark.parametrize("model", ["mask_rcnn", "fastinst", "condinst"])
def test_what_is_enough_stays(model: str) -> None:
    config = compose("train", f"model={model}", "model/size=small", "num_classes=1")
    before = config.copy()
    assert fit_caps(config, 80) == []
    assert config == before


def test_a_cap_below_the_fullest_image_is_said() -> None:
    config = compose("train", "model=condinst", "num_classes=1", "max_detections=100")
    [note] = fit_caps(config, 226)
    assert note.startswith("max_detections=100 is less than the 226 instances of the fullest image")


def test_the_precision_is_set_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("train", "trainer.precision=auto")
    monkeypatch.setattr("gains.training.precision.native_bfloat16", lambda accelerator: accelerator == "cpu")
    assert set_device_and_precision(config) == [
        "trainer.precision=auto: bf16-mixed (bfloat16 is native here, accelerator cpu)"
    ]
    assert config.trainer.precision == "bf16-mixed"
    assert set_device_and_precision(config) == []
    with pytest.raises(InputError, match=r"trainer\.precision=bf16-true"):
        set_device_and_precision(compose("train", "trainer.precision=bf16-true"))
