"""The refiner by itself; what it does within GAInS is in test_gains.py."""

import pytest
import torch
from torch.nn import functional as F

from gains.models.parts.roi.mask_refiner import MOST_LOGIT, MaskRefiner, build_refiner

BOXES = [torch.tensor([[4.0, 4, 32, 32], [8, 0, 24, 28]]), torch.zeros(0, 4), torch.tensor([[0.0, 6, 30, 20]])]


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image batch, coarse logits and mask features of three RoIs in three images."""
    torch.manual_seed(1)
    return torch.randn(3, 3, 40, 40), 4 * torch.randn(3, 28, 28), torch.randn(3, 8, 14, 14)


def seeing_red() -> MaskRefiner:
    """A refiner that adds the image's first channel, where it is positive, to the coarse logits."""
    refiner = MaskRefiner(8)
    for parameter in refiner.parameters():
        torch.nn.init.zeros_(parameter)
    for layer in (refiner.convs[0], refiner.convs[2], refiner.correction):
        assert isinstance(layer, torch.nn.Conv2d)
        with torch.no_grad():
            layer.weight[range(4), range(4), 1, 1] = 1  # the first four channels are a cell's four pixels
    return refiner


def test_untrained_it_hands_on_the_coarse_mask() -> None:
    image, logits, features = inputs()
    refined = MaskRefiner(8)(image, BOXES, logits, features)
    expected = F.interpolate(logits[:, None], size=(56, 56), mode="bilinear", align_corners=False)[:, 0]
    assert torch.equal(refined, expected)


def test_every_cell_sees_the_pixel_at_its_centre() -> None:
    """Closed form: on an image that is a ramp along x, a cell of a box sees the x of its own centre."""
    _, logits, features = inputs()
    ramp = torch.arange(40.0).expand(3, 3, 40, 40)
    added = seeing_red()(ramp, BOXES, logits * 0, features)
    for row, (x0, _, x1, _) in enumerate(torch.cat(BOXES).tolist()):
        centres = x0 + (torch.arange(56) + 0.5) / 56 * (x1 - x0) - 0.5  # pixel k has its centre at k + 0.5
        inside = centres >= 0  # beyond the first pixel's centre the image is continued by it
        torch.testing.assert_close(added[row][:, inside], centres[inside].expand(56, -1), atol=1e-4, rtol=0)


def test_each_roi_looks_at_its_own_image() -> None:
    image, logits, features = inputs()
    refiner = seeing_red()
    before = refiner(image, BOXES, logits, features)
    image[2] += 5
    after = refiner(image, BOXES, logits, features)
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[2], after[2])


def test_the_coarse_mask_is_shown_with_a_limit_and_corrected_without_one() -> None:
    image, logits, features = inputs()
    logits[0, 0, 0] = 1000.0
    refiner = MaskRefiner(8)
    shown: list[torch.Tensor] = []
    refiner.convs.register_forward_hook(lambda _module, given, _result: shown.append(given[0]))
    refined = refiner(image, BOXES, logits, features)
    assert shown[0][:, 12].abs().max() == MOST_LOGIT
    assert refined[0, 0, 0] == 1000.0


def test_it_learns_an_outline_that_the_features_do_not_show() -> None:
    """The coarse mask says nothing, the image shows the object: a few steps, and the mask follows the image."""
    torch.manual_seed(2)
    refiner = MaskRefiner(4)
    image = torch.zeros(1, 3, 56, 56)
    image[0, :, 10:33, 20:47] = 1.0
    boxes, truth = [torch.tensor([[0.0, 0, 56, 56]])], image[:, 0]
    blind = torch.zeros(1, 28, 28), torch.zeros(1, 4, 14, 14)
    optimiser = torch.optim.Adam(refiner.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(refiner(image, boxes, *blind), truth).backward()
        optimiser.step()
    found = refiner(image, boxes, *blind) > 0
    assert (found & (truth > 0)).sum() / (found | (truth > 0)).sum() > 0.98


def test_no_rois_give_no_masks_and_keep_the_graph() -> None:
    refiner = MaskRefiner(8)
    nothing = refiner(torch.randn(1, 3, 40, 40), [torch.zeros(0, 4)], torch.zeros(0, 28, 28), torch.zeros(0, 8, 14, 14))
    assert nothing.shape == (0, 56, 56)
    nothing.sum().backward()
    assert all(parameter.grad is not None for parameter in refiner.parameters())


def test_the_size_of_the_mask_head_means_no_refinement() -> None:
    assert build_refiner(8, 28) is None
    assert isinstance(build_refiner(8, 56), MaskRefiner)
    with pytest.raises(ValueError, match="mask_size=112"):
        build_refiner(8, 112)
