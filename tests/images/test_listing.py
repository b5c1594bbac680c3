"""Which files a folder's listing takes, and what is said of the others."""

from pathlib import Path, PurePosixPath

from gains.formats.archives import open_files
from gains.images.listing import note_others
from gains.images.notes import Notes
from gains.prediction.inputs import find_images


def test_stores_are_images_and_what_lies_in_them_is_not(tmp_path: Path) -> None:
    for name in ("a.tif", "b.ome.zarr/0/0.0.png", "deep/c.ZARR/x.tif", "deep/d.czi", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    notes = Notes()
    found = find_images(f"{tmp_path}/**/*", tmp_path / "out", notes)
    assert sorted(source.relative for source in found) == ["a.tif", "b.ome.zarr", "deep/c.ZARR", "deep/d.czi"]
    assert [source.relative for source in find_images(str(tmp_path / "b.ome.zarr"), tmp_path / "out", notes)] == [
        "b.ome.zarr"
    ]
    assert [source.relative for source in find_images(str(tmp_path), tmp_path / "out", notes)] == [
        "a.tif",
        "b.ome.zarr",
    ]
    assert notes.lines() == []
    assert open_files(tmp_path).names == ["a.tif", "b.ome.zarr", "deep/c.ZARR", "deep/d.czi", "notes.txt"]


def test_images_that_are_not_looked_for_are_named_once_for_each_suffix() -> None:
    notes = Notes()
    files = [PurePosixPath(name) for name in ("p/a.lif", "p/b.LIF", "p/c.gif", "p/.d.lif", "p/e.csv", "p/f.czi")]
    note_others(files, notes)
    assert notes.lines() == [
        "p/a.lif (and 1 more): .lif files are left out; save them as TIFF or PNG",
        "p/c.gif: .gif files are left out; save them as TIFF or PNG",
    ]
    note_others(files, notes, also=(".czi",))
    assert notes.lines()[-1] == "p/f.czi: .czi files are left out; save them as TIFF or PNG"
