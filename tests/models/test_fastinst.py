from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gains.masks import InstanceCrops
from gains.models.fastinst import FastInst, _truth
from gains.models.parts.dice import linear_dice
from gains.models.parts.point_sampling import cell_centres
from gains.models.parts.query.dual_path import QueryOutput, attention_block
from gains.models.parts.query.losses import class_loss, mask_losses, proposal_loss
from gains.models.parts.query.matching import Truth, match_pixels, match_queries
from gains.models.parts.query.proposal import Proposals
from gains.operating_point import OperatingPoint

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
    return _truth(target(order), SIZE, CPU)  # type: ignore[arg-type]


@pytest.fixture
def network(build: Callable[..., nn.Module]) -> FastInst:
    torch.manual_seed(5)
    made = build("fastinst", "model.width={fpn: 32, box: 32, mask: 32}", "augmentation.test_short_side=64")
    assert isinstance(made, FastInst)
    return made


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
    ((pixels, instances),) = match_pixels(Proposals(*[torch.zeros(0)] * 3, logits), [wanted])  # type: ignore[call-arg]
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
        "gains.models.parts.query.losses.sample_uncertain_points", lambda logits, _: points.expand(len(logits), -1, -1)
    )


def test_a_perfect_output_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 16:40, 8:64] = True
    masks[1, 24:64, 40:96] = True
    wanted = _truth({"labels": torch.tensor([2, 1]), "masks": InstanceCrops.from_dense(masks)}, SIZE, CPU)  # type: ignore[typeddict-item]
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
    found = network._detect(probabilities, masks, SIZE, SIZE, OperatingPoint())
    # Each query counts for every class; the third and the weak classes fall under the cut.
    assert found["labels"].tolist() == [1, 2, 1]
    full = F.interpolate(masks[None], size=SIZE, mode="bilinear", align_corners=False)[0]
    quality = [values[values > 0].sigmoid().mean().item() for values in full]
    assert found["scores"].tolist() == pytest.approx([0.9 * quality[0], 0.8 * quality[1], 0.3 * quality[1]], rel=1e-4)
    assert torch.equal(found["masks"].paste().dense().bool(), (full > 0)[[0, 1, 1]])
    assert torch.equal(found["boxes"], found["masks"].paste().boxes.float())


def test_a_query_without_mask_is_no_detection(network: FastInst) -> None:
    found = network._detect(torch.tensor([[0.9, 0.0]]), torch.full((1, 8, 12), -1.0), SIZE, (32, 48), OperatingPoint())
    assert len(found["scores"]) == len(found["masks"]) == len(found["boxes"]) == 0
