import pytest
import torch
from torch import Tensor

from gains.masks import InstanceCrops
from gains.models.parts.point_sampling import (
    box_to_image,
    cell_centres,
    feature_sample,
    mask_sample,
    point_sample,
    sample_uncertain_points,
)


def test_values_at_pixel_centres_are_the_pixels() -> None:
    maps = torch.rand(2, 3, 8, 8)
    values = point_sample(maps, cell_centres(8).expand(2, -1, -1))
    torch.testing.assert_close(values.reshape(maps.shape), maps, atol=1e-6, rtol=0)


def test_a_linear_map_is_sampled_exactly() -> None:
    y, x = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(9) + 0.5, indexing="ij")
    points = torch.rand(1, 50, 2) * 0.8 + 0.1
    values = point_sample((2 * x - 3 * y)[None, None], points)[0, 0]
    torch.testing.assert_close(values, 2 * 9 * points[0, :, 0] - 3 * 6 * points[0, :, 1], atol=1e-5, rtol=0)


def test_box_corners_and_centre() -> None:
    points = torch.tensor([[[0.0, 0], [1, 1], [0.5, 0.25]]])
    assert box_to_image(points, torch.tensor([[2.0, 4, 10, 8]])).tolist() == [[[2, 4], [10, 8], [6, 5]]]


def test_features_are_sampled_in_pixels_of_the_padded_batch() -> None:
    """A map that holds, in every cell, the x of the cell's centre in pixels."""
    x = (torch.arange(12) + 0.5) * 4
    features = torch.stack([x.expand(1, 8, 12), 100 + x.expand(1, 8, 12)])
    points = [torch.tensor([[[10.0, 5], [33, 20]]]), torch.tensor([[[7.0, 9], [40, 30]], [[21, 8], [22, 8]]])]
    expected = [[[10, 33]], [[107, 140]], [[121, 122]]]
    torch.testing.assert_close(feature_sample(features, points, 4), torch.tensor(expected).float())
    assert feature_sample(features, [points[0][:0], points[1][:0]], 4).shape == (0, 1, 2)


def test_masks_are_sampled_from_crops_as_from_full_size_masks() -> None:
    masks = torch.rand(5, 20, 30) > 0.5
    masks[1, :, :12] = False
    masks[2, 7:] = False
    masks[3] = False
    points = torch.rand(8, 60, 2) * torch.tensor([36.0, 26]) - 3
    points[0, :4] = torch.tensor([[0.5, 0.5], [0, 0], [29.5, 19.5], [30, 20]])
    instance = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    expected = point_sample(masks[instance][:, None].float(), points / torch.tensor([30.0, 20]))[:, 0]
    crops = InstanceCrops.from_dense(masks)
    torch.testing.assert_close(mask_sample(crops, instance, points), expected, atol=1e-5, rtol=0)
    assert mask_sample(crops.select([]), instance[:0], points[:0]).shape == (0, 60)


def slope() -> Tensor:
    """Mask logits that rise from left to right and pass 0 at x = 1/2."""
    return (torch.arange(14) - 6.5).expand(3, 14, 14)


def test_three_quarters_of_the_points_lie_where_the_mask_is_undecided() -> None:
    points = sample_uncertain_points(slope(), 196)
    assert points.shape == (3, 196, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    near = (points[..., 0] - 0.5).abs() < 0.16  # the nearest 147 of 588 uniform points: about an eighth to each side
    border = (points[..., 1] - 0.5).abs() > 13 / 28  # half a cell, where the zeros around the map draw logits to 0
    assert (near | border)[:, :147].all()
    assert near[:, :147].float().mean() > 0.9
    assert (near[:, 147:].float().mean(1) < 0.6).all()


@pytest.mark.parametrize(("oversample", "importance"), [(3.0, 0.0), (1.0, 1.0)])
def test_without_choice_the_points_are_the_drawn_ones(oversample: float, importance: float) -> None:
    torch.manual_seed(3)
    points = sample_uncertain_points(slope(), 50, oversample, importance)
    torch.manual_seed(3)
    drawn = torch.rand(3, int(50 * oversample), 2)
    if importance == 0:
        drawn = torch.rand(3, 50, 2)
    for found, expected in zip(points.tolist(), drawn.tolist(), strict=True):
        assert sorted(found) == sorted(expected)


def test_no_instance_needs_no_points() -> None:
    assert sample_uncertain_points(torch.zeros(0, 7, 7), 196).shape == (0, 196, 2)
