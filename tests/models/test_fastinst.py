from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.ndimage import maximum_filter
from torch import Tensor, nn
from torch.nn import functional as F

from gains.masks import InstanceCrops
from gains.models.fastinst import FastInst, _truth
from gains.models.parts.dice import linear_dice
from gains.models.parts.dual_path import HEADS, DualPathLayer, QueryOutput, attention_block
from gains.models.parts.pixel_decoder import PixelDecoder
from gains.models.parts.point_sampling import cell_centres
from gains.models.parts.query_losses import class_loss, mask_losses, proposal_loss
from gains.models.parts.query_matching import Truth, hungarian, match_pixels, match_queries, pairwise_bce
from gains.models.parts.query_proposal import Proposals, QueryProposal, activation

SIZE = (64, 96)
CPU = torch.device("cpu")


def target(order: list[int]) -> dict[str, Any]:
    """Up to three overlapping instances of two classes on 64 x 96 pixels."""
    masks = torch.zeros(3, *SIZE, dtype=torch.bool)
    masks[0, 4:36, 8:40] = True
    masks[1, 24:56, 24:64] = True
    masks[2, 30:60, 66:92] = True
    crops = InstanceCrops.from_dense(masks[order])
    return {"boxes": crops.boxes.float(), "labels": torch.tensor([1, 2, 1])[order], "masks": crops}


def truth(order: list[int]) -> Truth:
    return _truth(target(order), SIZE, CPU)


@pytest.fixture
def network(build: Callable[..., nn.Module]) -> FastInst:
    torch.manual_seed(5)
    made = build("fastinst", "model.width={fpn: 32, box: 32, mask: 32}", "augmentation.test_short_side=64")
    assert isinstance(made, FastInst)
    return made


