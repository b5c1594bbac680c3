"""Pictures: what is drawn where, and that nothing else changes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from gains.drawing import (
    PALETTE,
    anomaly_figure,
    assign_colours,
    contact_sheet,
    draw_instances,
    enlarge,
    save_image,
)
from gains.export.measure import perimeter
from gains.masks import InstanceCrops


def crops_of(*masks: np.ndarray) -> InstanceCrops:
    return InstanceCrops.from_dense(torch.from_numpy(np.stack(masks)))


def disc(center: tuple[int, int], radius: int, size: int = 120) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.hypot(x - center[0], y - center[1]) <= radius  # type: ignore[no-any-return]


def noise_image(size: int = 120) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)


def is_palette_colour(picture: np.ndarray) -> np.ndarray:
    return (picture[..., None, :] == PALETTE).all(-1).any(-1)  # type: ignore[no-any-return]


def test_outline_is_the_inner_border_and_the_rest_is_untouched_or_tinted() -> None:
    image, mask = np.full((120, 120), 100, np.uint8), disc((60, 50), 20)
    picture = draw_instances(image, crops_of(mask), zoom=1)
    border = mask & ~ndimage.binary_erosion(mask)
    np.testing.assert_array_equal(is_palette_colour(picture), border)
    assert (picture[~mask] == 100).all()
    inside = picture[mask & ~border]
    assert (inside == inside[0]).all()
    assert (inside[0] != 100).any()


def test_the_image_is_neither_changed_nor_shared() -> None:
    image = np.repeat(noise_image()[:, :, None], 3, axis=2)
    before = image.copy()
    picture = draw_instances(image, crops_of(disc((30, 30), 10)), zoom=1)
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(picture, image)
    np.testing.assert_array_equal(picture[60:], image[60:])


def test_outlines_in_a_large_picture_are_wide_but_hide_no_small_instance() -> None:
    large, small = disc((400, 400), 300, 1600), disc((1200, 1200), 8, 1600)
    drawn = is_palette_colour(draw_instances(np.zeros((1600, 1600), np.uint8), crops_of(large, small), zoom=1))
    np.testing.assert_array_equal(drawn & small, small & ~ndimage.binary_erosion(small))
    assert 3.5 < (drawn & large).sum() / (large & ~ndimage.binary_erosion(large)).sum() < 6


def test_enlarged_outlines_stay_on_the_enlarged_mask() -> None:
    mask = disc((60, 50), 20)
    image = np.full((120, 120), 100, np.uint8)
    picture = draw_instances(image, crops_of(mask), zoom=4)
    assert picture.shape == (480, 480, 3)
    drawn = is_palette_colour(picture)
    wide = np.kron(mask, np.ones((4, 4), bool))
    # A linear interpolation moves the border by half a pixel of the image at most.
    assert not drawn[~ndimage.binary_dilation(wide, iterations=3)].any()
    assert not drawn[ndimage.binary_erosion(wide, iterations=5)].any()
    filled = ndimage.binary_fill_holes(drawn)
    assert filled.sum() == pytest.approx(wide.sum(), rel=0.02)


def test_overlap_is_striped_in_both_colours() -> None:
    first, second = disc((45, 60), 25), disc((75, 60), 25)
    crops = crops_of(first, second)
    image = np.zeros((120, 120), np.uint8)
    picture = draw_instances(image, crops, zoom=1)
    colours = PALETTE[assign_colours(crops)]
    core = ndimage.binary_erosion(first & second, iterations=2)
    seen = {tuple(int(value) for value in pixel) for pixel in picture[core]}
    assert seen == {tuple(int(value) for value in colour * 0.5) for colour in colours}
    alone = ndimage.binary_erosion(first & ~second, iterations=2)
    assert len({tuple(pixel) for pixel in picture[alone].tolist()}) == 1


def test_a_nucleus_in_its_cell_is_no_overlap() -> None:
    cell, nucleus = disc((60, 60), 40), disc((60, 60), 8)
    picture = draw_instances(np.zeros((120, 120), np.uint8), crops_of(cell, nucleus), zoom=1)
    core, ring = disc((60, 60), 5), disc((60, 60), 35) & ~disc((60, 60), 10)
    for region in (core, ring):
        assert len({tuple(pixel) for pixel in picture[region].tolist()}) == 1
    assert (picture[60, 60] != picture[60, 80]).any()


def test_touching_and_overlapping_instances_differ_in_colour() -> None:
    """A 6 x 6 grid of touching squares plus one square across four of them."""
    masks = []
    for row, column in np.ndindex(6, 6):
        mask = np.zeros((120, 120), bool)
        mask[row * 20 : row * 20 + 20, column * 20 : column * 20 + 20] = True
        masks.append(mask)
    across = np.zeros((120, 120), bool)
    across[30:50, 30:50] = True
    masks.append(across)
    chosen = assign_colours(crops_of(*masks))
    grown = [ndimage.binary_dilation(mask, np.ones((3, 3))) for mask in masks]
    for i in range(len(masks)):
        for j in range(i):
            if (grown[i] & masks[j]).any():
                assert chosen[i] != chosen[j]
    assert len(set(chosen.tolist())) >= 8  # the palette is used, not its first colours only


def test_more_neighbours_than_colours_share_evenly() -> None:
    chosen = assign_colours(crops_of(*[disc((60, 60), 10 + k) for k in range(2 * len(PALETTE))]))
    np.testing.assert_array_equal(np.bincount(chosen, minlength=len(PALETTE)), 2)


@pytest.mark.parametrize("colour", [False, True])
def test_no_instances_leave_the_image_as_it_is(colour: bool) -> None:
    image = noise_image()
    image = np.stack([image, image // 2, image // 3], axis=2) if colour else image
    none = InstanceCrops.from_crops([], torch.zeros(0, 4), (120, 120))
    np.testing.assert_array_equal(draw_instances(image, none, zoom=1), enlarge(image, 1))


def test_an_empty_mask_among_others_is_skipped() -> None:
    crops = crops_of(np.zeros((120, 120), bool), disc((60, 60), 10))
    drawn = is_palette_colour(draw_instances(np.zeros((120, 120), np.uint8), crops, zoom=2))
    assert drawn.any()
    assert not drawn[:80].any()


def test_small_images_are_enlarged_by_a_whole_factor_and_large_ones_are_not() -> None:
    for side, shown in [(64, 448), (192, 576), (400, 400), (1000, 1000), (1, 32)]:
        none = InstanceCrops.from_crops([], torch.zeros(0, 4), (side, side))
        assert draw_instances(np.zeros((side, side), np.uint8), none).shape == (shown, shown, 3)


def test_texts_are_written_inside_instances_that_have_room() -> None:
    large, small = disc((60, 60), 15), disc((100, 8), 2)
    crops = crops_of(large, small)
    image = np.zeros((120, 120), np.uint8)
    plain = draw_instances(image, crops, zoom=4)
    written = draw_instances(image, crops, zoom=4, texts=["0.50", "0.99"])
    rows, columns = np.nonzero((plain != written).any(2))
    assert 20 < len(rows) < 2000
    assert abs(rows.mean() - 4 * 60.5) < 4
    assert abs(columns.mean() - 4 * 60.5) < 4
    assert (written > 200).all(2).sum() > 20
    np.testing.assert_array_equal(draw_instances(image, crops, zoom=4, texts=["", ""]), plain)


def test_texts_of_a_cell_and_its_nucleus_do_not_lie_on_each_other() -> None:
    crops = crops_of(disc((60, 60), 50), disc((60, 60), 12))
    image = np.zeros((120, 120), np.uint8)
    plain = draw_instances(image, crops, zoom=4)
    cell, nucleus = (
        (draw_instances(image, crops, zoom=4, texts=texts) != plain).any(2) for texts in (["0.8", ""], ["", "0.8"])
    )
    both = (draw_instances(image, crops, zoom=4, texts=["0.8", "0.8"]) != plain).any(2)
    assert (cell & nucleus).any()  # alone each stands in the middle
    assert both[nucleus].all()
    assert both.sum() == pytest.approx(cell.sum() + nucleus.sum(), rel=0.15)


def test_colours_can_be_given() -> None:
    crops = crops_of(disc((30, 30), 10), disc((80, 80), 10))
    picture = draw_instances(np.zeros((120, 120), np.uint8), crops, colours=np.array([7, 2]), zoom=1)
    assert (picture[30, 20] == PALETTE[7]).all()
    assert (picture[80, 70] == PALETTE[2]).all()


def test_wrong_instances_are_dashed_and_left_clear() -> None:
    right, wrong = disc((30, 30), 12), disc((80, 80), 12)
    image = np.full((120, 120), 100, np.uint8)
    picture = draw_instances(image, crops_of(right, wrong), wrong=np.array([False, True]), zoom=1)
    border = wrong & ~ndimage.binary_erosion(wrong)
    values = picture[border]
    assert set(np.unique(values)) == {0, 255}
    assert 0.3 < (values == 255).mean() < 0.7
    assert (picture[wrong & ~border] == 100).all()
    np.testing.assert_array_equal(is_palette_colour(picture), right & ~ndimage.binary_erosion(right))


def test_enlarged_outlines_are_smooth() -> None:
    """The corners of a disc's pixels are gone: its outline is hardly longer than that of the true disc."""
    mask = disc((60, 50), 20)
    picture = draw_instances(np.full((120, 120), 100, np.uint8), crops_of(mask), zoom=6)
    filled = ndimage.binary_fill_holes(is_palette_colour(picture))
    measured = perimeter(filled)
    assert measured < 1.03 * perimeter(disc((360, 360), 123, 720))
    assert perimeter(np.kron(mask, np.ones((6, 6), bool))) > 1.06 * measured


