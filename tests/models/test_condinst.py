from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou

from gains.masks import InstanceCrops
from gains.models.condinst import CondInst
from gains.models.parts.aligned_upsampling import aligned_upsample
from gains.models.parts.fcos.dynamic_mask_head import BIASES, NUM_PARAMETERS, WEIGHTS, cell_positions, dynamic_masks
from gains.models.parts.fcos.head import FCOSHead, FCOSOutput
from gains.models.parts.fcos.losses import fcos_losses, giou_loss
from gains.models.parts.fcos.targets import Locations, LocationTargets, assign, centreness

LEVELS = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]  # of a 128 x 128 input


def test_the_controller_generates_169_parameters(build: Callable[..., Any]) -> None:
    assert NUM_PARAMETERS == 169
    assert build("condinst").head.extra.out_channels == NUM_PARAMETERS


def mask_network(parameters: Tensor, features: Tensor, point: Tensor, extent: float) -> Tensor:
    """One instance's network, the plain way: its own input, three 1x1 convolutions."""
    first, second, third, *biases = parameters.split(WEIGHTS + BIASES)
    relative = (
        point[:, None, None] - cell_positions(features.shape[1], features.shape[2], 8, features.device)
    ) / extent
    hidden = torch.cat([relative, features])[None]
    hidden = F.relu(F.conv2d(hidden, first.reshape(8, 10, 1, 1), biases[0]))
    hidden = F.relu(F.conv2d(hidden, second.reshape(8, 8, 1, 1), biases[1]))
    return F.conv2d(hidden, third.reshape(1, 8, 1, 1), biases[2])[0, 0]


def test_all_networks_at_once_equal_one_after_the_other() -> None:
    features, parameters = torch.randn(8, 9, 13), torch.randn(5, NUM_PARAMETERS)
    points, extents = 100 * torch.rand(5, 2), torch.tensor([64.0, 64, 128, 256, 1024])
    masks = dynamic_masks(features, parameters, points, extents)
    expected = [mask_network(p, features, at, s) for p, at, s in zip(parameters, points, extents.tolist(), strict=True)]
    torch.testing.assert_close(masks, torch.stack(expected), atol=2e-5, rtol=1e-4)


def test_a_network_written_by_hand_draws_a_stripe_around_its_location() -> None:
    parameters = torch.zeros(1, NUM_PARAMETERS)
    first, second, third, _, _, bias = parameters.split(WEIGHTS + BIASES, dim=1)
    first.reshape(8, 10)[:2, 0] = torch.tensor([1.0, -1.0])  # units 0 and 1: relative x and its negative
    second.reshape(8, 8)[:2, :2] = torch.eye(2)
    third[0, :2] = -1
    bias[:] = 0.5
    point, extent = torch.tensor([[52.0, 20.0]]), torch.tensor([64.0])
    logits = dynamic_masks(torch.randn(8, 6, 16), parameters, point, extent)
    columns = 8 * torch.arange(16) + 4
    expected = 0.5 - (columns - 52).abs() / 64
    torch.testing.assert_close(logits[0], expected.expand(6, -1))
    assert ((logits[0, 0] > 0) == ((columns - 52).abs() < 32)).all()


def test_locations_lie_in_the_middle_of_their_cells() -> None:
    locations = Locations.of(LEVELS, torch.device("cpu"))
    assert locations.levels == [256, 64, 16, 4, 1]
    assert locations.points[[0, 1, 16, 256, 340]].tolist() == [[4, 4], [12, 4], [4, 12], [8, 8], [64, 64]]
    assert locations.extents[[0, 256, 320, 336, 340]].tolist() == [64, 128, 256, 512, 1024]


def assigned(boxes: list[list[float]], centres: list[list[float]] | None = None) -> tuple[Locations, LocationTargets]:
    locations = Locations.of(LEVELS, torch.device("cpu"))
    given = torch.tensor(boxes)
    middle = (given[:, :2] + given[:, 2:]) / 2 if centres is None else torch.tensor(centres)
    return locations, assign(locations, given, torch.arange(1, len(boxes) + 1), middle)


