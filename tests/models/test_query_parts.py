from typing import Any

import pytest
import torch
from scipy.ndimage import maximum_filter
from torch import nn
from torch.nn import functional as F

from gains.models.parts.query.dual_path import HEADS, DualPathLayer, attention_block
from gains.models.parts.query.matching import hungarian, pairwise_bce
from gains.models.parts.query.pixel_decoder import PixelDecoder
from gains.models.parts.query.proposal import QueryProposal, activation
from helpers.checked import gradient_of


def test_pixel_decoder_gives_strides_8_and_16_whatever_the_size() -> None:
    decoder = PixelDecoder([8, 16, 32], 32)
    for height, width in ((32, 32), (64, 160)):
        features = {str(i): torch.randn(1, 8 << i, height >> i + 3, width >> i + 3) for i in range(3)}
        e3, e4 = decoder(features)
        assert e3.shape == (1, 32, height // 8, width // 8)
        assert e4.shape == (1, 32, height // 16, width // 16)


def test_five_isolated_peaks_are_among_the_queries() -> None:
    peaks = [(1, 1), (2, 15), (9, 9), (15, 2), (14, 16)]
    module: Any = QueryProposal(8, 1, queries=10)
    # Class logit is the first channel, which is high on a broad hill and low but peaked elsewhere.
    features = torch.zeros(1, 8, 18, 18)
    features[0, 0, 3:8, 4:14] = 3 + torch.linspace(0, 0.5, 10)
    for row, column in peaks:
        features[0, 0, row, column] = 1.0 if (row, column) != (9, 9) else 5.0
    module.classify = nn.Conv2d(8, 2, 1)
    nn.init.zeros_(module.classify.weight)
    nn.init.zeros_(module.classify.bias)
    module.classify.weight.data[0, 0] = 1
    positions = torch.randn(1, 8, 18, 18)
    found = module(features, positions)
    chosen = {(round(y * 17), round(x * 17)) for x, y in found.locations[0].tolist()}
    assert set(peaks) <= chosen
    row, column = (round(value * 17) for value in found.locations[0, 3].flip(0).tolist())
    assert torch.equal(found.features[0, 3], features[0, :, row, column])
    assert torch.equal(found.positions[0, 3], positions[0, :, row, column])


def test_activation_adds_one_on_local_maxima_of_the_best_class() -> None:
    probabilities = torch.rand(2, 3, 7, 9)
    probabilities[:, :, 5] = 0
    found = activation(probabilities)
    for image, result in zip(probabilities.numpy(), found.numpy(), strict=True):
        best = image.argmax(0)
        for row in range(7):
            for column in range(9):
                value = image[best[row, column], row, column]
                plane = (best == best[row, column]) * image[best[row, column]]
                highest = maximum_filter(plane, 3, mode="constant")[row, column]
                assert result[row, column] == pytest.approx(value + (value >= max(highest, 1e-6)))


def test_small_images_have_fewer_queries() -> None:
    found = QueryProposal(8, 2, queries=100)(torch.randn(2, 8, 2, 3), torch.randn(1, 8, 2, 3))
    assert found.locations.shape == (2, 6, 2)
    assert found.locations.min() == 0
    assert found.locations.max() == 1


def test_queries_pass_gradients_to_their_features_only() -> None:
    features = torch.randn(1, 8, 5, 5, requires_grad=True)
    found = QueryProposal(8, 2, queries=4)(features, torch.randn(1, 8, 5, 5))
    found.features.sum().backward()
    assert (gradient_of(features).abs().sum((0, 1)) > 0).sum() == 4


def test_no_row_of_an_attention_mask_blocks_everything() -> None:
    outside = torch.rand(2, 3, 4, 5) > 0.5
    outside[0, 1] = True
    blocked = attention_block(outside, total=5)
    assert blocked.shape == (2 * HEADS, 5, 20)
    assert not blocked.all(2).any()
    assert not blocked[:HEADS, 1].any()
    assert not blocked[:, 3:].any()
    expected = outside[1, 2].flatten()
    assert torch.equal(blocked[HEADS:, 2], expected.expand(HEADS, -1))


def test_blocked_pixels_do_not_reach_a_query() -> None:
    layer = DualPathLayer(16).eval()
    pixels, queries = torch.randn(1, 6, 16), torch.randn(1, 2, 16)
    blocked = torch.zeros(HEADS, 2, 6, dtype=torch.bool)
    blocked[:, 0, 3:] = True
    layer.pixels_from_queries.forward = lambda pixels, *_: pixels  # type: ignore[method-assign]
    layer.queries_from_queries.forward = lambda queries, *_: queries  # type: ignore[method-assign]
    changed = torch.cat([pixels[:, :3], torch.randn(1, 3, 16)], dim=1)
    nothing = torch.zeros(1)
    before, after = (layer(values, queries, nothing, nothing, blocked)[1] for values in (pixels, changed))
    torch.testing.assert_close(before[0, 0], after[0, 0])
    assert not torch.allclose(before[0, 1], after[0, 1])


def test_pixels_are_updated_before_queries_read_them() -> None:
    layer = DualPathLayer(16).eval()
    pixels, queries, nothing = torch.randn(1, 6, 16), torch.randn(1, 2, 16), torch.zeros(1)
    blocked = torch.zeros(HEADS, 2, 6, dtype=torch.bool)
    new_pixels, new_queries = layer(pixels, queries, nothing, nothing, blocked)
    expected_pixels = layer.pixels_feed_forward(layer.pixels_from_queries(pixels, nothing, queries, nothing))
    read = layer.queries_from_pixels(queries, nothing, expected_pixels, nothing)
    expected = layer.queries_feed_forward(layer.queries_from_queries(read, nothing, read, nothing))
    torch.testing.assert_close(new_pixels, expected_pixels)
    torch.testing.assert_close(new_queries, expected)


def test_hungarian_of_nothing_and_of_broken_costs() -> None:
    tables = [torch.zeros(5, 0), torch.full((3, 2), torch.nan), torch.tensor([[1.5, 5], [0, 0], [4, 1]])]
    nothing, broken, (rows, columns) = hungarian(tables)
    assert [len(side) for side in nothing] == [0, 0]
    assert [len(side) for side in broken] == [2, 2]
    assert dict(zip(rows.tolist(), columns.tolist(), strict=True)) == {1: 0, 2: 1}


def test_pairwise_cross_entropy_is_that_of_each_pair() -> None:
    logits, wanted = 3 * torch.randn(4, 30), torch.rand(3, 30)
    table = pairwise_bce(logits, wanted)
    for row, values in zip(logits, table, strict=True):
        expected = [F.binary_cross_entropy_with_logits(row, truth) for truth in wanted]
        torch.testing.assert_close(values, torch.stack(expected))
