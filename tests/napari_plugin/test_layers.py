from pathlib import Path

import numpy as np
import pytest
import shapely

from gains.data.sources.drawings import Drawings
from gains.errors import InputError
from gains.export.outlines import outlines
from gains.images.files import read_image
from gains.napari.corrections import file_stem, save_corrections
from gains.napari.layers import CATEGORY, PLANE, corrected, result_layers, shown_plane
from gains.rle import decode_crop
from helpers.blob_finder import blob_predictor, draw_disks

SIZE = (60, 80)


def scene() -> tuple[np.ndarray, list[np.ndarray]]:  # type: ignore[type-arg]
    """Two red disks apart, a green one over the first."""
    image, red = draw_disks(SIZE, [(20, 20, 10), (60, 30, 12)])
    image, green = draw_disks(SIZE, [(28, 22, 7)], channel=1, start=image)
    return image, [*red, *green]


def test_each_category_has_its_layer_and_labels_are_ids() -> None:
    image, masks = scene()
    found = blob_predictor().predict(image)
    made = result_layers(found, image, "slide", {PLANE: "here"}, {"scale": (2, 2)})
    assert [(kind, arguments["name"]) for _, arguments, kind in made] == [
        ("labels", "slide: nucleus"),
        ("labels", "slide: cytoplasm"),
        ("shapes", "slide: outlines"),
    ]
    for data, arguments, _ in made[:2]:
        assert arguments["metadata"] == {PLANE: "here", CATEGORY: arguments["name"].split(": ")[1]}
        assert arguments["scale"] == (2, 2)
        for row in arguments["features"].itertuples():
            assert np.array_equal(data == row.index, found.mask(row.id - 1))
            assert row.area == (data == row.index).sum()
    assert sum(len(arguments["features"]) for _, arguments, _ in made[:2]) == len(masks) == 3


def test_overlaps_within_a_category_go_into_another_layer() -> None:
    disks = [disk(20, 20, 10), disk(28, 20, 10), disk(60, 30, 5)]
    instances = corrected([("painted", each, None) for each in disks], SIZE)
    made = result_layers(instances, np.zeros(SIZE, np.uint8), "image")
    assert [arguments["name"] for _, arguments, _ in made] == ["image: cell", "image: cell 2", "image: outlines"]
    assert [sorted(set(np.unique(data)) - {0}) for data, _, _ in made[:2]] == [[1, 3], [2]]
    table = made[2][1]["features"]
    assert table["overlap_neighbours"].tolist() == [1, 1, 0]


def test_outlines_lie_on_the_objects_within_a_pixel() -> None:
    image, _ = scene()
    found = blob_predictor().predict(image)
    lines, arguments, _ = result_layers(found, image, "image")[-1]
    assert len(lines) == len(found) == len(arguments["features"])
    for index, line in enumerate(lines):
        drawn = shapely.Polygon(line)
        assert drawn.area == pytest.approx(found.mask(index).sum(), rel=0.1)
        rows, columns = np.nonzero(found.mask(index))
        assert drawn.centroid.x == pytest.approx(rows.mean(), abs=0.3)
        assert drawn.centroid.y == pytest.approx(columns.mean(), abs=0.3)
        assert len(line) < 0.7 * len(shapely.get_coordinates(outlines(found)[index]))


@pytest.mark.parametrize(
    ("shape", "is_rgb", "step", "place"),
    [
        ((5, 6), False, (0, 0), ()),
        ((5, 6, 3), True, (0, 0), ()),
        ((4, 5, 6), False, (2, 0, 0), (2,)),
        ((4, 5, 6, 3), True, (2, 0, 0), (2,)),
        ((4, 5, 6), False, (7, 3, 1, 1), (3,)),  # another layer has an axis more
        ((5, 6), False, (7, 3, 1, 1), ()),
        ((4, 5, 6), False, (9, 1, 1), (3,)),  # another layer is a longer stack
    ],
)
def test_the_plane_on_the_screen(
    shape: tuple[int, ...], is_rgb: bool, step: tuple[int, ...], place: tuple[int, ...]
) -> None:
    data = np.arange(np.prod(shape)).reshape(shape)
    pixels, found = shown_plane(data, is_rgb, step, "stack")
    assert found == place
    assert np.array_equal(pixels, data[place])


