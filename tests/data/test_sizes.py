import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gains.data.dataset import Annotations
from gains.data.sizes import (
    Scaling,
    fitting_anchors,
    fitting_crop,
    fitting_scale,
    fitting_window,
    object_sizes,
    quantiles,
)
from gains.masks import equivalent_diameter
from helpers.annotated import write_annotations


def annotated(size: tuple[int, int], *others: dict[str, list[float]], **diameters: list[float]) -> Annotations:
    """Images "0", "1", ... with disks of the given diameters by category; the first also with a crowd region."""
    objects: dict[str, list[dict[str, Any]]] = {
        str(number): [
            {"label": label, "area": math.pi * diameter**2 / 4}
            for label, values in enumerate(of_image.values(), 1)
            for diameter in values
        ]
        for number, of_image in enumerate([diameters, *others])
    }
    objects["0"].append({"label": 1, "area": 10**6, "iscrowd": 1})
    with tempfile.TemporaryDirectory() as folder:
        return write_annotations(Path(folder), dict.fromkeys(objects, size), objects, list(diameters))


def test_the_diameter_is_that_of_a_circle() -> None:
    np.testing.assert_allclose(equivalent_diameter(np.array([math.pi, 4 * math.pi, 0])), [2, 4, 0])


def test_whole_images_shrink_their_objects_and_crops_do_not() -> None:
    annotations = annotated((1536, 1536), nucleus=[15.0] * 20, cell=[90.0] * 5)
    whole = object_sizes(annotations, Scaling(256, 1333, 256))
    np.testing.assert_allclose(whole.network["nucleus"], 2.5)
    np.testing.assert_allclose(whole.source["nucleus"], 15)
    assert whole.lines()[0].startswith("nucleus: 2, 2, 2 network pixels")
    crops = object_sizes(annotations, Scaling(256, 1333, 256, crop=True))
    np.testing.assert_allclose(crops.network["cell"], 90)
    half = object_sizes(annotations, Scaling(256, 1333, 128, crop=True))
    np.testing.assert_allclose(half.network["cell"], 45)


def test_sizes_of_some_images_leave_the_others_out() -> None:
    both = annotated((64, 64), {"cell": [99.0], "nucleus": [5.0]}, cell=[10.0, 20.0, 30.0], nucleus=[])
    sizes = object_sizes(both, Scaling(128, 1333, 128), ["0"])
    # Linear between 10, 20 and 30; the network sees 128 pixels for 64.
    assert quantiles(sizes.source) == {"cell": pytest.approx([11, 20, 29])}
    assert quantiles(sizes.network) == {"cell": pytest.approx([22, 40, 58])}
    assert not quantiles(object_sizes(both, Scaling(128, 1333, 128), []).source)


@pytest.mark.parametrize(("size", "expected"), [((100, 50), 2.56), ((2000, 100), 0.6665), ((512, 300), 1.0)])
def test_scales_of_whole_images(size: tuple[int, int], expected: float) -> None:
    short = 300 if expected == 1 else 128
    assert Scaling(short, 1333, short).factor(size) == pytest.approx(expected, rel=0.01)


def test_crops_are_suggested_where_objects_become_too_small_only() -> None:
    small = annotated((1536, 1536), nucleus=[15.0] * 20, cell=[90.0] * 5)
    crop = fitting_crop(object_sizes(small, Scaling(256, 1333, 256)), 1536)
    assert crop is not None
    assert crop % 32 == 0
    assert crop >= 4 * 90
    large = annotated((1536, 1536), cell=[300.0] * 5)
    assert fitting_crop(object_sizes(large, Scaling(256, 1333, 256)), 1536) is None
    # Small on disk already: a crop would not help.
    tiny = annotated((256, 256), nucleus=[5.0])
    assert fitting_crop(object_sizes(tiny, Scaling(256, 1333, 256)), 256) is None


@pytest.mark.parametrize(("diameter", "finest"), [(2.0, 8), (9.0, 8), (15.0, 16), (33.0, 32), (500.0, 64)])
def test_anchors_start_at_the_small_objects_and_double(diameter: float, finest: int) -> None:
    sizes = object_sizes(annotated((256, 256), cell=[diameter] * 3 + [200.0]), Scaling(256, 1333, 256))
    assert fitting_anchors(sizes) == [finest * 2**level for level in range(5)]


def test_gamms_window_is_a_tenth_to_a_twentieth_of_the_target_category_in_the_image() -> None:
    sizes = object_sizes(annotated((1024, 1024), nucleus=[30.0] * 9, cell=[150.0] * 3), Scaling(256, 1333, 256))
    window = fitting_window(sizes, "cell")
    assert window is not None
    assert 150 / 20 <= window <= 150 / 10
    assert fitting_window(sizes, None) == 3  # most are nuclei; smaller windows hold nothing


@pytest.mark.parametrize(
    ("diameters", "factor"),
    [([20.0], None), ([14.0, 200.0], None), ([8.0, 200.0], 2.0), ([4.0], 2.0), ([96.0, 300.0], 0.5), ([60.0], None)],
)
def test_a_scale_is_suggested_by_the_smallest_category(diameters: list[float], factor: float | None) -> None:
    categories = {f"kind{index}": [diameter] * 3 for index, diameter in enumerate(diameters)}
    assert fitting_scale(object_sizes(annotated((256, 256), **categories), Scaling(256, 1333, 256))) == (
        None if factor is None else pytest.approx(factor)
    )


def test_without_an_object_nothing_is_said() -> None:
    sizes = object_sizes(annotated((64, 64), cell=[]), Scaling(256, 1333, 256))
    assert (sizes.lines(), fitting_window(sizes, None), fitting_crop(sizes, 64)) == ([], None, None)
    assert len(fitting_anchors(sizes)) == 5
