"""GAMM against the published programs' output, an independent slow reference, and properties."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import roi_align

from gains.gradient_anomaly import (
    STATISTICS,
    VARIANTS,
    GradientAnomaly,
    anomaly_parts,
    gradient_anomaly_crops,
    gradient_anomaly_maps,
)
from gains.masks import InstanceCrops
from helpers.slow_gradient_anomaly import slow_gradient_anomaly_maps

SETTINGS: dict[str, Any] = {"window": 5, "gain": 0.5, "overlap_gain": 0.1}
CASES = ["single", "two_touching", "two_overlap", "border_cut", "category_mismatch", "five_ellipses"]


def ellipse(size: tuple[int, int], cy: float, cx: float, ry: float, rx: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def cluster() -> Tensor:
    """Three ellipses that overlap, touch and cross, away from the image's border."""
    size = (48, 56)
    return torch.stack([ellipse(size, *e) for e in ((20, 20, 8, 11), (25, 32, 10, 6), (30, 24, 5, 9))])


# --- the published programs ---


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_published_maps(shared: Path, variant: str, case: str) -> None:
    name = "chrom" if variant == "chromosome" else variant
    oracle = np.load(shared / "oracles" / "ga_maps" / f"{name}__{case}.npz")
    compared = 0
    for index, published in enumerate(oracle["maps"]):
        ours = gradient_anomaly_maps(
            torch.from_numpy(oracle["masks"]),
            window=int(oracle["window_size"][index]),
            gain=float(oracle["GA_factor"][index]),
            overlap_gain=float(oracle["overlap_HL"][index]),
            variant=variant,
            labels=torch.from_numpy(oracle["categories"]),
            target_label=int(oracle["target_category_id"]),
        ).numpy()
        for own, other in zip(ours, published, strict=True):
            # The programs give NaN where an instance is compared with none, or 0 everywhere (nuclei): here that is 1.
            if not np.isfinite(other).all() or not other.any():
                assert (own == 1).all()
            else:
                compared += 1
                np.testing.assert_allclose(own, other, rtol=0, atol=1e-6)
    assert compared > 0 or case == "single"


# --- the slow reference ---


@st.composite
def scenes(draw: st.DrawFn) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], int]:
    """Masks of boxes and ellipses with holes and ragged rims anywhere in a small image, who is a target, a window."""
    height, width, count = draw(st.integers(4, 24)), draw(st.integers(4, 24)), draw(st.integers(0, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        cy, cx, ry, rx = random.uniform(0, height), random.uniform(0, width), *random.uniform(0.5, 9, 2)
        round_one = random.random() < 0.5
        power = 2 if round_one else 20
        mask |= (np.abs(y - cy) / ry) ** power + (np.abs(x - cx) / rx) ** power <= 1
        mask &= random.random(mask.shape) > random.choice([0, 0.1])
    targets = random.random(count) > draw(st.sampled_from([0.0, 0.0, 0.3]))
    return masks, targets, draw(st.integers(1, min(8, height, width)))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=30, deadline=None)
@given(scene=scenes(), gain=st.floats(0, 2), overlap_gain=st.sampled_from([0.0, 0.1, 0.7]))
def test_slow_reference(
    variant: str,
    statistic: str,
    scene: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], int],
    gain: float,
    overlap_gain: float,
) -> None:
    masks, targets, window = scene
    options: dict[str, Any] = {
        "window": window,
        "gain": gain,
        "overlap_gain": overlap_gain,
        "variant": variant,
        "statistic": statistic,
    }
    ours = gradient_anomaly_maps(
        torch.from_numpy(masks), labels=torch.from_numpy(targets).long() + 1, target_label=2, **options
    ).numpy()
    slow = slow_gradient_anomaly_maps(masks, targets, **options)
    assert ours.dtype == np.float32
    assert ours.min(initial=1) >= 1
    assert ours.max(initial=1) <= np.float32(1 + gain)
    np.testing.assert_allclose(ours, slow, rtol=0, atol=1e-5)