def test_a_location_must_be_near_the_centroid_and_inside_the_box() -> None:
    locations, targets = assigned([[40, 36, 88, 60]], [[60, 44]])
    positive = torch.nonzero(targets.labels)[:, 0]
    # 1.5 strides of 8 around (60, 44), of which y is strictly above 36: columns 52..68, rows 44, 52.
    assert locations.points[positive].tolist() == [[52, 44], [60, 44], [68, 44], [52, 52], [60, 52], [68, 52]]
    torch.testing.assert_close(targets.distances[positive[0]] * 8, torch.tensor([12.0, 8, 36, 16]))
    assert targets.distances[targets.labels == 0].abs().sum() == 0


@pytest.mark.parametrize(("side", "stride"), [(40, 8), (120, 8), (127, 8)])
def test_small_boxes_belong_to_the_finest_level(side: float, stride: int) -> None:
    locations, targets = assigned([[0, 0, side, side]])
    assert set(locations.strides[targets.labels > 0].tolist()) <= {stride, 2 * stride}
    assert (targets.distances * locations.strides[:, None])[locations.strides == 8].amax() <= 64


def test_sizes_rule_the_level() -> None:
    # The farthest side is 70 pixels from the centre column, too far for P3 and right for P4.
    locations, targets = assigned([[-6, 40, 134, 88]])
    assert set(locations.strides[targets.labels > 0].tolist()) == {16}


def test_the_smallest_box_wins_where_instances_lie_on_each_other() -> None:
    locations, targets = assigned([[20, 20, 100, 100], [44, 44, 76, 76]])
    contested = targets.labels[(locations.strides == 8) & ((locations.points - 60).abs().amax(1) < 12)]
    assert len(contested) == 9
    assert contested.tolist().count(2) == len(contested)
    _, swapped = assigned([[44, 44, 76, 76], [20, 20, 100, 100]])
    assert torch.equal(swapped.labels > 0, targets.labels > 0)
    assert torch.equal(swapped.distances, targets.distances)


def test_no_instances_make_everything_background() -> None:
    locations = Locations.of(LEVELS, torch.device("cpu"))
    nothing = torch.zeros(0, 4)
    targets = assign(locations, nothing, torch.zeros(0, dtype=torch.int64), nothing[:, :2])
    assert targets.labels.shape == (341,)
    assert targets.labels.sum() == targets.distances.sum() == 0


def test_centreness_is_one_in_the_middle_and_falls_to_the_sides() -> None:
    distances = torch.tensor([[3.0, 2, 3, 2], [1, 2, 4, 2], [1, 1, 4, 4]])
    assert centreness(distances).tolist() == pytest.approx([1, 0.5, 0.25])


def test_giou_is_torchvisions_but_for_the_smoothing() -> None:
    predicted, wanted = 1000 * torch.rand(20, 4), 1000 * torch.rand(20, 4)

    def boxes(distances: Tensor) -> Tensor:
        return torch.cat([-distances[:, :2], distances[:, 2:]], dim=1)

    expected = 1 - generalized_box_iou(boxes(predicted), boxes(wanted)).diagonal()
    torch.testing.assert_close(giou_loss(predicted, wanted), expected, atol=1e-3, rtol=0)
    # 2 x 2 in 4 x 4: (4 + 1) / (16 + 1) with the smoothing, and the hull is the union.
    assert giou_loss(torch.ones(1, 4), 2 * torch.ones(1, 4)).item() == pytest.approx(1 - 5 / 17)


def fcos_output(logits: Tensor, distances: Tensor, centre: Tensor) -> FCOSOutput:
    return FCOSOutput(logits, distances, centre, torch.zeros(*centre.shape, 0))


def test_fcos_losses_by_hand() -> None:
    # Two locations, one positive of class 2 that is off centre.
    wanted = torch.tensor([[1.0, 2, 4, 2], [0, 0, 0, 0]])
    target = LocationTargets(torch.tensor([2, 0]), torch.tensor([0, 0]), wanted)
    output = fcos_output(torch.zeros(1, 2, 2), torch.ones(1, 2, 4), torch.zeros(1, 2))
    losses = fcos_losses(output, [target])
    half = torch.tensor(0.5)
    assert losses["loss_class"].item() == pytest.approx((0.25 + 3 * 0.75) * 0.25 * -half.log().item())
    # Predicted 2 x 2 within 5 x 4; the centre-ness weight cancels with one positive.
    assert losses["loss_box"].item() == pytest.approx(1 - 5 / 21)
    assert losses["loss_centreness"].item() == pytest.approx(-half.log().item())


