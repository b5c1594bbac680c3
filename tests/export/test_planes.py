"""Planes of a stack carry their place in every format that has one."""

import json
from pathlib import Path

import numpy as np
import pytest

from gains.export.export import Export
from gains.export.formats import save
from gains.images.raster import ArrayRaster
from helpers.checked import rois_of
from helpers.nested import nested


def test_pages_carry_their_position(tmp_path: Path) -> None:
    [rois, geojson] = save(Export(nested(), page=3), tmp_path, "stack_p003", ["imagej", "geojson"])
    assert [roi.position for roi in rois_of(rois)] == [3, 3, 3]
    features = json.loads(geojson.read_text())["features"]
    assert [feature["geometry"]["plane"]["t"] for feature in features] == [2, 2, 2]


class Plane(ArrayRaster):
    """A plane of a stack."""

    def __init__(self, **position: int) -> None:
        super().__init__(np.zeros((40, 60), np.uint8))
        self.position = position


@pytest.mark.parametrize(
    ("position", "roi_at", "plane"),
    [
        ({"Z": 4}, (5, 0, 0), {"c": -1, "z": 4, "t": 0}),
        ({"T": 4}, (5, 0, 0), {"c": -1, "z": 0, "t": 4}),
        ({"I": 4}, (5, 0, 0), {"c": -1, "z": 0, "t": 4}),
        ({"T": 2, "Z": 1}, (0, 2, 3), {"c": -1, "z": 1, "t": 2}),
        ({"T": 4, "C": 1}, (0, 1, 5), {"c": -1, "z": 0, "t": 4}),
    ],
)
def test_planes_by_axis(
    tmp_path: Path, position: dict[str, int], roi_at: tuple[int, int, int], plane: dict[str, int]
) -> None:
    export = Export(nested(), Plane(**position), page=5)
    rois, geojson = save(export, tmp_path, "plane", ["imagej", "geojson"])
    for roi in rois_of(rois):
        assert (roi.position, roi.z_position, roi.t_position) == roi_at
    for feature in json.loads(geojson.read_text())["features"]:
        assert feature["geometry"]["plane"] == plane


def test_a_file_of_one_image_has_no_position(tmp_path: Path) -> None:
    rois, geojson, coco = save(Export(nested(), Plane(T=0)), tmp_path, "one", ["imagej", "geojson", "coco"])
    assert {(roi.position, roi.z_position, roi.t_position) for roi in rois_of(rois)} == {(0, 0, 0)}
    assert "plane" not in json.loads(geojson.read_text())["features"][0]["geometry"]
    assert "page" not in json.loads(coco.read_text())["images"][0]
