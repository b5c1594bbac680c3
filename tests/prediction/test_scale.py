"""Objects are brought to the size that the network learned from; results stay in pixels of the image."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

import gains
from gains.errors import InputError
from gains.instances import Instances
from gains.masks import InstanceCrops
from gains.models.build import build_plan
from gains.models.checkpoint import seal
from gains.prediction.predictor import Predictor
from gains.prediction.remarks import size_remarks
from gains.prediction.scale import Scales, ScaleSettings, Training
from gains.prediction.tiling import EDGE
from gains.rle import decode_crop, encode_crop
from helpers.blob_finder import blob_predictor
from helpers.sized_finder import LEARNED, NETWORK_SIDE, SIDE, disks, f1, sized_predictor, sized_recipe

TRAINING = Training(128, 192, 1.5, (21.0, 30.0, 42.0), 0.5)


@pytest.mark.parametrize("sizes", [True, False])
def test_the_stand_in_needs_the_scale(sizes: bool) -> None:
    """Or the tests below would prove nothing."""
    image, truth = disks(1)
    assert f1(sized_predictor(sizes=sizes, tile=SIDE).predict(image), truth) == 1
    for zoom in (0.33, 3):
        image, truth = disks(zoom, (600, 700) if zoom < 1 else (300, 360))
        assert f1(sized_predictor(sizes=sizes, tile=SIDE).predict(image), truth) < 0.3


@pytest.mark.parametrize("zoom", [0.5, 1, 2, 3])
def test_objects_of_any_size_are_found_by_their_diameter(zoom: float) -> None:
    image, truth = disks(zoom)
    found = sized_predictor(scale=ScaleSettings(object_diameter=zoom * LEARNED)).predict(image)
    assert f1(found, truth) > 0.97
    areas = coco_mask.area(truth)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.sort(found.masks.areas().numpy()), np.sort(areas), rtol=0.25)
    assert found.size == image.shape[:2]


@pytest.mark.parametrize(
    ("settings", "pixel"),
    [({"scale": 0.5}, None), ({"pixel_size_um": 0.25}, 0.5), ({"object_diameter": 2 * LEARNED}, None)],
)
def test_scale_diameter_and_pixel_size_say_the_same(settings: dict[str, Any], pixel: float | None) -> None:
    image, truth = disks(2)
    model = sized_predictor(pixel)
    given = model.predict(image, **settings)
    assert f1(given, truth) == 1
    again = sized_predictor(pixel, scale=ScaleSettings(**settings)).predict(image)
    np.testing.assert_array_equal(again.boxes, given.boxes)
    assert model.view == model.scales.as_trained  # what was said of one image is not kept for others


def test_the_first_that_is_given_decides() -> None:
    scales = Scales(TRAINING)

    def side(**settings: Any) -> int | None:
        views = scales.choose(ScaleSettings(**settings))
        return views[0].side if views else None

    assert side(scale=2, object_diameter=100, pixel_size_um=3) == 64
    assert side(object_diameter=40, pixel_size_um=3) == 256  # 40 pixels become 30: 192 are 256
    assert side(pixel_size_um=1) == 64  # a pixel twice as large as those of training
    assert side() is None
    [view] = scales.choose(ScaleSettings(), 0.25)
    assert (view.side, view.square) == (256, True)
    assert scales.choose(ScaleSettings(pixel_size_um=1), 0.25)[0].side == 64


@pytest.mark.parametrize(("large", "overlap"), [(20.0, 64), (60.0, 100), (500.0, 128)])
def test_tiles_share_what_a_large_object_needs(large: float, overlap: int) -> None:
    """At twice the scale of training a tile of 192 network pixels is one of 96, and an object half as large."""
    training = Training(256, 192, 192 / 256, (8.0, 15.0, large))
    assert Scales(training).as_trained.overlap == overlap  # 1.25 diameters, at least a quarter and at most half
    assert Scales(training).choose(ScaleSettings(scale=2))[0].overlap == overlap // 2
    assert Scales(training, overlap=10).as_trained.overlap == 10
    assert Scales(Training(256, 192, 192 / 256)).as_trained.overlap == 64  # sizes that nobody knows


def test_cut_edges_are_wider_where_a_pixel_of_the_network_is() -> None:
    edges = [Scales(TRAINING).choose(ScaleSettings(scale=scale))[0].edge for scale in (2, 1, 0.25)]
    assert edges == [EDGE, EDGE, 11]  # 512 pixels become 192


def test_a_tile_goes_as_it_is() -> None:
    [view] = Scales(TRAINING, tile=300).choose(ScaleSettings(pixel_size_um=3), 7.0)
    assert (view.side, view.square) == (300, False)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale": 0}, "scale=0 must be a number above 0"),
        ({"scale": float("nan")}, "scale=nan must be a number above 0"),
        ({"object_diameter": True}, "object_diameter=True must be a number"),
        ({"object_diameter": "30"}, "object_diameter=30 must be a number"),
        ({"object_diameter": 2.0}, r"object_diameter=2.0 leads to tiles of 13 pixels .* 32 to 8192"),
        ({"scale": 0.01}, "scale=0.01 leads to tiles of 12800 pixels"),
        ({"scale": 0.5, "tile": 64}, "tile=64 and scale=0.5 both decide the scale"),
        ({"scale": 2, "overlap": 64}, "scale=2 leads to tiles of 64 pixels, overlap=64"),
    ],
)
def test_scales_that_cannot_be_had_are_refused(settings: dict[str, Any], words: str) -> None:
    rest = {name: settings.pop(name) for name in ("tile", "overlap") if name in settings}
    with pytest.raises(InputError, match=words):
        sized_predictor(scale=ScaleSettings(**settings), **rest)


def test_what_the_checkpoint_must_know() -> None:
    with pytest.raises(InputError, match="object_diameter=9: the checkpoint does not know"):
        sized_predictor(sizes=False, scale=ScaleSettings(object_diameter=9))
    with pytest.raises(InputError, match="takes images as they are"):
        blob_predictor(scale=ScaleSettings(scale=0.5))
    assert sized_predictor(sizes=False, scale=ScaleSettings(scale=0.5)).tile == 2 * SIDE
    # Without a size of its own the checkpoint can make nothing of the image's.
    assert sized_predictor(scale=ScaleSettings(pixel_size_um=3)).tile == SIDE


def test_the_typical_object_is_of_the_target_category() -> None:
    recipe = sized_recipe()
    assert recipe.sizes is not None
    sizes = {"cell": [40.0, 60.0, 90.0], "blob": [14.0, 20.0, 28.0]}
    for target, diameter in ((None, 60.0), ("blob", 20.0), ("absent", 60.0)):
        learned = type(recipe.sizes)(sizes, sizes, target=target)
        training = Training.of(torch.nn.Identity(), type(recipe)(**{**vars(recipe), "sizes": learned}))
        assert training.diameters is not None
        assert training.diameters[1] == diameter
        assert training.factor == 1


def test_load_model_and_its_predict_take_the_scale(tmp_path: Path) -> None:
    recipe = sized_recipe()
    state = {f"network.{name}": value for name, value in build_plan(recipe.network, ["helpers"]).state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(recipe, state)}, tmp_path / "sized.ckpt")
    model: Predictor = gains.load_model(tmp_path / "sized.ckpt", "cpu", trust=["helpers"], object_diameter=2 * LEARNED)
    image, truth = disks(2)
    assert f1(model.predict(image), truth) == 1
    small, small_truth = disks(0.5)
    assert f1(model.predict(small, scale=2), small_truth) == 1
    assert model.tile == round(NETWORK_SIDE / 0.75)


def test_images_that_mix_sizes_are_united_from_several_scales() -> None:
    """Large and small objects side by side: each is found at one scale, those of middle size at both, once."""
    small, small_truth = disks(0.6, (300, 360))
    large, large_truth = disks(2.4, (150, 180))
    size = (max(len(small), len(large)), small.shape[1] + large.shape[1])
    image = np.zeros((*size, 3), np.uint8)
    image[: len(small), : small.shape[1]] = small
    image[: len(large), small.shape[1] :] = large
    moved = [(mask, 0) for mask in small_truth] + [(mask, small.shape[1]) for mask in large_truth]
    truth = []
    for mask, right in moved:
        crop, (x0, y0, x1, y1) = decode_crop(mask)
        truth.append(encode_crop(crop, (x0 + right, y0, x1 + right, y1), size))
    model = sized_predictor()
    alone = [f1(model.predict(image, scale=scale), truth) for scale in (0.5, 1.4)]
    both = model.predict(image, scales=[0.5, 1.4])
    assert max(alone) < 0.95
    assert f1(both, truth) == 1
    assert (np.diff(both.scores) <= 0).all()
    once, _ = disks(1)
    assert len(model.predict(once, scales=[0.9, 1, 1.1])) == len(disks(1)[1])


@pytest.mark.parametrize("scales", [[], [0.5, 0], "0.5", 0.5, [True]])
def test_scales_are_numbers(scales: Any) -> None:
    with pytest.raises(InputError, match=r"scales=.* must be numbers above 0"):
        ScaleSettings(scales=scales)
    with pytest.raises(InputError, match=r"scales=\[0.5, 1\] and scale=2 both decide"):
        ScaleSettings(scales=[0.5, 1], scale=2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tile": 40}, "cut by the tiles of 40 pixels: give object_diameter= or scale= or a larger tile="),
        ({"tile": 300}, "smaller than those that the model learned from: give object_diameter="),
        ({"scale": 2}, "larger than those that the model learned from"),
        ({"scale": 1}, None),
        ({"tile": 160}, None),
        ({"scales": [0.4, 0.3]}, "smaller than those that the model learned from at each of the scales: give other"),
        ({"scales": [2, 2.5]}, "larger than those that the model learned from at each of the scales: give other"),
        ({"scales": [3.2, 4]}, "cut by the tiles of 40 pixels: give other scales="),
        ({"scales": [0.4, 1]}, None),
        ({"scales": [1, 2.5]}, None),
    ],
)
def test_what_does_not_fit_is_said(settings: dict[str, Any], words: str | None) -> None:
    """By a model that finds objects of any size, once as a warning, and kept among the notes."""
    model = sized_predictor(tile=settings.pop("tile", None), scale=ScaleSettings(**settings))
    model.network.range = (0.0, 100.0)  # type: ignore[assignment]
    image = disks(1, (600, 600))[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(image)
        lines = model.notes.lines()
        model.predict(image)
    assert any(words in line for line in lines) if words else not lines
    assert [f"image: {warning.message}" for warning in caught] == lines


@pytest.mark.parametrize(("side", "words"), [(50, "cut by the tiles of 64 pixels"), (90, "larger than the tiles")])
def test_objects_larger_than_the_largest_tile_are_said(side: int, words: str) -> None:
    boxes = torch.tensor([[0, 0, side, side], [side, 0, 2 * side, side], [0, side, side, 2 * side]])
    masks = InstanceCrops.from_crops([torch.ones(side, side, dtype=torch.uint8)] * 3, boxes, (200, 200))
    found = Instances(masks, np.ones(3), np.ones(3, np.int64))
    views = Scales(TRAINING).choose(ScaleSettings(scales=[2, 4]))
    [remark] = size_remarks(found, np.ones(3, bool), None, views, TRAINING)
    assert words in remark
    assert remark.endswith("give other scales=")
