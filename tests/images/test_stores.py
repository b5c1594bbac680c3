"""OME-Zarr stores that zarr wrote, and vendors' files through stand-ins for their readers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from gains.errors import InputError
from gains.formats.archives import open_files
from gains.images import vendor, zarr_store
from gains.images.files import open_rasters, read_image
from gains.images.options import ReadOptions

zarr = pytest.importorskip("zarr")

RNG = np.random.default_rng(11)
STACK = RNG.integers(1, 60000, (2, 3, 61, 83), dtype=np.uint16)


def axes_of(names: str) -> list[dict[str, str]]:
    kinds = {"t": "time", "c": "channel"}
    return [{"name": name, "type": kinds.get(name, "space")} for name in names]


def write_image(group: Any, pixels: npt.NDArray[Any], names: str, version: str) -> None:
    """A pyramid of two levels in a group, with the metadata of NGFF 0.4 or 0.5."""
    for level, step in enumerate((1, 2)):
        part = pixels[..., ::step, ::step]
        chunks = (*[1] * (pixels.ndim - 2), 32, 32)
        array = group.create_array(str(level), shape=part.shape, chunks=chunks, dtype=part.dtype)
        array[:] = part
    datasets = [{"path": str(level), "coordinateTransformations": []} for level in range(2)]
    entry = {"axes": axes_of(names), "datasets": datasets, "name": "image"}
    set_ome(group, {"multiscales": [entry]}, version)


def set_ome(group: Any, content: dict[str, Any], version: str) -> None:
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **content}
    else:
        group.attrs.update(content)


def root(path: Path, version: str) -> Any:
    return zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_planes_and_channels_of_a_store(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.ome.zarr"
    write_image(root(path, version), STACK, "tcyx", version)
    rasters = open_rasters(path, ReadOptions([2]))
    assert [raster.size for raster in rasters] == [(61, 83)] * 2
    for time, raster in enumerate(rasters):
        np.testing.assert_array_equal(raster.read((5, 7, 70, 61)), STACK[time, 2, 7:, 5:70])
    [_, second] = open_rasters(path)
    np.testing.assert_array_equal(second.read((0, 0, 83, 61)), np.moveaxis(STACK[1], 0, 2))
    with pytest.raises(InputError, match=r"channels=\[3\].*3 channels"):
        open_rasters(path, ReadOptions([3]))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_single_plane_is_an_image_to_prepare(tmp_path: Path, version: str) -> None:
    write_image(root(tmp_path / "in/a.zarr", version), STACK[0, 0], "yx", version)
    write_image(root(tmp_path / "in/b.zarr", version), STACK[0, 1:3], "cyx", version)
    files = open_files(tmp_path / "in")
    assert files.names == ["a.zarr", "b.zarr"]
    np.testing.assert_array_equal(read_image(files.source("a.zarr")), STACK[0, 0])
    with pytest.raises(InputError, match=r"b\.zarr has 2 channels; choose"):
        read_image(files.source("b.zarr"))
    np.testing.assert_array_equal(read_image(files.source("b.zarr"), ReadOptions([1])), STACK[0, 2])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_collection_and_a_plate_hold_several_images(tmp_path: Path, version: str) -> None:
    collection = root(tmp_path / "c.zarr", version)
    for number in range(2):
        write_image(collection.create_group(str(number)), STACK[number, 0], "yx", version)
    set_ome(collection, {"bioformats2raw.layout": 3}, version)
    plate = root(tmp_path / "p.zarr", version)
    set_ome(plate, {"plate": {"wells": [{"path": "A/1"}, {"path": "B/2"}]}}, version)
    for number, place in enumerate(("A/1", "B/2")):
        well = plate.create_group(place)
        set_ome(well, {"well": {"images": [{"path": "0"}]}}, version)
        write_image(well.create_group("0"), STACK[number, 1], "yx", version)
    for name, channel in (("c.zarr", 0), ("p.zarr", 1)):
        rasters = open_rasters(tmp_path / name)
        assert [raster.page for raster in rasters] == [1, 2]
        for number, raster in enumerate(rasters):
            np.testing.assert_array_equal(raster.read((0, 0, 83, 61)), STACK[number, channel])


def test_only_the_chunks_of_a_region_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_image(root(path, "0.4"), STACK[0, 0], "yx", "0.4")
    for chunk in path.glob("0/*"):
        if chunk.name[0].isdigit() and chunk.name != "0.0":
            chunk.write_bytes(b"damaged")
    [raster] = open_rasters(path)
    np.testing.assert_array_equal(raster.read((3, 3, 30, 30)), STACK[0, 0, 3:30, 3:30])
    with pytest.raises(InputError, match=r"a\.zarr is a damaged Zarr store"):
        raster.read((3, 3, 50, 30))


def test_what_is_no_ome_zarr(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "plain.zarr"), mode="w").create_array("x", shape=(4, 4), dtype="u1")
    with pytest.raises(InputError, match=r"plain\.zarr has no multiscales entry"):
        open_rasters(tmp_path / "plain.zarr")
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(InputError, match=r"folder\.zarr is a damaged Zarr store, or not one"):
        open_rasters(tmp_path / "folder.zarr")
    write_image(root(tmp_path / "cut.zarr", "0.4"), STACK[0, 0], "yx", "0.4")
    metadata = json.loads((tmp_path / "cut.zarr/.zattrs").read_text())
    metadata["multiscales"][0]["datasets"][0]["path"] = "../elsewhere"
    (tmp_path / "cut.zarr/.zattrs").write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=r"cut\.zarr is a damaged Zarr store"):
        open_rasters(tmp_path / "cut.zarr")


def test_a_chunk_that_claims_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = root(path, "0.4")
    group.create_array("0", shape=(50_000, 50_000), chunks=(50_000, 50_000), dtype="u1")
    set_ome(group, {"multiscales": [{"axes": axes_of("yx"), "datasets": [{"path": "0"}]}]}, "0.4")
    with pytest.raises(InputError, match=r"50000x50000 pixels to be decoded in one piece, more than max_pixels"):
        open_rasters(path)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zarr").mkdir()
    for name in ("a.czi", "a.nd2"):
        (tmp_path / name).write_bytes(b"vendor")
    monkeypatch.setattr(zarr_store, "zarr", None)
    monkeypatch.setattr(vendor, "nd2", None)
    monkeypatch.setattr(vendor, "czifile", None)
    with pytest.raises(InputError, match=r"a\.zarr is a Zarr store; to read it: pip install 'gains\[zarr\]'"):
        open_rasters(tmp_path / "a.zarr")
    for name in ("a.czi", "a.nd2"):
        with pytest.raises(InputError, match=rf"{name} is a .* file; to read it: pip install 'gains\[vendor\]'"):
            open_rasters(tmp_path / name)


class Voxel(NamedTuple):
    """In micrometres, as ``nd2`` has it."""

    x: float
    y: float
    z: float


class FakeNd2:
    """As ``nd2.ND2File``: sizes without axes of length 1, frames in the order of the loops."""

    def __init__(self, path: Path) -> None:
        if path.read_bytes() == b"damaged":
            raise ValueError("not a valid ND2")
        self.pixels = STACK
        self.sizes = {"P": 2, "C": 3, "Y": 61, "X": 83}

    def read_frame(self, frame_index: int) -> npt.NDArray[Any]:
        return self.pixels[frame_index]  # type: ignore[no-any-return]

    def voxel_size(self) -> "Voxel":
        if self.pixels is not STACK:
            raise KeyError("no metadata")
        return Voxel(0.325, 0.325, 1.5)

    def close(self) -> None:
        pass


def test_nd2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "nd2", SimpleNamespace(ND2File=FakeNd2))
    (tmp_path / "a.nd2").write_bytes(b"sound")
    rasters = open_rasters(tmp_path / "a.nd2", ReadOptions([2, 0]))
    assert len(rasters) == 2
    region = rasters[1].read((3, 5, 80, 60))
    np.testing.assert_array_equal(region[:, :, 0], STACK[1, 2, 5:60, 3:80])
    np.testing.assert_array_equal(region[:, :, 1], STACK[1, 0, 5:60, 3:80])
    assert {raster.pixel_size_um for raster in rasters} == {0.325}
    (tmp_path / "b.nd2").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"b\.nd2 is a damaged file.*not a valid ND2"):
        open_rasters(tmp_path / "b.nd2")


CZI_XML = """<ImageDocument><Metadata><Scaling><Items>
<Distance Id="X"><Value>6.5E-08</Value></Distance><Distance Id="Y"><Value>6.5E-08</Value></Distance>
<Distance Id="Z"><Value>3E-07</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""


