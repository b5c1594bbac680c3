"""What is validated and tested is what ``gains predict`` gives."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from gains.data.augmentation import Augmentation
from gains.data.datamodule import InstanceDataModule
from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.sampler import Draw
from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.models.parts.transform import ImageTransform
from gains.prediction.predictor import Predictor, load_model
from gains.rle import encode_crop
from gains.training.module import InstanceSegmentation
from gains.training.tiled import detect
from helpers.blob_finder import BlobFinder, Masks, blob_recipe, draw_disks
from helpers.training import run_train

DISKS = [(20.0, 30.0, 9.0), (96.0, 40.0, 14.0), (70.0, 96.0, 12.0), (180.0, 100.0, 20.0), (230.0, 20.0, 8.0)]


def as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def test_large_images_are_evaluated_in_tiles_as_predict_does() -> None:
    image, truth = draw_disks((140, 260), DISKS)
    network, recipe = BlobFinder().eval(), replace(blob_recipe(score_threshold=0.999), image_side=96)
    [found] = detect(network, recipe, [as_tensor(image)])
    assert sum(network.batches) > 1
    # Candidates below the score that counts are there too, for mAP.
    assert len(found["scores"]) == len(DISKS)
    masks = found["masks"].paste().dense().bool().numpy()
    assert sorted(mask.tobytes() for mask in masks) == sorted(mask.tobytes() for mask in truth)
    users = Predictor(network, recipe, torch.device("cpu")).predict(image)
    assert len(users) == int((found["scores"] >= 0.999).sum()) > 0
    assert torch.equal(users.masks.boxes.float(), found["boxes"][: len(users)])


def test_where_the_cap_bites_is_counted() -> None:
    image, _ = draw_disks((140, 260), DISKS)
    for most, capped in ((1, True), (1000, False)):
        network = CappedFinder(most).eval()
        recipe = replace(blob_recipe(max_detections=most), image_side=96)
        [found] = detect(network, recipe, [as_tensor(image)])
        assert found["capped"] is capped
        module = InstanceSegmentation(network, recipe)
        target = {"labels": torch.ones(1, dtype=torch.int64), "image_id": 1, "iscrowd": [False], "masks": None}
        target |= {"rles": [encode_crop(np.ones((9, 9), bool), (0, 0, 9, 9), (140, 260))], "boxes": torch.zeros(1, 4)}
        module.test_step(([as_tensor(image)], [target]), 0)  # type: ignore[list-item]
        assert module.capped_images == int(capped)


class CappedFinder(BlobFinder):
    """Keeps the best few of each tile, as networks do."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def find(self, image: Tensor) -> dict[str, Any]:
        found = super().find(image)
        kept = {name: found[name][: self.most] for name in ("boxes", "labels", "scores")}
        masks = found["masks"].paste()
        return kept | {"masks": Masks(masks.select(range(min(len(masks), self.most))))}


def test_images_that_fit_go_through_the_network_as_they_are() -> None:
    image, _ = draw_disks((90, 96), DISKS[:2])
    network = BlobFinder().eval()
    found = detect(network, replace(blob_recipe(), image_side=96), [as_tensor(image)] * 3)
    assert network.batches == [3]
    assert [len(each["scores"]) for each in found] == [2, 2, 2]


def test_the_metric_is_that_of_stitched_instances() -> None:
    image, truth = draw_disks((140, 260), DISKS)
    network = BlobFinder().eval()
    module = InstanceSegmentation(network, replace(blob_recipe(), image_side=96))
    module.evaluator.reset()
    rles = [encode_crop(mask, (0, 0, 260, 140), (140, 260)) for mask in truth]
    target = {"labels": torch.ones(len(truth), dtype=torch.int64), "rles": rles, "image_id": 1, "masks": None}
    target |= {"iscrowd": [False] * len(truth), "boxes": torch.zeros(len(truth), 4)}
    module.test_step(([as_tensor(image)], [target]), 0)  # type: ignore[list-item]
    assert module.evaluator.compute()["metrics"]["segm_map"] == pytest.approx(1)


class LargeNoise:
    """Images of 80 x 120 pixels, larger than the crops, each with one rectangle."""

    categories: ClassVar = ["cell"]

    def __len__(self) -> int:
        return 6

    def __iter__(self):  # type: ignore[no-untyped-def]
        draw = np.random.default_rng(0)
        for index in range(len(self)):
            mask = encode_crop(np.ones((10, 12), bool), (10 * index, 3, 10 * index + 12, 13), (80, 120))
            yield ImageRecord(f"image{index}", draw.integers(0, 256, (80, 120), np.uint8), [Instance("cell", mask)])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["dataset.crop=512"], "dataset.crop=512 must be true or false"),
        (["dataset.crop=true", "dataset.short_side=16"], "dataset.short_side=16 must be at least 32"),
    ],
)
def test_crops_that_make_no_sense_are_refused(tmp_path: Path, settings: list[str], words: str) -> None:
    prepare(LargeNoise(), tmp_path / "data", seed=0, ratios=(2, 1, 1))
    with pytest.raises(InputError, match=words):
        run_train(tmp_path / "data", tmp_path / "run", *settings)


def test_a_crop_is_a_function_of_seed_epoch_and_image(tmp_path: Path) -> None:
    prepare(LargeNoise(), tmp_path / "data", seed=0, ratios=(2, 1, 1))

    def drawn(index: int, epoch: int, seed: int) -> bytes:
        annotations = load_annotations(tmp_path / "data")
        data = InstanceDataModule(annotations, augmentation=Augmentation([40], 1333, crop=40), run_seed=seed)
        dataset = data.dataset("train", augment=True)
        _ = dataset[0]  # what was drawn before changes nothing
        image, _ = dataset[Draw(index, epoch)]
        return image.numpy().tobytes()

    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    others = {drawn(1, epoch, seed) for epoch in range(4) for seed in range(3)}
    assert len(others) > 8


def test_one_setting_drives_training_testing_and_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(LargeNoise(), tmp_path / "data", seed=0, ratios=(2, 1, 1))
    seen: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
    forward = ImageTransform.forward

    def watched(self: ImageTransform, images: list[Tensor]):  # type: ignore[no-untyped-def]
        batch = forward(self, images)
        seen[self.training] |= {(int(image.shape[-2]), int(image.shape[-1])) for image in images}
        seen[self.training] |= set(batch.image_sizes)
        return batch

    monkeypatch.setattr(ImageTransform, "forward", watched)
    crop = ("dataset.crop=true", "dataset.short_side=48", "augmentation.short_sides=[48]")
    run_train(tmp_path / "data", tmp_path / "run", *crop)
    assert seen == {True: {(48, 48)}, False: {(48, 48)}}
    model = load_model(tmp_path / "run" / "checkpoints" / "last.ckpt", "cpu")
    assert model.tile == 48
    model.predict(np.zeros((80, 120), np.uint8), scale=1)
    assert seen[False] == {(48, 48)}
