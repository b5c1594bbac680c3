"""Where nobody says how large objects are, a first pass over some tiles does."""

from typing import Any

import numpy as np
import pytest
import torch

from gains.images.raster import ArrayRaster
from gains.masks import InstanceCrops
from gains.prediction import predictor
from gains.prediction.estimate import MOST_TILES, Estimate, FirstPass, Look, busiest
from gains.prediction.scale import MAX_TILE, MIN_TILE
from helpers.blob_finder import Masks
from helpers.sized_finder import LEARNED, SIDE, SizedFinder, disks, f1, sized_predictor


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


def test_a_checkpoint_without_sizes_predicts_as_before_and_says_so() -> None:
    model = sized_predictor(sizes=False)
    image, _ = disks(2)
    found = model.predict(image)
    np.testing.assert_array_equal(found.boxes, sized_predictor(sizes=False, tile=SIDE).predict(image).boxes)
    [line] = model.notes.lines()
    assert "does not know how large the objects were" in line


@pytest.mark.parametrize(("zoom", "share"), [(1, 0.1), (2, 0.16)])
def test_what_it_costs_on_a_large_image(zoom: float, share: float) -> None:
    """Tiles of the first pass, at most a tenth of those of the prediction; of large objects that takes few itself."""
    image, _ = disks(zoom, (round(2304 / zoom), round(2304 / zoom)))
    model = sized_predictor()
    network = model.network
    assert isinstance(network, SizedFinder)
    model.estimated = model.estimate([ArrayRaster(image)])
    assert model.estimated.diameter == (None if zoom == 1 else pytest.approx(zoom * LEARNED, rel=0.12))
    assert 0 < sum(network.batches) <= share * len(model.view.grid((2304, 2304)))


def test_many_fragments_of_low_scores_are_less_evidence_than_few_sure_objects() -> None:
    """A threshold that was tuned at the right scale may be low, and lets fragments of the learned size pass."""
    image = ArrayRaster(np.zeros((300, 300), np.uint8))
    training = sized_predictor().scales.training
    look = FirstPass(lambda _: [], [image], training, 1, 0.2, "full_range", 4)

    def evidence(scores: list[float]) -> float:
        side, count = 18, len(scores)  # the area of a circle of 20 pixels
        starts = torch.arange(count) * 30 + 20
        boxes = torch.stack([starts, starts, starts + side, starts + side], dim=1)
        masks = InstanceCrops.from_crops([torch.ones(side, side, dtype=torch.uint8)] * count, boxes, (300, 300))
        found = {"labels": torch.ones(count), "scores": torch.tensor(scores), "masks": Masks(masks)}
        return look.measure(found, np.array([0, 0, 300, 300]), (300, 300), 1.5)[0]

    assert evidence([0.4] * 8) < 0.8 * evidence([0.9] * 2)
    assert evidence([0.9] * 2) < evidence([0.9] * 3)


def test_tiles_that_are_looked_at_show_something() -> None:
    image = np.zeros((1000, 1000), np.uint8)
    image[410:420, 610:620] = 255
    boxes = busiest(ArrayRaster(image), 100, 3, "full_range")
    assert len(boxes) == 3
    dark = busiest(ArrayRaster(image[:250, :250]), 100, MOST_TILES + 1, "full_range")
    assert len(dark) == 9  # all
    image[:] = 0
    image[40:90, 240:290] = np.random.default_rng(0).integers(0, 255, (50, 50))
    [box] = busiest(ArrayRaster(image[:100, :400]), 100, 1, "full_range")
    assert box.tolist() == [200, 0, 300, 100]


def test_the_median_is_weighted() -> None:
    look = Look(1, 1, np.array([30.0, 10.0, 20.0]), np.array([3.0, 1.0, 1.0]))
    assert look.diameter == 30
    assert Look(1, 1, np.array([30.0, 10.0, 20.0]), np.ones(3)).diameter == 20
    assert np.isnan(Look(1, 0, np.zeros(0), np.zeros(0)).diameter)


@pytest.mark.parametrize(("zoom", "side"), [(0.2, MIN_TILE), (100, MAX_TILE)])
def test_objects_too_small_or_too_large_for_any_tile_get_the_nearest(zoom: float, side: int) -> None:
    model = sized_predictor()
    first = FirstPass(model._detect, [ArrayRaster(disks(1)[0])], model.scales.training, 1, 0.5, "full_range", 1)
    diameter = zoom * LEARNED
    look = Look(first.median / diameter, 1.0, np.full(4, diameter), np.ones(4))
    estimate = first.told(look, first.usual(), True)
    assert f"as near to the 30 network pixels of training as tiles of {side} allow" in estimate.text
    assert estimate.diameter is not None
    assert model.scales.fitting(estimate.diameter).side == side