def test_box_loss_counts_central_locations_more() -> None:
    wanted = torch.tensor([[2.0, 2, 2, 2], [0.5, 2, 3.5, 2]])
    target = LocationTargets(torch.tensor([1, 1]), torch.tensor([0, 0]), wanted)
    output = fcos_output(torch.zeros(1, 2, 1), torch.stack([wanted[0], torch.ones(4)])[None], torch.zeros(1, 2))
    weight = (0.5 / 3.5) ** 0.5
    wrong = giou_loss(torch.ones(1, 4), wanted[1:]).item()
    assert fcos_losses(output, [target])["loss_box"].item() == pytest.approx(wrong * weight / (1 + weight))


def test_head_starts_sure_of_background() -> None:
    output = FCOSHead(32, 3, 7)([torch.randn(2, 32, *level) for level in LEVELS])
    assert output.logits.shape == (2, 341, 3)
    assert output.extra.shape == (2, 341, 7)
    assert output.logits.sigmoid().mean().item() == pytest.approx(0.01, abs=2e-3)
    assert (output.distances >= 0).all()


@pytest.fixture
def network(build: Callable[..., nn.Module]) -> CondInst:
    torch.manual_seed(5)
    made = build("condinst", "model.width={fpn: 32, box: 32, mask: 32}", "augmentation.test_short_side=128")
    assert isinstance(made, CondInst)
    return made


def two_squares() -> dict[str, Any]:
    masks = torch.zeros(2, 128, 128, dtype=torch.bool)
    masks[0, 20:68, 20:68] = True
    masks[1, 52:108, 52:108] = True
    crops = InstanceCrops.from_dense(masks)
    return {"boxes": crops.boxes.float(), "labels": torch.tensor([1, 2]), "masks": crops}