def test_wrong_image_is_refused() -> None:
    crops = crops_of(disc((60, 60), 10))
    with pytest.raises(ValueError, match="image is"):
        draw_instances(np.zeros((100, 120), np.uint8), crops)
    with pytest.raises(ValueError, match="uint8"):
        draw_instances(np.zeros((120, 120), np.float32), crops)


def test_anomaly_heat_is_brightest_where_a_map_is_largest_and_dark_at_background() -> None:
    image = np.zeros((500, 500), np.uint8)
    maps = [torch.ones(40, 40), torch.ones(30, 30)]
    maps[0][10:20, 10:20] = 1.5
    maps[1][:] = 1.2
    boxes = torch.tensor([[50, 60, 90, 100], [300, 300, 330, 330]])
    crops = InstanceCrops.from_crops(maps, boxes, (500, 500), background=1.0)
    figure = anomaly_figure(image, crops)
    panel = figure[8:508, 516:1016].astype(int).sum(2)
    assert (panel[70:80, 60:70] == panel.max()).all()
    assert panel[310, 310] < panel[75, 65]
    assert panel[310, 310] > panel[200, 200] + 50
    assert panel[200, 200] < 20
    weak = anomaly_figure(image, crops, reach=6.0)[8:508, 516:1016].astype(int).sum(2)
    assert panel[200, 200] < weak[75, 65] < panel[310, 310]
    np.testing.assert_array_equal(anomaly_figure(image, crops, reach=1.5), figure)