def test_pixel_decoder_gives_strides_8_and_16_whatever_the_size() -> None:
    decoder = PixelDecoder([8, 16, 32], 32)
    for height, width in ((32, 32), (64, 160)):
        features = {str(i): torch.randn(1, 8 << i, height >> i + 3, width >> i + 3) for i in range(3)}
        e3, e4 = decoder(features)
        assert e3.shape == (1, 32, height // 8, width // 8)
        assert e4.shape == (1, 32, height // 16, width // 16)


def test_five_isolated_peaks_are_among_the_queries() -> None:
    peaks = [(1, 1), (2, 15), (9, 9), (15, 2), (14, 16)]
    module = QueryProposal(8, 1, queries=10)
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
    assert (features.grad.abs().sum((0, 1)) > 0).sum() == 4


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


def output_for(wanted: Truth, queries: list[int], count: int = 8, sure: float = 20.0) -> QueryOutput:
    """Right masks and classes at the given queries, no-object elsewhere."""
    logits = torch.full((1, count, 3), -sure)
    logits[0, :, 2] = sure
    masks = torch.full((1, count, *wanted.grid.shape[1:]), -sure)
    for query, category, grid in zip(queries, wanted.classes.tolist(), wanted.grid, strict=True):
        logits[0, query] = -sure
        logits[0, query, category] = sure
        masks[0, query] = sure * (2.0 * grid - 1)
    return QueryOutput(logits, masks)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_instances_are_matched_to_the_queries_that_show_them(order: list[int]) -> None:
    wanted = truth(order)
    outside = torch.zeros(1, 8, 2)  # the corner, in no instance
    ((queries, instances),) = match_queries(output_for(wanted, [6, 1, 3]), outside, [wanted], SIZE, 512)
    assert dict(zip(instances.tolist(), queries.tolist(), strict=True)) == {0: 6, 1: 1, 2: 3}


def test_a_query_inside_an_instance_is_preferred_to_the_right_prediction_elsewhere() -> None:
    wanted = truth([2])
    locations = torch.zeros(1, 8, 2)
    locations[0, 5] = torch.tensor([80 / 96, 45 / 64])
    ((queries, _),) = match_queries(output_for(wanted, [1]), locations, [wanted], SIZE, 512)
    assert queries.tolist() == [5]


def test_each_instance_gets_one_pixel_it_touches() -> None:
    wanted = truth([0, 1, 2])
    logits = torch.randn(1, 3, 4, 6)
    ((pixels, instances),) = match_pixels(Proposals(*[torch.zeros(0)] * 3, logits), [wanted])
    probability = logits[0].softmax(0)
    assert instances.sort().values.tolist() == [0, 1, 2]
    assert len(set(pixels.tolist())) == 3
    for pixel, instance in zip(pixels.tolist(), instances.tolist(), strict=True):
        assert wanted.touched[instance].flatten()[pixel]
    # The third is touched by no pixel of the others, so that its best one is free.
    own = torch.where(wanted.touched[2], probability[wanted.classes[2]], 0).flatten()
    assert own.argmax() == pixels[instances.tolist().index(2)]


def fixed_points(monkeypatch: pytest.MonkeyPatch, points: Tensor) -> None:
    """Compare masks at given relative points ``(S, 2)`` instead of random ones."""
    monkeypatch.setattr(
        "gains.models.parts.query_losses.sample_uncertain_points", lambda logits, _: points.expand(len(logits), -1, -1)
    )


def test_a_perfect_output_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 16:40, 8:64] = True
    masks[1, 24:64, 40:96] = True
    wanted = _truth({"labels": torch.tensor([2, 1]), "masks": InstanceCrops.from_dense(masks)}, SIZE, CPU)
    output = output_for(wanted, [4, 1])
    match = [(torch.tensor([4, 1]), torch.tensor([0, 1]))]
    assert class_loss(output, [wanted], match) < 1e-3
    # Between the cells even a perfect map is undecided; in their middle it is not.
    fixed_points(monkeypatch, cell_centres(8) * torch.tensor([8 / 12, 1.0]))
    crossed, dice = mask_losses(output, [wanted], match, SIZE, 64)
    assert crossed < 1e-6
    assert dice < 1e-3


def test_class_loss_by_hand() -> None:
    wanted = truth([1])
    logits = torch.tensor([[[1.0, 2, 0], [0, 0, 3], [0.5, 0, 0]]])
    probability = logits[0].softmax(1)
    match = [(torch.tensor([0]), torch.tensor([0]))]
    found = class_loss(QueryOutput(logits, torch.zeros(1, 3, 8, 12)), [wanted], match)
    expected = -(probability[0, 1].log() + 0.1 * probability[1, 2].log() + 0.1 * probability[2, 2].log()) / 1.2
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_proposal_loss_is_a_plain_mean() -> None:
    wanted = truth([1])
    logits = torch.randn(1, 3, 4, 6)
    match = [(torch.tensor([7]), torch.tensor([0]))]
    classes = torch.full((24,), 2)
    classes[7] = 1
    expected = -logits[0].flatten(1).log_softmax(0)[classes, torch.arange(24)].mean()
    assert proposal_loss(logits, [wanted], match).item() == pytest.approx(expected.item(), rel=1e-5)


def test_mask_losses_are_divided_by_instances_not_by_matches() -> None:
    wanted = truth([0, 1, 2])
    output = QueryOutput(torch.zeros(1, 1, 3), torch.zeros(1, 1, 8, 12))
    match = [(torch.tensor([0]), torch.tensor([1]))]
    crossed, _ = mask_losses(output, [wanted], match, SIZE, 100)
    assert crossed.item() == pytest.approx(torch.tensor(2.0).log().item() / 3, rel=1e-5)


def test_mask_losses_are_those_of_the_dense_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = truth([0, 1])
    masks = torch.randn(1, 3, 8, 12)
    match = [(torch.tensor([2, 0]), torch.tensor([1, 0]))]
    # All pixel centres but those within half a cell of the edge, where a map fades to zero.
    y, x = torch.meshgrid(torch.arange(4, 60) + 0.5, torch.arange(4, 92) + 0.5, indexing="ij")
    fixed_points(monkeypatch, torch.stack([x / 96, y / 64], dim=2).reshape(-1, 2))
    crossed, dice = mask_losses(QueryOutput(torch.zeros(1, 3, 3), masks), [wanted], match, SIZE, 0)
    dense = F.interpolate(masks, size=SIZE, mode="bilinear", align_corners=False)[0, :, 4:60, 4:92].flatten(1)[[2, 0]]
    share = wanted.masks.dense()[:, 4:60, 4:92].flatten(1)[[1, 0]].float()
    torch.testing.assert_close(crossed, F.binary_cross_entropy_with_logits(dense, share), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dice, linear_dice(dense.sigmoid(), share).mean(), atol=1e-4, rtol=1e-4)


def test_training_sees_every_layer_twice_but_the_first_prediction_once(
    network: FastInst, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[QueryOutput] = []

    def counted(output: QueryOutput, *rest: Any) -> Tensor:
        scored.append(output)
        return class_loss(output, *rest)

    monkeypatch.setattr("gains.models.fastinst.class_loss", counted)
    network.train()([torch.rand(3, *SIZE)], [target([0, 1, 2])])
    assert len(network.layers) == 3
    assert len(scored) == 2 * 3 + 1


def test_queries_look_where_the_layer_before_sees_their_instance(
    network: FastInst, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked: list[Tensor] = []

    def watched(outside: Tensor, total: int) -> Tensor:
        blocked.append(outside)
        return attention_block(outside, total)

    monkeypatch.setattr("gains.models.fastinst.attention_block", watched)
    batch = network.eval().transform([torch.rand(3, *SIZE)])
    with torch.no_grad():
        decoded = network.decode(network.backbone(batch.tensors))
    assert len(blocked) == len(network.layers)
    for outside, output in zip(blocked, decoded.outputs, strict=False):
        assert 0 < outside.float().mean() < 1
        assert torch.equal(outside, output.masks < 0)


def test_guidance_is_for_training_only_and_looks_inside_the_true_masks(
    network: FastInst, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    guide = network.decode_guided

    def watched(decoded: Any, truths: list[Truth], matches: Any) -> list[QueryOutput]:
        calls.append(len(truths))
        with monkeypatch.context() as patch:
            patch.setattr("gains.models.fastinst.attention_block", checked(truths, matches))
            return guide(decoded, truths, matches)

    def checked(truths: list[Truth], matches: Any) -> Callable[[Tensor, int], Tensor]:
        def block(outside: Tensor, total: int) -> Tensor:
            free = torch.ones(outside.shape[1], dtype=torch.bool)
            for query, instance in zip(*(side.tolist() for side in matches[0]), strict=True):
                assert torch.equal(~outside[0, query], truths[0].grid[instance].bool())
                free[query] = False
            assert not outside[0, free].any()
            return attention_block(outside, total)

        return block

    monkeypatch.setattr(network, "decode_guided", watched)
    network.train()([torch.rand(3, *SIZE)], [target([0, 1, 2])])
    assert calls == [1]
    with torch.no_grad():
        network.eval()([torch.rand(3, *SIZE)])
    assert calls == [1]


def test_order_of_the_instances_does_not_matter(network: FastInst) -> None:
    image = torch.rand(3, *SIZE)
    network.train()
    totals = []
    for order in ([0, 1, 2], [2, 0, 1]):
        torch.manual_seed(8)
        totals.append(network([image], [target(order)]))
    # Pairs come in the order of their queries, so that each keeps its points.
    for name, loss in totals[0].items():
        assert loss.item() == pytest.approx(totals[1][name].item(), rel=1e-4), name


def test_golden_losses(network: FastInst) -> None:
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(6)
    losses = network.train()(list(images), [target([0, 1, 2]), target([])])
    expected = {"loss_proposal": 18.065, "loss_class": 15.635, "loss_mask": 26.871, "loss_dice": 27.454}
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=5e-3)


def test_detections_are_scored_by_class_and_mask(network: FastInst) -> None:
    probabilities = torch.tensor([[0.9, 0.02], [0.3, 0.8], [0.06, 0.01]])
    masks = torch.full((3, 8, 12), -4.0)
    masks[0, 2:6, 2:6] = 4.0
    masks[1, :, 6:] = 0.5
    masks[2, 1:3, 1:3] = 1.0
    found = network._detect(probabilities, masks, SIZE, SIZE)
    # Each query counts for every class; the third and the weak classes fall under the cut.
    assert found["labels"].tolist() == [1, 2, 1]
    full = F.interpolate(masks[None], size=SIZE, mode="bilinear", align_corners=False)[0]
    quality = [values[values > 0].sigmoid().mean().item() for values in full]
    assert found["scores"].tolist() == pytest.approx([0.9 * quality[0], 0.8 * quality[1], 0.3 * quality[1]], rel=1e-4)
    assert torch.equal(found["masks"].crops().dense().bool(), (full > 0)[[0, 1, 1]])
    assert torch.equal(found["boxes"], found["masks"].crops().boxes.float())


def test_a_query_without_mask_is_no_detection(network: FastInst) -> None:
    found = network._detect(torch.tensor([[0.9, 0.0]]), torch.full((1, 8, 12), -1.0), SIZE, (32, 48))
    assert len(found["scores"]) == len(found["masks"]) == len(found["boxes"]) == 0
