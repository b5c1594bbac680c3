"""The network resizes at inference as the augmentation does in training."""

import numpy as np
import pytest
import torch

from gains.data.augmentation import Augmentation
from gains.masks import InstanceCrops
from gains.models.parts.transform import ImageTransform

NOTHING = torch.zeros(0, dtype=torch.uint8), torch.zeros(0, 4, dtype=torch.int64)
SHRUNK = [((1024, 1024), 320), ((600, 500), 320), ((400, 410), 320), ((900, 96), 32)]


def both(image: np.ndarray, short: int, long: int = 1000) -> tuple[np.ndarray, torch.Tensor]:
    """``(H, W, 3)`` in training, ``(3, H, W)`` at inference, of an image ``(H, W, 3)`` in [0, 1]."""
    masks = InstanceCrops(*NOTHING, (image.shape[0], image.shape[1]))
    transform = ImageTransform(short, long, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    batch = transform([torch.from_numpy(image).permute(2, 0, 1)])
    height, width = batch.image_sizes[0]
    return Augmentation([short], long)(image, masks, seed=0).image, batch.tensors[0, :, :height, :width]


@pytest.mark.parametrize(("size", "short"), SHRUNK)
def test_noise_is_as_weak_at_inference_as_in_training(size: tuple[int, int], short: int) -> None:
    noise = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    trained, predicted = both(noise, short)
    assert float(predicted.std()) == pytest.approx(float(trained.std()), rel=0.02)
    # An average of n independent pixels has 1/sqrt(n) of their noise; here n is the area that a new pixel covers.
    assert float(predicted.std()) < 1.15 * noise.std() * short / min(size)


@pytest.mark.parametrize("size", [(40, 40), (37, 61), (61, 37), (100, 20), (90, 300), (33, 33), (32, 45), (500, 333)])
@pytest.mark.parametrize("short", [32, 64])
def test_both_sides_give_the_same_image(size: tuple[int, int], short: int) -> None:
    trained, predicted = both(np.random.default_rng(1).random((*size, 3), dtype=np.float32), short, 150)
    assert predicted.shape[1:] == trained.shape[:2]
    np.testing.assert_allclose(predicted.permute(1, 2, 0).numpy(), trained, atol=1e-4)


def test_half_precision_leaves_the_image_as_it_is() -> None:
    image = [torch.rand(3, 100, 90, generator=torch.Generator().manual_seed(0))]
    transform = ImageTransform(40, 100).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = transform(image).tensors
    assert half.dtype == torch.float32
    assert torch.equal(half, transform(image).tensors)
