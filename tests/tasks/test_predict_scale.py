"""``gains predict`` decides the scale once for all images, units and later calls."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from pycocotools.coco import COCO

from gains.errors import InputError
from gains.models.checkpoint import seal
from gains.prediction import predictor
from gains.prediction.estimate import FirstPass
from gains.tasks import predict
from helpers.predicting import configured
from helpers.sized_finder import LEARNED, SizedFinder, disks, sized_recipe


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Ten images, twice as large as those of training, in two units."""
    (tmp_path / "images").mkdir()
    for seed in range(10):
        image, _ = disks(2, (120, 160), seed)
        cv2.imwrite(str(tmp_path / "images" / f"plate{seed}.png"), image[:, :, ::-1])
    recipe = sized_recipe(0.5)
    state = {f"network.{name}": value for name, value in SizedFinder().state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(recipe, state)}, tmp_path / "sized.ckpt")
    return {
        "checkpoint": str(tmp_path / "sized.ckpt"),
        "input": str(tmp_path / "images"),
        "tile": None,
        "unit": 5,
        "output": str(tmp_path / "output"),
    }


def counts(output: str) -> list[int]:
    coco = COCO(Path(output) / "predictions.json")
    return [len(coco.getAnnIds(imgIds=image)) for image in coco.getImgIds()]


EXPECTED = [len(disks(2, (120, 160), seed)[1]) for seed in range(10)]


def test_the_estimate_is_made_once(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    def first_pass(*given: Any) -> FirstPass:
        made.append(1)
        return FirstPass(*given)

    monkeypatch.setattr(predictor, "FirstPass", first_pass)
    predict.run(configured(**settings))
    assert counts(settings["output"]) == EXPECTED
    assert len(made) == 1
    printed = capsys.readouterr().out
    assert printed.count("note: scale: objects are about") == 1
    # Later calls go on with the same estimate, though there is an image of another kind.
    image, truth = disks(1, (120, 160))
    cv2.imwrite(str(Path(settings["input"]) / "z.png"), image[:, :, ::-1])
    predict.run(configured(**settings))
    assert len(made) == 1
    assert "as estimated when this folder was begun" in capsys.readouterr().out
    with pytest.raises(InputError, match="object_diameter None -> 20"):
        predict.run(configured(**settings, object_diameter=LEARNED))
    predict.run(configured(**settings, object_diameter=LEARNED, overwrite=True))
    assert counts(settings["output"])[-1] == len(truth)


@pytest.mark.parametrize(
    "given", [{"object_diameter": 40}, {"scale": 0.5}, {"pixel_size_um": 0.25}, {"scales": [0.5, 0.6]}]
)
def test_what_is_given_decides(
    settings: dict[str, Any], given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "FirstPass", lambda *_: pytest.fail("the scale was known"))
    predict.run(configured(**settings, **given))
    assert counts(settings["output"]) == EXPECTED


def test_each_file_goes_by_its_own_pixel_size(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "FirstPass", lambda *_: pytest.fail("the scale was known"))
    for path in Path(settings["input"]).iterdir():
        path.unlink()
    expected = []
    for index, zoom in enumerate((0.5, 1, 2)):
        image, truth = disks(zoom, (200, 240))
        expected.append(len(truth))
        side = 0.5 / zoom
        tifffile.imwrite(
            Path(settings["input"]) / f"{index}.ome.tif",
            np.ascontiguousarray(image),
            ome=True,
            metadata={"axes": "YXS", "PhysicalSizeX": side, "PhysicalSizeY": side},
        )
    predict.run(configured(**settings))
    assert counts(settings["output"]) == expected