def test_anomaly_maps_of_no_instance_and_of_no_anomaly_can_be_drawn() -> None:
    image = noise_image()
    none = InstanceCrops.from_crops([], torch.zeros(0, 4), (120, 120), background=1.0)
    flat = InstanceCrops.from_crops([torch.ones(5, 5)], torch.tensor([[0, 0, 5, 5]]), (120, 120), background=1.0)
    np.testing.assert_array_equal(anomaly_figure(image, none), anomaly_figure(image, flat))


def test_contact_sheet_places_pictures_of_different_sizes_in_rows() -> None:
    pictures = [np.full((h, w, 3), value, np.uint8) for h, w, value in [(20, 30, 10), (10, 60, 20), (40, 20, 30)]]
    sheet = contact_sheet(pictures, columns=2)
    assert sheet.shape == (8 + 28 + 48, 8 + 38 + 68, 3)
    np.testing.assert_array_equal(sheet[8:28, 8:38], pictures[0])
    np.testing.assert_array_equal(sheet[8:18, 46:106], pictures[1])
    np.testing.assert_array_equal(sheet[36:76, 8:28], pictures[2])
    assert (sheet != 255).any(2).sum() == sum(p.shape[0] * p.shape[1] for p in pictures)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], columns=2)


def test_pictures_are_saved_whole_or_not_at_all(tmp_path: Path) -> None:
    picture = enlarge(noise_image(), 1)
    save_image(tmp_path / "new" / "a.png", picture)
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "new" / "a.png")), picture)
    with pytest.raises(TypeError):
        save_image(tmp_path / "new" / "a.png", np.zeros((3, 3, 7), np.float32))
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "new" / "a.png")), picture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_four_hundred_instances_cost_their_crops_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No full-size mask is ever built, and all of them are drawn."""

    def refuse(self: InstanceCrops) -> torch.Tensor:
        raise AssertionError("full-size masks were built")

    monkeypatch.setattr(InstanceCrops, "dense", refuse)
    corners = [(x, y) for x in range(0, 1000, 50) for y in range(0, 1000, 50)]
    boxes = torch.tensor([[x, y, x + 20, y + 20] for x, y in corners])
    crops = InstanceCrops.from_crops([torch.ones(20, 20, dtype=torch.uint8)] * 400, boxes, (1024, 1024))
    picture = draw_instances(np.zeros((1024, 1024), np.uint8), crops)
    assert (picture.any(2)).sum() == 400 * 400
