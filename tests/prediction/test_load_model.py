"""``from gains import load_model``, with a real network that nobody trained."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import gains
from gains.config import compose
from gains.data.dataset import to_network_range
from gains.errors import InputError
from gains.models.build import build_plan, network_plan
from gains.models.checkpoint import seal
from gains.models.recipe import Recipe
from gains.prediction.predictor import Predictor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tiny = ("model.width={fpn: 16, box: 32, mask: 16}", "augmentation.test_short_side=96")
    plan = network_plan(compose("train", "model=mask_rcnn", "num_classes=2", *tiny))
    state = {f"network.{name}": value for name, value in build_plan(plan).state_dict().items()}
    path = tmp_path_factory.mktemp("model") / "best.ckpt"
    recipe = Recipe(plan, ["cell", "nucleus"], 96, model="mask_rcnn")
    torch.save({"state_dict": state, "gains": seal(recipe, state)}, path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Predictor:
    return gains.load_model(checkpoint, "cpu", score_threshold=0.3)


def test_an_image_that_fits_gives_what_the_network_gives(checkpoint: Path) -> None:
    model = gains.load_model(checkpoint, "cpu", score_threshold=0.05)
    assert model.tile == 96
    image = np.random.default_rng(0).integers(0, 255, (80, 96, 3), dtype=np.uint8)
    found = model.predict(image)
    with torch.no_grad():
        [expected] = model.network([torch.from_numpy(to_network_range(image)).permute(2, 0, 1)])
    dense = expected["masks"].paste().dense().bool().numpy()
    solid = np.flatnonzero(dense.any((1, 2)))
    assert len(solid) == len(found) > 5
    np.testing.assert_allclose(found.scores, expected["scores"].numpy()[solid])
    np.testing.assert_array_equal(found.labels, expected["labels"].numpy()[solid])
    for index in range(len(found)):
        np.testing.assert_array_equal(found.mask(index), dense[solid[index]])
        left, top, right, bottom = found.boxes[index]
        assert found.crop(index).shape == (bottom - top, right - left)
        assert found.crop(index).any(0)[[0, -1]].all()  # type: ignore[index]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (40, 30), (40, 30, 4), (130, 97, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, bool])
def test_any_image(model: Predictor, shape: tuple[int, ...], dtype: type) -> None:
    image: npt.NDArray[Any] = (
        np.random.default_rng(0).uniform(size=shape) * (1 if dtype is np.float64 else 200)
    ).astype(dtype)
    assert model.predict(image).size == shape[:2]


def test_integers_in_a_large_container_are_16_bit(predictor: Any) -> None:
    image = np.zeros((50, 50), np.uint16)
    image[10:20, 10:20] = 50000
    for dtype in (np.uint16, np.int32, np.uint32, np.int64):
        assert len(predictor(1, tile=64).predict(image.astype(dtype))) == 1


def test_percentiles_are_those_of_the_whole_image(predictor: Any) -> None:
    """A dim instance in a dark corner stays dim though its tile holds nothing brighter."""
    image = np.random.default_rng(0).integers(0, 100, (200, 200)).astype(np.uint16)
    image[10:30, 10:30] = 1000
    image[100:190, 100:190] = 5000
    tiled = predictor(1, tile=64, overlap=16, intensity="percentile").predict(image)
    assert tiled.masks.areas().tolist() == [90 * 90]
    whole = predictor(1, tile=300, intensity="percentile").predict(image)
    np.testing.assert_array_equal(whole.mask(0), tiled.mask(0))
    alone = predictor(1, tile=64, intensity="percentile").predict(image[:64, :64])
    assert alone.masks.areas().tolist() == [20 * 20]


def test_tiles_of_several_images_share_a_batch(predictor: Any) -> None:
    from gains.images.raster import ArrayRaster

    model = predictor(1, tile=64, overlap=16, batch_size=4)
    images = [np.zeros((50, 50), np.uint8), np.zeros((60, 100), np.uint8), np.zeros((10, 20), np.uint8)]
    images[1][5:15, 55:65] = 255
    shares: dict[int, float] = {}
    results = list(
        model.predict_many(
            ((index, ArrayRaster(image)) for index, image in enumerate(images)),
            lambda key, share: shares.__setitem__(key, shares.get(key, 0) + share),
        )
    )
    assert model.network.batches == [4]
    assert [key for key, _, _ in results] == [0, 1, 2]
    assert [len(found) for _, _, found in results] == [0, 1, 0]
    assert shares == {0: 1, 1: 1, 2: 1}


def test_a_bad_image_among_good_ones(predictor: Any) -> None:
    from gains.images.raster import ArrayRaster

    good = np.zeros((100, 100), np.float32)
    good[80:90, 80:90] = 1
    bad = good.copy()
    bad[99, 99] = 4095
    rasters = [(name, ArrayRaster(image)) for name, image in (("a", good), ("b", bad), ("c", good))]
    results = {key: found for key, _, found in predictor(1, tile=64, overlap=8, batch_size=3).predict_many(rasters)}
    assert list(results) == ["a", "b", "c"]
    assert isinstance(results["b"], InputError)
    assert len(results["a"]) == len(results["c"]) == 1


def test_tiles_that_reach_the_cap_are_counted(checkpoint: Path) -> None:
    model = gains.load_model(checkpoint, "cpu", min_score=0.0, score_threshold=0.0)
    assert model.predict(np.zeros((96, 96), np.uint8)).capped_tiles == 1
    recipe = model.recipe.at({"score_threshold": 1.0})
    assert Predictor(model.network, recipe, model.device).predict(np.zeros((9, 9), np.uint8)).capped_tiles == 0


def test_importing_the_package_is_light() -> None:
    code = "import sys, gains; assert 'torch' not in sys.modules; assert not hasattr(gains, 'nothing')"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_agree(checkpoint: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 220, 3), dtype=np.uint8)
    on_cpu, on_gpu = (
        gains.load_model(checkpoint, name, score_threshold=0.05).predict(image) for name in ("cpu", "gpu")
    )
    np.testing.assert_allclose(on_cpu.scores[:10], on_gpu.scores[:10], atol=1e-2)


def test_the_tile_is_the_size_of_the_training_images(checkpoint: Path, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["gains"]["image_side"] = 640
    torch.save(content, tmp_path / "other.ckpt")
    model = gains.load_model(tmp_path / "other.ckpt", "cpu")
    assert (model.tile, model.overlap) == (640, 160)
    assert gains.load_model(tmp_path / "other.ckpt", "cpu", tile=100).tile == 100
