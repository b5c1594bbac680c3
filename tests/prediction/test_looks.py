"""One look of the first pass: where it looks, what it takes for evidence, what it leaves behind."""

from typing import Any

import numpy as np
import pytest
import torch

from gains.images.raster import ArrayRaster
from gains.masks import InstanceCrops
from gains.prediction.looks import CANDIDATES, Look, Looker, by_contrast
from gains.prediction.predictor import Predictor
from helpers.blob_finder import Masks
from helpers.sized_finder import NETWORK_SIDE, sized_predictor


def looker_of(model: Predictor) -> Looker:
    return Looker(model.network, model._detect, model.recipe, model.scales.training, 1, "full_range", 4)


def test_many_fragments_of_low_scores_are_less_evidence_than_few_sure_objects() -> None:
    """A threshold that was tuned at the right scale may be low, and lets fragments of the learned size pass."""
    looker = looker_of(sized_predictor())
    looker.threshold = 0.2

    def evidence(scores: list[float]) -> float:
        side, count = 18, len(scores)  # the area of a circle of 20 pixels
        starts = torch.arange(count) * 30 + 20
        boxes = torch.stack([starts, starts, starts + side, starts + side], dim=1)
        masks = InstanceCrops.from_crops([torch.ones(side, side, dtype=torch.uint8)] * count, boxes, (300, 300))
        found = {"labels": torch.ones(count), "scores": torch.tensor(scores), "masks": Masks(masks)}
        return looker.measure(found, np.array([0, 0, 300, 300]), (300, 300), 1.5)[0]

    assert evidence([0.4] * 8) < 0.8 * evidence([0.9] * 2)
    assert evidence([0.9] * 2) < evidence([0.9] * 3)


def test_crops_that_show_something_come_first() -> None:
    image = np.zeros((1000, 1000), np.uint8)
    image[440:490, 640:690] = 255
    boxes, variances = by_contrast(ArrayRaster(image[:, :800]), 100, "full_range")
    assert len(boxes) <= CANDIDATES
    assert (np.diff(variances) <= 0).all()
    boxes, variances = by_contrast(ArrayRaster(image[400:700, 500:900]), 100, "full_range")
    assert len(boxes) == 12  # all
    assert boxes[0].tolist() == [100, 0, 200, 100]
    assert variances[0] == pytest.approx(0.25 * 0.75 * 255**2)
    assert (variances[1:] == 0).all()


def test_evidence_of_busy_crops_is_that_of_the_whole_image() -> None:
    """Disks in one part of an otherwise empty image: crops of any size see those alone."""
    image = np.zeros((1024, 1024, 3), np.uint8)
    rows, columns = np.mgrid[:128, :128]
    for y in (20, 62, 104):
        for x in (20, 62, 104):
            image[:128, :128][np.hypot(columns - x, rows - y) <= 10] = (230, 0, 0)
    looker = looker_of(sized_predictor())
    raster = ArrayRaster(image)
    nothing = Look(1.5, 0, 0, 0, 0, np.zeros(0), np.zeros(0))
    limits = (0.0, 255.0)
    one = looker.more(nothing, [(raster, limits)], NETWORK_SIDE, 1)
    more = looker.more(one, [(raster, limits)], NETWORK_SIDE, 7)
    assert (len(one.diameters), one.crops, more.crops) == (9, 1, 8)
    assert one.area == 128**2
    assert one.found / one.area == pytest.approx(8 * more.found / more.area)
    assert one.evidence == pytest.approx(more.evidence)
    everything = looker.more(nothing, [(raster, limits)], NETWORK_SIDE, 64)
    assert one.evidence == pytest.approx(everything.found / 1024**2)


def test_the_network_is_left_as_it_was() -> None:
    model = sized_predictor()
    looker = looker_of(model)
    point, transform = model.recipe.operating_point, model.network.transform

    def state() -> tuple[Any, ...]:
        return model.network.operating_point, transform.short_side  # type: ignore[union-attr]

    def fail() -> None:
        with looker.glancing(96):
            seen.append(state())
            raise KeyError

    seen: list[tuple[Any, ...]] = []
    with pytest.raises(KeyError):
        fail()
    [(kept, side)] = seen
    assert side == 96
    assert kept.max_detections == 21  # twice (96 / 30)²
    assert state() == (point, NETWORK_SIDE)
    with looker.glancing(10 * NETWORK_SIDE):
        assert state()[1] == NETWORK_SIDE


def test_the_median_is_weighted() -> None:
    def diameter(weights: list[float]) -> float:
        return Look(1, 1, 1, 0, 0, np.array([30.0, 10.0, 20.0])[: len(weights)], np.array(weights)).diameter

    assert diameter([3, 1, 1]) == 30
    assert diameter([1, 1, 1]) == 20
    assert np.isnan(diameter([]))