class Known(nn.Module):
    """A head, or a mask branch, that answers with what the test has written down."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Any) -> Any:
        return self.answer


def perfect(target: dict[str, Any]) -> tuple[FCOSOutput, Tensor, LocationTargets]:
    """Outputs that name the right classes, boxes and centre-ness, and draw each square from the cell positions."""
    locations = Locations.of(LEVELS, torch.device("cpu"))
    boxes = target["boxes"]
    targets = assign(locations, boxes, target["labels"], (boxes[:, :2] + boxes[:, 2:]) / 2)
    logits = 40 * F.one_hot(targets.labels, 3)[:, 1:].float() - 20
    centre = torch.where(targets.labels > 0, centreness(targets.distances).nan_to_num().clamp(1e-6, 1 - 1e-6), 0.5)
    parameters = torch.zeros(341, NUM_PARAMETERS)
    first, second, third, _, _, bias = parameters.split(WEIGHTS + BIASES, dim=1)
    # How far a cell lies beyond a line 8 pixels inside each side: positive parts of x0 + 8 - x, x - x1 + 8, and in y.
    own = boxes[targets.instance]
    for unit, (channel, side) in enumerate([(2, 0), (3, 1), (2, 2), (3, 3)]):
        sign = 1.0 if unit < 2 else -1.0
        first.reshape(341, 8, 10)[:, unit, channel] = -sign
        parameters[:, 152 + unit] = sign * own[:, side] + 8
        second.reshape(341, 8, 8)[:, unit, unit] = 1
        third[:, unit] = -5
    bias[:] = 40
    output = FCOSOutput(logits[None], targets.distances[None], centre.logit()[None], parameters[None])
    features = torch.zeros(1, 8, 16, 16)
    # Enlarged to stride 4, the value of the cell at pixel 8 i + 4 comes to stand at 4 (2 i + 1) + 2.
    features[0, :2] = cell_positions(16, 16, 8, torch.device("cpu")) + 2
    return output, features, targets


def test_right_outputs_lose_nothing_and_are_found_again(network: Any) -> None:
    target = two_squares()
    output, features, _ = perfect(target)
    network.head, network.mask_features = Known(output), Known(features)
    losses = network.train()([torch.rand(3, 128, 128)], [target])
    assert losses["loss_class"] < 1e-6
    assert losses["loss_box"] < 1e-5
    assert losses["loss_mask"] < 0.06  # the network cuts the corners
    (found,) = network.eval()([torch.rand(3, 128, 128)])
    assert sorted(found["labels"].tolist()) == [1, 2]
    order = found["labels"].argsort()
    torch.testing.assert_close(found["boxes"][order], target["boxes"], atol=0.1, rtol=0)
    truth, drawn = target["masks"].dense().bool(), found["masks"].paste().dense().bool()[order]
    iou = (truth & drawn).flatten(1).sum(1) / (truth | drawn).flatten(1).sum(1)
    assert (iou > 0.89).all()  # 0.8 with everything 2 pixels off


def test_score_is_the_root_of_class_probability_times_centreness(network: Any) -> None:
    target = two_squares()
    output, features, _ = perfect(target)
    logits = torch.full_like(output.logits, -20.0)
    logits[0, 5 * 16 + 5, 0] = 0.0
    centre = torch.full_like(output.centreness, -1.0)
    network.head = Known(FCOSOutput(logits, output.distances + 1, centre, output.extra))
    network.mask_features = Known(features)
    (found,) = network.eval()([torch.rand(3, 128, 128)])
    expected = (0.5 * torch.tensor(-1.0).sigmoid()).sqrt()
    torch.testing.assert_close(found["scores"], expected[None])
    # 0.5 * 0.09 lies under the cut of 0.05, although its root does not.
    network.head = Known(FCOSOutput(logits, output.distances + 1, centre * 2.3, output.extra))
    assert len(network([torch.rand(3, 128, 128)])[0]["scores"]) == 0


def test_mask_loss_is_dice_of_the_stride_four_masks(network: Any) -> None:
    target = two_squares()
    output, _, targets = perfect(target)
    features = torch.randn(1, 8, 16, 16)
    random = FCOSOutput(output.logits, output.distances, output.centreness, torch.randn_like(output.extra))
    network.head, network.mask_features = Known(random), Known(features)
    found = network.train()([torch.rand(3, 128, 128)], [target])["loss_mask"]
    locations, expected = Locations.of(LEVELS, torch.device("cpu")), []
    for place in torch.nonzero(targets.labels)[:, 0].tolist():
        logits = mask_network(
            random.extra[0, place], features[0], locations.points[place], float(locations.extents[place])
        )
        p = aligned_upsample(logits[None, None], 2)[0, 0].sigmoid()
        t = target["masks"].dense()[int(targets.instance[place]), 2::4, 2::4].float()
        expected.append(1 - 2 * (p * t).sum() / (p.square().sum() + t.sum() + 1e-5))
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-5)


def test_a_mask_that_falls_between_the_cells_costs_nothing(network: Any) -> None:
    dot = torch.zeros(1, 128, 128, dtype=torch.bool)
    dot[0, 51:54, 51:54] = True  # contains the location (52, 52), but no pixel whose coordinates are 2 modulo 4
    crops = InstanceCrops.from_dense(dot)
    target = {"boxes": crops.boxes.float(), "labels": torch.tensor([1]), "masks": crops}
    losses = network.train()([torch.rand(3, 128, 128)], [target])
    assert losses["loss_box"] > 0
    assert losses["loss_mask"] == 0
    # Beside a square far away it does not dilute the mean either.
    square = torch.zeros(1, 128, 128, dtype=torch.bool)
    square[0, 70:120, 70:120] = True
    found = []
    network.head, network.mask_features = Known(perfect(two_squares())[0]), Known(torch.randn(1, 8, 16, 16))
    for masks in (square, torch.cat([square, dot])):
        crops = InstanceCrops.from_dense(masks)
        labels = torch.ones(len(masks), dtype=torch.int64)
        target = {"boxes": crops.boxes.float(), "labels": labels, "masks": crops}
        found.append(network([torch.rand(3, 128, 128)], [target])["loss_mask"].item())
    assert found[0] > 0
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_at_most_so_many_masks_are_drawn(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = network._draw

    def counted(features: Tensor, parameters: Tensor, locations: Locations, rows: Tensor) -> Tensor:
        drawn.append(len(rows))
        return draw(features, parameters, locations, rows)  # type: ignore[no-any-return]

    monkeypatch.setattr(network, "_draw", counted)
    network.max_masks = 7
    network.train()([torch.rand(3, 128, 128)] * 2, [two_squares(), two_squares()])
    assert sum(drawn) == 7


def test_golden_losses(network: Any) -> None:
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": two_squares()["masks"].select([]),
    }
    losses = network.train()(list(images), [two_squares(), empty])
    expected = {"loss_class": 1.127, "loss_box": 0.975, "loss_centreness": 0.706, "loss_mask": 0.616}
    assert {name: round(loss.item(), 3) for name, loss in losses.items()} == pytest.approx(expected, abs=2e-3)