class FakeCzi:
    """As ``czifile.CziFile`` before 2026: one array of all scenes (S), its samples called 0."""

    axes = "BSCYX0"

    def __init__(self, path: Path) -> None:
        self.pixels = STACK[None, ..., None]
        self.shape = self.pixels.shape

    def __enter__(self) -> "FakeCzi":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def asarray(self) -> npt.NDArray[Any]:
        return self.pixels

    def metadata(self) -> str:
        return CZI_XML


class FakeCziOfScenes(FakeCzi):
    """As ``czifile.CziFile`` from 2026 on: a mapping of scenes."""

    def __init__(self, path: Path) -> None:
        self.scenes = {
            number: SimpleNamespace(axes="CYX", shape=scene.shape, asarray=lambda scene=scene: scene)
            for number, scene in enumerate(STACK)
        }


@pytest.mark.parametrize("reader", [FakeCzi, FakeCziOfScenes])
def test_czi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: type) -> None:
    monkeypatch.setattr(vendor, "czifile", SimpleNamespace(CziFile=reader))
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    rasters = open_rasters(tmp_path / "a.czi", ReadOptions([1]))
    assert [raster.page for raster in rasters] == [1, 2]
    np.testing.assert_array_equal(rasters[1].read((3, 5, 80, 60)), STACK[1, 1, 5:60, 3:80])
    assert [raster.pixel_size_um for raster in rasters] == [pytest.approx(0.065)] * 2
    with pytest.raises(InputError, match=r"a\.czi has .*max_pixels=100;"):
        open_rasters(tmp_path / "a.czi", ReadOptions(max_pixels=100))


