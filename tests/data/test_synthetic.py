"""The generators: reproducible, exact, and with the overlaps, crossings and contacts they are named for."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from gains.data.source import ImageRecord
from gains.data.synthetic.crossing_chromosomes import CrossingChromosomes
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.data.synthetic.shapes import ellipse_outline, overlap, shared_area, smooth_noise, star_shape, tube_shape
from gains.data.synthetic.touching_nuclei import TouchingNuclei
from gains.errors import InputError
from gains.masks import InstanceCrops
from gains.rle import decode_crop

SIZE = 128
Drawn = dict[Any, list[ImageRecord]]
GENERATORS: list[Any] = [OverlappingCells, CrossingChromosomes, TouchingNuclei]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return {generator: list(generator(12, SIZE, 7)) for generator in GENERATORS}


def dense(record: ImageRecord, category: str | None = None) -> np.ndarray:
    """Full-size bool masks ``(N, H, W)``."""
    rles = [i.mask for i in record.instances if category in (None, i.category)]
    return InstanceCrops.from_rle(rles, (SIZE, SIZE)).dense().numpy().astype(bool)


def gray(record: ImageRecord) -> np.ndarray:
    pixels = record.pixels.astype(float)
    return pixels if pixels.ndim == 2 else pixels.mean(2)


@pytest.mark.parametrize("generator", GENERATORS)
def test_an_image_depends_on_seed_and_index_alone(generator: Any) -> None:
    few, many, other = list(generator(2, SIZE, 7)), list(generator(3, SIZE, 7)), list(generator(2, SIZE, 8))
    for first, second in zip(few, many, strict=False):
        assert np.array_equal(first.pixels, second.pixels)
        assert first.name == second.name
        assert first.instances == second.instances
    assert not np.array_equal(few[0].pixels, few[1].pixels)
    assert not np.array_equal(few[0].pixels, other[0].pixels)


@pytest.mark.parametrize("generator", GENERATORS)
def test_global_random_state_has_no_influence_and_is_left_alone(generator: Any) -> None:
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state(legacy=True)[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = next(iter(generator(1, SIZE, 0)))
    assert np.array_equal(np.random.get_state(legacy=True)[1], before)  # type: ignore[index]  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first.pixels, next(iter(generator(1, SIZE, 0))).pixels)


@pytest.mark.parametrize("generator", GENERATORS)
def test_records_are_complete(generator: Any, drawn: Drawn) -> None:
    source, records = generator(12, SIZE, 7), drawn[generator]
    assert len(source) == len(records) == 12
    assert len({record.name for record in records}) == 12
    for record in records:
        assert record.pixels.dtype == np.uint8
        assert record.pixels.shape[:2] == (SIZE, SIZE)
        assert {i.category for i in record.instances} == set(source.categories)
        assert all(i.mask["size"] == [SIZE, SIZE] for i in record.instances)
        objects = sum(i.category == source.categories[0] for i in record.instances)
        assert source.fewest <= objects <= source.most


@pytest.mark.parametrize(
    ("generator", "smallest"), [(OverlappingCells, 30), (CrossingChromosomes, 80), (TouchingNuclei, 30)]
)
def test_every_mask_is_one_piece_of_a_useful_size(generator: Any, smallest: int, drawn: Drawn) -> None:
    for record in drawn[generator]:
        for mask in dense(record):
            assert mask.sum() >= smallest
            pieces, count = ndimage.label(mask, np.ones((3, 3)))
            assert np.bincount(pieces.ravel())[1:].max() >= 0.97 * mask.sum(), f"{count} pieces"


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("generator", GENERATORS)
def test_objects_scale_with_the_image(generator: Any, size: int) -> None:
    record = next(iter(generator(1, size, 3)))
    areas = InstanceCrops.from_rle([i.mask for i in record.instances], (size, size)).areas()
    assert (areas > 0.001 * size**2).all()
    assert (areas < 0.2 * size**2).all()


def test_cells_overlap_within_the_limit_and_hold_their_nuclei(drawn: Drawn) -> None:
    with_overlap = 0
    for record in drawn[OverlappingCells]:
        cells, nuclei = dense(record, "cytoplasm"), dense(record, "nucleus")
        assert len(cells) == len(nuclei)
        for cell, nucleus in zip(cells, nuclei, strict=True):
            assert (cell & nucleus).sum() >= 0.9 * nucleus.sum()
            assert nucleus.sum() < 0.2 * cell.sum()
        shares = [(a & b).sum() / min(a.sum(), b.sum()) for a, b in combinations(cells, 2)]
        assert max(shares) <= 0.4
        with_overlap += max(shares) > 0.05
        assert not any((a & b).any() for a, b in combinations(nuclei, 2))
    assert with_overlap >= 8


def test_light_is_absorbed_by_each_cell_in_turn(drawn: Drawn) -> None:
    """Mean grey falls from background to one cell, to two cells, to nucleus, by what multiplication predicts."""
    levels: dict[str, list[float]] = {"none": [], "one": [], "two": [], "nucleus": []}
    for record in drawn[OverlappingCells]:
        covered, nuclear = dense(record, "cytoplasm").sum(0), dense(record, "nucleus").any(0)
        image = gray(record)
        for name, where in {"none": covered == 0, "one": covered == 1, "two": covered == 2}.items():
            levels[name].extend(image[where & ~nuclear])
        levels["nucleus"].extend(image[nuclear])
    none, one, two, nucleus = (float(np.mean(levels[name])) for name in ("none", "one", "two", "nucleus"))
    assert 225 < none < 240
    assert none - one > 25
    assert two == pytest.approx(one * one / none, rel=0.06)
    assert nucleus < 0.75 * one


def test_chromosomes_cross(drawn: Drawn) -> None:
    """In a crossing, the shared region cuts both chromosomes in two."""
    crossings = 0
    for record in drawn[CrossingChromosomes]:
        for first, second in combinations(dense(record), 2):
            shared = first & second
            parts = [ndimage.label(mask & ~shared)[1] for mask in (first, second)]
            crossings += bool(shared.any() and min(parts) >= 2)
    assert crossings >= 6


def test_chromosomes_are_long_and_bright_and_add_up(drawn: Drawn) -> None:
    one, two = [], []
    for record in drawn[CrossingChromosomes]:
        masks, image = dense(record), gray(record)
        covered = masks.sum(0)
        assert image[covered > 0].mean() > 6 * image[covered == 0].mean()
        assert not masks[:, [0, -1]].any()
        assert not masks[:, :, [0, -1]].any()
        if (covered == 2).sum() > 20:
            one.append(np.median(image[covered == 1]))
            two.append(np.median(image[covered == 2]))
        for mask in masks:
            spread = np.sqrt(np.linalg.eigvalsh(np.cov(np.argwhere(mask).T)))
            assert spread[1] > 1.4 * spread[0]
    assert len(one) >= 6
    assert np.mean(np.array(two) / np.array(one)) > 1.3


def test_nuclei_touch_but_never_overlap(drawn: Drawn) -> None:
    touching = total = 0
    for record in drawn[TouchingNuclei]:
        masks = dense(record)
        assert masks.sum(0).max() == 1
        for index, mask in enumerate(masks):
            others = np.delete(masks, index, axis=0).any(0)
            touching += bool((ndimage.binary_dilation(mask, np.ones((3, 3))) & others).any())
            total += 1
    assert touching / total > 0.5


def test_nuclei_stand_out_in_both_looks() -> None:
    fluorescent, stained = (next(iter(TouchingNuclei(1, SIZE, 5, stained_share=share))) for share in (0.0, 1.0))
    assert fluorescent.pixels.ndim == 2
    assert stained.pixels.shape == (SIZE, SIZE, 3)
    inside = dense(fluorescent).any(0)
    assert gray(fluorescent)[inside].mean() > 3 * gray(fluorescent)[~inside].mean()
    inside = dense(stained).any(0)
    assert gray(stained)[inside].mean() < 0.75 * gray(stained)[~inside].mean()
    red, green, blue = stained.pixels[inside].mean(0)
    assert green < red < blue


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"num_images": 0}, "num_images is 0"),
        ({"image_size": 32}, "image_size is 32"),
        ({"seed": -1}, "seed is -1"),
        ({"instances": (5, 2)}, r"instances is \[5, 2\]"),
        ({"instances": (0, 2)}, r"instances is \[0, 2\]"),
        ({"diameters": (0.4, 0.2)}, r"diameters is \[0.4, 0.2\]"),
        ({"nucleus_diameters": (0.0, 0.1)}, r"nucleus_diameters is \[0.0, 0.1\]"),
    ],
)
def test_arguments_out_of_range_are_named(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        OverlappingCells(**{"num_images": 1, "image_size": SIZE, "seed": 0, **changed})


def test_cells_and_nuclei_have_the_sizes_asked_for() -> None:
    for record in OverlappingCells(8, 256, 3, (1, 1), diameters=(0.2, 0.21), nucleus_diameters=(0.08, 0.081)):
        areas = (decode_crop(each.mask)[0].sum() for each in record.instances)
        cell, nucleus = (2 * np.sqrt(area / np.pi) / 256 for area in areas)
        assert 0.14 < cell < 0.24  # a polygon's corners lie on the circle, and its outline is ragged
        assert nucleus == pytest.approx(0.0805, abs=0.008)


def test_smooth_noise_has_unit_variance_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    for sigma in (0.8, 3.0):
        assert smooth_noise(rng, (400, 400), sigma).std() == pytest.approx(1, abs=0.06)


def test_star_shape_of_constant_radius_is_a_disc_of_exact_depth() -> None:
    shape = star_shape(np.random.default_rng(0), (20.0, 30.0), np.full(72, 8.0), 64)
    x0, y0, x1, y1 = shape.box
    y, x = np.mgrid[y0:y1, x0:x1]
    np.testing.assert_allclose(shape.depth, 8 - np.hypot(x - 20, y - 30), atol=1e-9)
    assert shape.coverage.sum() == pytest.approx(np.pi * 64, rel=0.01)


def test_ellipse_outline_encloses_the_area_of_its_circle() -> None:
    outline = ellipse_outline(np.random.default_rng(0), 10, 1.5, 0.0)
    assert outline.max() / outline.min() == pytest.approx(1.5, rel=0.01)
    assert 0.5 * (outline**2).sum() * 2 * np.pi / len(outline) == pytest.approx(np.pi * 100, rel=0.01)


def test_straight_tube_is_a_capsule() -> None:
    line = np.stack([np.linspace(20, 60, 161), np.full(161, 30.5)], axis=1)
    shape, _, distance = tube_shape(line, np.full(161, 5.0), 80)
    assert shape.mask.sum() == pytest.approx(40 * 10 + np.pi * 25, rel=0.03)
    np.testing.assert_allclose(shape.depth, 5 - distance)


def test_overlap_of_two_discs_by_closed_form() -> None:
    rng = np.random.default_rng(0)
    first, second, far = (star_shape(rng, (x, 50.0), np.full(72, 20.0), 200) for x in (50.0, 70.0, 120.0))
    lens = 2 * 400 * np.arccos(0.5) - 10 * np.sqrt(1600 - 400)
    assert shared_area(first, second) == pytest.approx(lens, rel=0.02)
    assert overlap(first, second) == pytest.approx(lens / (np.pi * 400), rel=0.02)
    assert overlap(first, far) == 0
