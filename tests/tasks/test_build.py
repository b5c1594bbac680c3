import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gains.config import compose
from gains.errors import InputError
from gains.models.build import build_network
from gains.tasks.failures import explain
from gains.tasks.from_data import fit_caps
from gains.tasks.trainer import build_trainer, set_device_and_precision
from gains.tasks.transforms import transforms


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["x"], "augmentation.transforms has 'x'; each must be a transform"),
        ([3], "augmentation.transforms has 3"),
        ([{"p": 0.5}], "each must be a transform of Albumentations"),
        ([{"_target_": "pathlib.Path"}], "PosixPath is no transform of Albumentations"),
        ({"a": 1}, "must be a list"),
        (None, "augmentation.transforms=None must be a list"),
        ("flip", "augmentation.transforms=flip must be a list"),
    ],
)
def test_what_is_no_transform_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        transforms(OmegaConf.create({"given": given}).given)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("callbacks.best._target_", ["x"]),
        ("callbacks.timer", "abc"),
        ("callbacks.timer._target_", "gains.nothing.Here"),
        ("callbacks.overlays.many", 3),
    ],
)
def test_a_part_that_cannot_be_made_is_one_line(setting: str, value: Any, tmp_path: Path) -> None:
    config = compose("train", "logger=csv")
    OmegaConf.set_struct(config, False)
    config.callbacks = {name: OmegaConf.to_container(config.callbacks[name]) for name in ("timer", "best", "overlays")}
    config.callbacks.best.dirpath = str(tmp_path)
    OmegaConf.update(config, setting, value, force_add=True)
    with pytest.raises(Exception) as error:  # noqa: PT011
        build_trainer(config, tmp_path)
    line = explain(error.value)
    assert line
    assert "\n" not in line
