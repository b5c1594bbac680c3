"""Which files are inputs, and what their results are called."""

from pathlib import Path

from gains.images.notes import Notes
from gains.prediction.inputs import find_images, page_name


def test_names_of_nested_and_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a/x.png", "a/x.tif", "b/y.v2.png", "z.png")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    (tmp_path / "link.png").symlink_to(tmp_path / "z.png")
    found = find_images(f"{tmp_path}/**/*", tmp_path / "results", Notes())
    assert {source.name: source.path.name for source in found} == {
        "a/x_png": "x.png",
        "a/x_tif": "x.tif",
        "b/y.v2": "y.v2.png",
        "link": "link.png",
        "z": "z.png",
    }


def test_names_that_would_collide(tmp_path: Path) -> None:
    names = ["a.png", "a.bmp", "a_bmp.png", "measurements.png", "records/b.png", "records.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = find_images(f"{tmp_path}/**/*", tmp_path / "results", Notes())
    assert sorted(source.relative for source in found) == sorted(names)
    assert len({source.name for source in found}) == len(names)
    assert "measurements" not in {source.name for source in found}
    assert page_name("m", 1, {"m", "m_p001"}) not in {"m", "m_p001"}
    assert page_name("m", 1, {"m"}) == "m_p001"


def test_an_input_that_is_only_called_like_a_result(tmp_path: Path) -> None:
    (tmp_path / "my.labels.tif").write_bytes(b"")
    [source] = find_images(str(tmp_path), tmp_path, Notes())
    assert source.name == "my.labels"


def test_names_are_those_below_the_folder_that_is_searched(tmp_path: Path) -> None:
    """They do not change when a second folder gets images."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.png").write_bytes(b"")
    (tmp_path / "a" / "b" / "x.tif").write_bytes(b"")
    first, second = find_images(f"{tmp_path}/*/b/*", tmp_path / "out", Notes())
    assert (first.name, first.relative) == ("a/b/x_png", "a/b/x.png")
    assert (second.name, second.relative) == ("a/b/x_tif", "a/b/x.tif")
