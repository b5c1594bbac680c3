"""Where nobody says how large objects are, a first pass over some tiles does."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gains import load_model
from gains.images.raster import ArrayRaster
from gains.prediction import predictor
from gains.prediction.estimate import Estimate, FirstPass
from gains.prediction.looks import Look, Looker
from gains.prediction.scale import MAX_TILE, MIN_TILE
from helpers.sized_finder import LEARNED, NETWORK_SIDE, SIDE, SizedFinder, disks, f1, sized_predictor


@pytest.mark.parametrize("zoom", [0.5, 0.75, 1, 1.4, 2, 3])
def test_objects_of_any_size_are_found_by_default(zoom: float) -> None:
    image, truth = disks(zoom)
    model = sized_predictor()
    assert f1(model.predict(image), truth) > 0.94
    estimate = model.estimate([ArrayRaster(image)])
    if estimate.diameter is not None:
        assert estimate.diameter == pytest.approx(zoom * LEARNED, rel=0.12)


def test_images_as_in_training_are_left_as_they_are() -> None:
    image, truth = disks(1)
    model = sized_predictor()
    found, plain = model.predict(image), sized_predictor(tile=SIDE).predict(image)
    np.testing.assert_array_equal(found.boxes, plain.boxes)
    assert f1(found, truth) == 1
    [line] = model.notes.lines()
    assert "objects are about 20" in line
    assert "sure): as in training" in line


def test_it_is_made_once_per_call_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sized_predictor()
    passes: list[FirstPass] = []

    def counted(*given: Any) -> FirstPass:
        passes.append(FirstPass(*given))
        return passes[-1]

    monkeypatch.setattr(predictor, "FirstPass", counted)
    images = [disks(2, (120, 160), seed)[0] for seed in range(10)]
    results = list(model.predict_many((index, ArrayRaster(image)) for index, image in enumerate(images)))
    assert [key for key, _, _ in results] == list(range(10))
    assert [len(made.images) for made in passes] == [8]
    model.predict(images[0], object_diameter=40)
    assert len(passes) == 1
    lines = [line for line in model.notes.lines() if "objects are about" in line]
    assert len(lines) == 1
    assert "in 8 images" in lines[0]
    assert "brought to the 30 network pixels of training" in lines[0]


def test_nothing_to_go_by_changes_nothing() -> None:
    model = sized_predictor()
    assert model.estimate([ArrayRaster(np.zeros((200, 200), np.uint8))]).diameter is None
    broken = ArrayRaster(np.full((200, 200), 3000.0))  # not in [0, 1]: cannot be read
    assert model.estimate([broken]) == Estimate(None, "")
    image, _ = disks(3, (70, 70))  # one object
    estimate = model.estimate([ArrayRaster(image)])
    assert estimate.diameter is None
    assert "too few to tell" in estimate.text


def noise(kind: str) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    values = {
        "gaussian": 100 + 25 * rng.standard_normal((200, 240)),
        "poisson": rng.poisson(5, (200, 240)) * 20.0,
        "shaded": np.linspace(60, 140, 240) + 25 * rng.standard_normal((200, 240)),
        "constant": np.full((200, 240), 200.0),
        "gradient": np.tile(np.linspace(0, 255, 240), (200, 1)),
    }
    return np.repeat(values[kind].clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "shaded", "constant", "gradient"])
def test_noise_and_empty_images_tell_no_size(kind: str) -> None:
    """Enlarged far enough, the grains of noise look like objects."""
    estimate = sized_predictor().estimate([ArrayRaster(noise(kind))])
    assert estimate.diameter is None
    assert "sure" not in estimate.text
    assert ("too few to tell" if kind in ("constant", "gradient") else "noise") in estimate.text


def test_noise_upon_objects_does_not_hide_them() -> None:
    image, _ = disks(0.5)
    noisy = image * 0.6 + np.random.default_rng(0).normal(40, 25, image.shape)
    estimate = sized_predictor().estimate([ArrayRaster(noisy.clip(0, 255).astype(np.uint8))])
    assert estimate.diameter == pytest.approx(0.5 * LEARNED, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "poisson", "constant", "gradient"])
def test_the_shipped_nuclei_take_no_noise_for_objects(kind: str) -> None:
    estimate = load_model("nuclei", accelerator="cpu").estimate([ArrayRaster(noise(kind))])
    assert estimate.diameter is None
    assert "sure" not in estimate.text


def test_a_checkpoint_without_sizes_predicts_as_before_and_says_so() -> None:
    model = sized_predictor(sizes=False)
    image, _ = disks(2)
    found = model.predict(image)
    np.testing.assert_array_equal(found.boxes, sized_predictor(sizes=False, tile=SIDE).predict(image).boxes)
    [line] = model.notes.lines()
    assert "does not know how large the objects were" in line


@pytest.mark.parametrize("zoom", [0.5, 1, 1.4, 2, 3])
def test_what_it_costs_on_a_large_image(zoom: float) -> None:
    """At most a tenth of the pixels that the prediction shows the network, though large objects take few tiles."""
    image, _ = disks(zoom, (round(2304 / zoom), round(2304 / zoom)))
    model = sized_predictor()
    network = model.network
    assert isinstance(network, SizedFinder)
    model.estimated = model.estimate([ArrayRaster(image)])
    assert model.estimated.diameter == (None if zoom == 1 else pytest.approx(zoom * LEARNED, rel=0.15))
    assert 0 < network.pixels <= 0.1 * NETWORK_SIDE**2 * len(model.view.grid((2304, 2304)))
    assert network.transform.short_side == NETWORK_SIDE  # as before


@pytest.mark.parametrize(("zoom", "side"), [(0.2, MIN_TILE), (100, MAX_TILE)])
def test_objects_too_small_or_too_large_for_any_tile_get_the_nearest(zoom: float, side: int) -> None:
    model = sized_predictor()
    training = model.scales.training
    looker = Looker(model.network, model._detect, model.recipe, training, 1, "full_range", 1)
    first = FirstPass(looker, [ArrayRaster(disks(1)[0])], training)
    diameter = zoom * LEARNED
    look = Look(first.median / diameter, 1, 1, 0, 0, np.full(4, diameter), np.ones(4))
    estimate = first.told(look, first.usual, True)
    assert f"as near to the 30 network pixels of training as tiles of {side} allow" in estimate.text
    assert estimate.diameter is not None
    assert model.scales.fitting(estimate.diameter).side == side
