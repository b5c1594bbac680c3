from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from gains.models.parts.roi.box_branch import BoxHead
from gains.models.parts.roi.sampling import RoISampler
from gains.models.pisa import (
    PISABoxBranch,
    carl_weights,
    keep_total,
    nms_groups,
    positive_weights,
    prime_negatives,
    rank_within,
)


def branch(**settings: float) -> PISABoxBranch:
    head = BoxHead(16, 2, width=32)
    torch.nn.init.normal_(head.predictor.cls_score.weight, std=0.5)
    return PISABoxBranch(head, RoISampler(32), **settings)


def boxes(count: int) -> Tensor:
    corner = torch.rand(count, 2) * 30
    return torch.cat([corner, corner + 5 + 15 * torch.rand(count, 2)], dim=1)


def test_rank_within_counts_the_higher_values_of_a_group() -> None:
    values, group = torch.randint(0, 12, (40,)).float(), torch.randint(0, 5, (40,))
    expected = [
        sum(
            int(group[j] == group[i] and (values[j] > values[i] or (values[j] == values[i] and j < i)))
            for j in range(40)
        )
        for i in range(40)
    ]
    assert rank_within(values, group).tolist() == expected


def test_boxes_of_equal_iou_on_one_object_are_weighted_by_rank() -> None:
    n = 5
    weights = positive_weights(torch.full((n,), 0.7), torch.zeros(n), torch.ones(n, dtype=torch.int64), 2.0)
    torch.testing.assert_close(weights, ((n - torch.arange(n)) / n) ** 2)


def test_the_best_box_of_every_object_comes_before_any_second_best() -> None:
    iou = torch.tensor([0.9, 0.8, 0.85, 0.3, 0.2, 0.1])
    truth = torch.tensor([0, 0, 0, 1, 1, 2])
    labels = torch.ones(6, dtype=torch.int64)
    order = positive_weights(iou, truth, labels, 2.0).argsort(descending=True)
    assert order.tolist() == [0, 3, 5, 2, 4, 1]


def test_classes_are_ranked_apart_by_the_larger_number() -> None:
    iou, truth, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 2]), torch.tensor([1, 2, 2])
    assert positive_weights(iou, truth, labels, 1.0).tolist() == [1, 1, 0.5]


def test_weights_keep_the_total() -> None:
    weights, losses = torch.rand(9), torch.rand(9)
    kept = keep_total(weights, losses)
    assert (kept * losses).sum().item() == pytest.approx(losses.sum().item(), rel=1e-5)
    torch.testing.assert_close(kept / kept[0], weights / weights[0])
    assert torch.equal(keep_total(weights, losses * 0), weights)
    assert len(keep_total(weights[:0], losses[:0])) == 0


def nms_match(candidates: Tensor, scores: Tensor, iou: float) -> list[list[int]]:
    """Greedy NMS that keeps each leader's followers, one box at a time."""
    groups, free = [], scores.argsort(descending=True).tolist()
    while free:
        leader = free[0]
        members = [i for i in free if i == leader or box_iou(candidates[[leader]], candidates[[i]]).item() > iou]
        groups.append(members)
        free = [i for i in free if i not in members]
    return groups


def test_groups_are_what_nms_would_suppress_together() -> None:
    candidates, scores = boxes(60), torch.rand(60)
    groups = nms_groups(candidates, scores, 0.3)
    expected = nms_match(candidates, scores, 0.3)
    assert 5 < len(expected) < 50
    assert [set(torch.where(groups == i)[0].tolist()) for i in range(len(expected))] == [set(g) for g in expected]


@pytest.mark.parametrize("wanted", [8, 40])
def test_prime_negatives_lead_their_places(wanted: int) -> None:
    candidates, scores = boxes(60), torch.rand(60)
    scores[::3] *= 0.05
    rows, weights = prime_negatives(scores, candidates, wanted, 0.5)
    valid = torch.where(scores > 0.05)[0]
    groups = nms_match(candidates[valid], scores[valid], 0.5)
    ranked = [
        valid[i].item()
        for rank in range(20)
        for i in sorted((group[rank] for group in groups if len(group) > rank), key=lambda i: -scores[valid[i]].item())
    ]
    count = min(wanted, len(valid))
    assert rows[:count].tolist() == ranked[:count]
    assert len(set(rows.tolist())) == wanted
    assert (scores[rows[count:]] <= 0.05).all()
    upper = max(wanted, len(valid))
    expected = ((upper - torch.arange(count)) / upper) ** 0.5
    torch.testing.assert_close(weights, torch.cat([expected, expected[-1:].expand(wanted - count)]))