# --- properties ---


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_translation_moves_the_maps(variant: str, statistic: str) -> None:
    maps = gradient_anomaly_maps(cluster(), variant=variant, statistic=statistic, **SETTINGS)
    assert maps.max() > 1.4
    # The weight of step 6 divides by the largest magnitude in the image, which cancels out in the normalisation.
    moved = gradient_anomaly_maps(cluster().roll((6, -3), (1, 2)), variant=variant, statistic=statistic, **SETTINGS)
    torch.testing.assert_close(moved, maps.roll((6, -3), (1, 2)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("window", [4, 5])
@pytest.mark.parametrize("variant", VARIANTS)
def test_circular_maps_turn_with_the_masks(variant: str, window: int) -> None:
    options = SETTINGS | {"window": window, "variant": variant, "statistic": "circular"}
    masks = torch.cat([cluster(), ellipse((48, 56), 2, 3, 9, 12)[None], ellipse((48, 56), 40, 53, 20, 7)[None]])
    maps = gradient_anomaly_maps(masks, **options)
    turned = gradient_anomaly_maps(masks.rot90(1, (1, 2)), **options)
    torch.testing.assert_close(turned, maps.rot90(1, (1, 2)), rtol=0, atol=1e-6)
    for axis in (1, 2):
        flipped = gradient_anomaly_maps(masks.flip(axis), **options)
        torch.testing.assert_close(flipped, maps.flip(axis), rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_circular_maps_ignore_the_order_of_masks(variant: str) -> None:
    options = SETTINGS | {"overlap_gain": 0.3, "variant": variant, "statistic": "circular"}
    order = [2, 0, 1]
    maps = gradient_anomaly_maps(cluster(), **options)
    torch.testing.assert_close(gradient_anomaly_maps(cluster()[order], **options), maps[order], rtol=0, atol=1e-6)


def test_the_reference_depends_on_the_order_of_masks() -> None:
    options = SETTINGS | {"overlap_gain": 0.3}
    order = [2, 0, 1]
    difference = gradient_anomaly_maps(cluster()[order], **options) - gradient_anomaly_maps(cluster(), **options)[order]
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("variant", ["isbi", "chromosome"])
def test_far_apart_instances_have_no_anomaly(variant: str, statistic: str) -> None:
    size = (40, 60)
    masks = torch.stack([ellipse(size, 10, 10, 6, 8), ellipse(size, 28, 45, 8, 6)])
    maps = gradient_anomaly_maps(masks, variant=variant, statistic=statistic, **SETTINGS)
    assert (maps == 1).all()


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_only_the_target_category_has_maps(variant: str, statistic: str) -> None:
    options = SETTINGS | {"variant": variant, "statistic": statistic}
    lone = gradient_anomaly_maps(cluster(), labels=torch.tensor([1, 2, 1]), target_label=2, **options)
    assert (lone == 1).all()
    pair = gradient_anomaly_maps(cluster(), labels=torch.tensor([1, 2, 2]), target_label=2, **options)
    assert (pair[0] == 1).all()
    assert pair[1].max() > 1.2
    assert pair[2].max() > 1.2


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_and_one_instance(variant: str) -> None:
    assert gradient_anomaly_maps(cluster()[:0], variant=variant, **SETTINGS).shape == (0, 48, 56)
    assert torch.equal(gradient_anomaly_maps(cluster()[:1], variant=variant, **SETTINGS), torch.ones(1, 48, 56))


def test_an_empty_mask_has_ones_and_leaves_the_others_finite() -> None:
    masks = torch.cat([cluster(), torch.zeros(1, 48, 56, dtype=torch.bool)])
    maps = gradient_anomaly_maps(masks, **SETTINGS)
    assert (maps[3] == 1).all()
    assert maps[:3].isfinite().all()
    assert maps[0].max() > 1.2


def test_mask_types_do_not_matter() -> None:
    expected = gradient_anomaly_maps(cluster(), **SETTINGS)
    for dtype in (torch.uint8, torch.int64, torch.float32):
        assert torch.equal(gradient_anomaly_maps(cluster().to(dtype), **SETTINGS), expected)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_anomaly_lies_where_instances_meet(statistic: str) -> None:
    size = (40, 60)
    left, right = torch.zeros(size, dtype=torch.bool), torch.zeros(size, dtype=torch.bool)
    left[8:32, 6:30], right[8:32, 30:54] = True, True
    maps = gradient_anomaly_maps(torch.stack([left, right]), statistic=statistic, **SETTINGS)
    # Windows that meet both instances start at the pixel, or lie around it.
    begin, end = (26, 30) if statistic == "reference" else (28, 32)
    assert (maps[:, :, :begin] == 1).all()
    assert (maps[:, :, end:] == 1).all()
    contact = maps[:, 8:28, begin:end].amax(2)
    if statistic == "circular":
        assert contact.min() > 1.1
    else:  # The published statistic is blind where the cut of the angle, at the height of the centroids, crosses.
        assert torch.equal((contact == 1).all(0).nonzero().squeeze(1), torch.arange(16 - 8, 20 - 8))
        assert contact[:, [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19]].min() > 1.1


# --- crops ---


@pytest.mark.parametrize("statistic", STATISTICS)
def test_aligning_a_crop_is_aligning_the_map(statistic: str) -> None:
    masks = torch.cat([cluster(), ellipse((48, 56), 44, 50, 8, 12)[None]])
    crops = gradient_anomaly_crops(InstanceCrops.from_dense(masks), statistic=statistic, **SETTINGS)
    maps = gradient_anomaly_maps(masks, statistic=statistic, **SETTINGS)
    assert torch.equal(crops.dense(), maps)
    corner = torch.rand(40, 2) * torch.tensor([46.0, 38.0])
    rois = torch.cat([corner, (corner + 4 + torch.rand(40, 2) * 30).minimum(torch.tensor([56.0, 48.0]))], 1)
    instance = torch.arange(40) % 4
    aligned = crops.roi_align(rois, instance, 28)
    full = roi_align(maps[:, None], torch.cat([instance[:, None], rois], 1), 28, aligned=True)[:, 0]
    assert full.std() > 0.01
    torch.testing.assert_close(aligned, full, rtol=0, atol=1e-5)


def test_crops_are_the_boxes_grown_by_the_window() -> None:
    masks = InstanceCrops.from_dense(cluster())
    maps = gradient_anomaly_crops(masks, **SETTINGS)
    assert maps.values.dtype == torch.float32
    assert maps.background == 1
    assert torch.equal(maps.boxes, masks.boxes - torch.tensor([4, 4, 0, 0]))


def test_four_hundred_instances_need_no_full_size_array() -> None:
    """400 masks on an 8000 x 8000 image: any (N, H, W) array would be 25 GB, and any (H, W) one of doubles 512 MB."""
    crops = [torch.ones(12, 12, dtype=torch.uint8)] * 400
    corner = torch.stack([torch.arange(400) % 20 * 12, torch.arange(400) // 20 * 12], 1) + 7000
    masks = InstanceCrops.from_crops(crops, torch.cat([corner, corner + 12], 1), (8000, 8000))
    maps = gradient_anomaly_crops(masks, variant="nuclei", **SETTINGS)
    assert len(maps.values) == 400 * 16 * 16
    assert maps.values.max() > 1.4


def test_parts_before_they_are_combined() -> None:
    """Far from all others, self and mutual anomaly of the variant isbi are the same number."""
    masks = torch.stack([*cluster()[:2], ellipse((48, 56), 40, 8, 5, 6)])
    own, mutual = (part.dense() for part in anomaly_parts(InstanceCrops.from_dense(masks), window=5))
    torch.testing.assert_close(own[2], mutual[2])
    assert own[2].max() > 0.5
    assert (mutual[0] - own[0]).max() > 0.1
    assert not own[0][~maps_reach(masks[0])].any()


def maps_reach(mask: Tensor) -> Tensor:
    """Pixels whose 5 x 5 window, which starts at the pixel, holds a pixel of the mask (which is off the border)."""
    return torch.stack([mask.roll((-dy, -dx), (0, 1)) for dy in range(5) for dx in range(5)]).any(0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_gpu_agrees_with_cpu(variant: str, statistic: str) -> None:
    options = SETTINGS | {"variant": variant, "statistic": statistic}
    maps = gradient_anomaly_maps(cluster().cuda(), **options)
    assert maps.is_cuda
    torch.testing.assert_close(maps.cpu(), gradient_anomaly_maps(cluster(), **options), rtol=0, atol=1e-5)


# --- the derived target ---


def test_derived_target() -> None:
    masks, labels = InstanceCrops.from_dense(cluster()), torch.tensor([1, 1, 2])
    target = GradientAnomaly(window=5, gain=0.5, overlap_gain=0.1, target_label=1)
    expected = gradient_anomaly_maps(cluster(), labels=labels, target_label=1, **SETTINGS)
    assert torch.equal(target(masks, labels).dense(), expected)


def test_derived_target_of_an_image_smaller_than_the_window_is_one() -> None:
    masks = InstanceCrops.from_dense(torch.ones(2, 4, 9))
    maps = GradientAnomaly(window=5, gain=0.5, overlap_gain=0.1)(masks, torch.ones(2, dtype=torch.int64))
    assert torch.equal(maps.dense(), torch.ones(2, 4, 9))


# --- arguments ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "window must be at least 1 pixel, got 0"),
        ({"window": 49}, "window must be 1 to 48 pixels in a 48 x 56 image, got 49"),
        ({"gain": -0.5}, r"gain must be a finite number of at least 0, got -0\.5"),
        ({"gain": float("nan")}, "gain must be a finite number of at least 0, got nan"),
        ({"overlap_gain": -1.0}, r"overlap_gain must be a finite number of at least 0, got -1\.0"),
        ({"variant": "cells"}, "variant must be one of isbi, nuclei, chromosome, got 'cells'"),
        ({"statistic": "median"}, "statistic must be one of reference, circular, got 'median'"),
        ({"labels": torch.ones(2), "target_label": 1}, r"labels must have shape \(3,\), one per mask, got \(2,\)"),
        ({"target_label": 1}, "target_label must be None where there are no labels, got 1"),
    ],
)
def test_invalid_arguments(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_anomaly_maps(cluster(), **SETTINGS | change)


def test_masks_of_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"masks must have shape \(N, H, W\), got \(48, 56\)"):
        gradient_anomaly_maps(cluster()[0], **SETTINGS)