@pytest.mark.parametrize("xml", ["", "<broken", "<ImageDocument/>", CZI_XML.replace("6.5E-08", ""), None])
def test_metadata_that_say_nothing_of_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xml: Any) -> None:
    monkeypatch.setattr(vendor, "czifile", SimpleNamespace(CziFile=FakeCzi))
    monkeypatch.setattr(FakeCzi, "metadata", lambda self: xml)
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    assert [raster.pixel_size_um for raster in open_rasters(tmp_path / "a.czi")] == [None] * 2
    monkeypatch.setattr(vendor, "nd2", SimpleNamespace(ND2File=FakeNd2))
    monkeypatch.delattr(FakeNd2, "voxel_size")
    (tmp_path / "a.nd2").write_bytes(b"sound")
    assert {raster.pixel_size_um for raster in open_rasters(tmp_path / "a.nd2")} == {None}


def scale_of(*factors: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(factors)}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("unit", "own", "common", "expected"),
    [
        ("micrometer", [scale_of(1, 0.25, 0.25)], None, 0.25),
        ("nanometer", [scale_of(1, 250, 250), {"type": "translation", "translation": [0, 9, 9]}], [], 0.25),
        ("micrometer", [scale_of(1, 1, 1)], [scale_of(1, 0.65, 0.65)], 0.65),
        ("millimeter", [scale_of(1, 2, 2)], [scale_of(1, 1e-4, 1e-4)], 0.2),
        ("micrometer", [scale_of(1, 0.2, 0.4)], None, None),
        ("micrometer", [], None, None),
        ("micrometer", [scale_of(1, 72, 72)], None, None),
        ("parsec", [scale_of(1, 0.25, 0.25)], None, None),
        (None, [scale_of(1, 0.25, 0.25)], None, None),
        ("micrometer", [{"type": "scale", "path": "scales"}], None, None),
    ],
)
def test_transformations_and_units_tell_the_side_of_a_pixel(
    tmp_path: Path, version: str, unit: Any, own: Any, common: Any, expected: float | None
) -> None:
    group = root(tmp_path / "a.ome.zarr", version)
    write_image(group, STACK[0], "cyx", version)
    axes = [axis | ({"unit": unit} if unit and axis["type"] == "space" else {}) for axis in axes_of("cyx")]
    coarse = [scale_of(1, 8, 8)]
    datasets = [{"path": path, "coordinateTransformations": steps} for path, steps in (("0", own), ("1", coarse))]
    entry = {"axes": axes, "datasets": datasets} | ({} if common is None else {"coordinateTransformations": common})
    set_ome(group, {"multiscales": [entry]}, version)
    [raster] = open_rasters(tmp_path / "a.ome.zarr", ReadOptions([1]))
    assert raster.pixel_size_um == (expected and pytest.approx(expected))