def test_without_a_scored_false_box_negatives_are_random_and_weigh_alike() -> None:
    rows, weights = prime_negatives(torch.zeros(50), boxes(50), 20, 0.5)
    assert len(set(rows.tolist())) == 20
    assert rows.tolist() != list(range(20))
    assert torch.equal(weights, torch.ones(20))


def test_carl_of_equal_scores_is_the_box_loss() -> None:
    torch.testing.assert_close(carl_weights(torch.full((7,), 0.37)), torch.ones(7))
    assert carl_weights(torch.rand(7)).sum().item() == pytest.approx(7, rel=1e-5)
    torch.testing.assert_close(carl_weights(torch.tensor([0.0, 1.0])), torch.tensor([0.4, 2.0]) / 1.2)


def test_carl_raises_the_score_of_boxes_located_better_than_the_mean() -> None:
    scores = torch.tensor([0.5, 0.6, 0.4], requires_grad=True)
    distance = torch.tensor([0.1, 0.5, 0.9])
    (carl_weights(scores) * distance).sum().backward()
    assert scores.grad[0] < 0 < scores.grad[2]  # type: ignore[index]


def test_losses_keep_the_plain_total_but_move_the_gradient(scene: Any) -> None:
    """Weighted cross entropy sums to the plain one, for foreground and each image's background alike."""
    model = branch()
    torch.manual_seed(1)
    losses, samples = model.losses(scene.features, scene.proposals, scene.sizes, scene.targets)
    output = model.head(model.head.pool(scene.features, samples.boxes, scene.sizes))
    plain = model.head.losses(output, samples)["loss_classifier"]
    assert losses["loss_classifier"].item() == pytest.approx(plain.item(), rel=1e-5)
    weighted, even = (
        torch.autograd.grad(loss, model.head.predictor.cls_score.weight, retain_graph=True)[0]
        for loss in (losses["loss_classifier"], plain)
    )
    assert (weighted - even).abs().max() > 0.01 * even.abs().max()


def test_weights_are_those_of_the_refined_boxes(scene: Any) -> None:
    model = branch(negative_exponent=0.0)
    samples, weights = model.sample(scene.features, scene.proposals, scene.sizes, scene.targets)
    labels = torch.cat(samples.labels)
    assert 4 <= (labels > 0).sum() <= 8
    output = model.head(model.head.pool(scene.features, samples.boxes, scene.sizes))
    entropy = F.cross_entropy(output.logits, labels, reduction="none")
    found = model._positive_weights(output, samples, entropy)
    rows = torch.where(samples.labels[0] > 0)[0]
    refined = model.head.decode(output, samples.boxes)[0][rows, samples.labels[0][rows]]
    iou = box_iou(refined, samples.matched_boxes[0][rows]).diagonal()
    expected = positive_weights(iou, samples.matched[0][rows], samples.labels[0][rows], 2.0)
    torch.testing.assert_close(found, keep_total(expected, entropy[labels > 0]).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, torch.ones(len(labels)))


def test_sample_has_the_right_shares(scene: Any) -> None:
    samples, weights = branch().sample(scene.features, scene.proposals, scene.sizes, scene.targets)
    counts = [len(part) for part in samples.boxes]
    assert counts == [32, 30], "the second image offers 30 false boxes"
    assert weights.shape == (62,)
    assert (samples.labels[0] > 0).sum() == 8
    assert (samples.labels[1] == 0).all()
    background = samples.boxes[0][samples.labels[0] == 0]
    assert box_iou(background, scene.targets[0]["boxes"]).max() < 0.5


def test_with_all_weights_1_it_is_mask_rcnn(scene: Any) -> None:
    model = branch(positive_exponent=0.0, negative_exponent=0.0, beta=0.0)
    losses, samples = model.losses(scene.features, scene.proposals, scene.sizes, scene.targets)
    output = model.head(model.head.pool(scene.features, samples.boxes, scene.sizes))
    for name, plain in model.head.losses(output, samples).items():
        assert losses[name].item() == pytest.approx(plain.item(), rel=1e-5)


def test_losses_stay_what_they_were(scene: Any) -> None:
    torch.manual_seed(5)
    losses, _ = branch().losses(scene.features, scene.proposals, scene.sizes, scene.targets)
    found = {name: loss.item() for name, loss in losses.items()}
    assert found == pytest.approx({"loss_classifier": 1.05581, "loss_box_reg": 0.19421, "loss_carl": 0.18609}, rel=1e-3)