def test_a_line_is_no_image() -> None:
    with pytest.raises(InputError, match=r"'line' has shape \(9,\)"):
        shown_plane(np.zeros(9), False, (0,), "line")


def disk(x: float, y: float, radius: float, value: int = 1) -> np.ndarray:  # type: ignore[type-arg]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return np.where(mask, value, 0).astype(np.uint16)


def test_corrections_come_back_from_disk_as_they_were_painted(tmp_path: Path) -> None:
    """Overlaps, two categories, an object in two pieces with a hole: through the reader that ``prepare`` uses."""
    image = np.random.default_rng(0).integers(0, 60000, SIZE).astype(np.uint16)
    torn = disk(20, 20, 10, 7) - disk(20, 20, 3, 7) + disk(70, 50, 4, 7)
    first, second, nucleus = torn + disk(50, 20, 8, 2), disk(26, 20, 9), disk(50, 20, 3)
    painted = [("cells", first, "cell"), ("more", second, "cell"), ("n", nucleus, "nucleus")]
    instances = corrected(painted, SIZE)
    path = save_corrections(tmp_path / "new", "my slide/1", image, instances)
    assert sorted(file.name for file in path.parent.iterdir()) == ["my_slide_1.geojson", "my_slide_1.tif"]
    [record] = Drawings(path.parent)
    assert np.array_equal(record.pixels, image)
    expected = [("cell", first == 2), ("cell", first == 7), ("cell", second > 0), ("nucleus", nucleus > 0)]
    assert len(record.instances) == 4
    for instance, (category, mask) in zip(record.instances, expected, strict=True):
        crop, (x0, y0, x1, y1) = decode_crop(instance.mask)
        full = np.zeros(SIZE, bool)
        full[y0:y1, x0:x1] = crop
        assert instance.category == category
        assert np.array_equal(full, mask)


def test_saving_again_replaces_and_another_image_is_refused(tmp_path: Path) -> None:
    image = np.full(SIZE, 0.5)
    save_corrections(tmp_path, "a", image, corrected([("l", disk(20, 20, 5), None)], SIZE))
    save_corrections(tmp_path, "a", image, corrected([("l", disk(20, 20, 5) + disk(50, 20, 5, 2), None)], SIZE))
    [record] = Drawings(tmp_path)
    assert len(record.instances) == 2
    with pytest.raises(InputError, match=r"a\.tif holds another image; rename the layer 'a'"):
        save_corrections(tmp_path, "a", image + 1, corrected([("l", disk(20, 20, 5), None)], SIZE))
    assert read_image(tmp_path / "a.tif").max() == 0.5


def test_a_layer_without_category_takes_the_only_one_and_is_refused_between_two() -> None:
    one = corrected([("a", disk(20, 20, 5), "nucleus"), ("mine", disk(50, 20, 5), None)], SIZE)
    assert (one.categories, one.labels.tolist()) == (["nucleus"], [1, 1])
    layers = [("a", "nucleus"), ("b", "cell"), ("mine", None)]
    with pytest.raises(InputError, match=r"'mine' does not say whether it holds nucleus or cell"):
        corrected([(name, disk(9, 9, 5), known) for name, known in layers], SIZE)


def test_what_cannot_be_saved_says_why() -> None:
    with pytest.raises(InputError, match="no labels layer"):
        corrected([], SIZE)
    with pytest.raises(InputError, match=r"'small' has shape \(3, 3\), its image \(60, 80\)"):
        corrected([("small", np.ones((3, 3), np.uint8), None)], SIZE)


def test_names_of_layers_become_names_of_files() -> None:
    assert [file_stem(name) for name in ("a b", "../x", "Zelle ä.1", "///")] == ["a_b", "x", "Zelle_ä.1", "image"]
