"""Small archives that would fill the memory."""

import tracemalloc
import zipfile
from pathlib import Path

import pytest

from gains.data.sources.kaggle2018 import Kaggle2018
from gains.errors import InputError
from gains.formats.archives import ZipFiles, open_files
from gains.images.options import MAX_PIXELS, ReadOptions

MEBI = 2**20


def archive(path: Path, megabytes: int, content: bytes = b"\0" * MEBI) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.json", "w") as entry:
        for _ in range(megabytes):
            entry.write(content)
    return path


def test_a_zip_bomb_is_refused_unread(tmp_path: Path) -> None:
    files = open_files(archive(tmp_path / "bomb.zip", 120))
    assert isinstance(files, ZipFiles)
    assert files.path.stat().st_size < MEBI
    tracemalloc.start()
    with pytest.raises(
        InputError, match=r"bomb\.zip:a\.json expands \d+-fold to 120 MB; .* raise dataset.max_pixels or unpack"
    ):
        files.read("a.json")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MEBI


def test_the_limit_is_raised_by_a_setting(tmp_path: Path) -> None:
    files = open_files(archive(tmp_path / "meant.zip", 120), max_pixels=2 * MAX_PIXELS)
    assert len(files.read("a.json")) == 120 * MEBI
    with pytest.raises(InputError, match="expands"):
        open_files(tmp_path / "meant.zip", max_pixels=1).read("a.json")
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as file:
        file.writestr("a/images/a.png", b"")
        file.writestr("a/masks/b.png", b"")
    source = Kaggle2018(tmp_path / "source.zip", ReadOptions(max_pixels=3 * MAX_PIXELS))
    assert isinstance(source.files, ZipFiles)
    assert source.files.most_bytes == 3 * 2**26


def test_small_files_and_such_as_compress_less_are_read(tmp_path: Path) -> None:
    assert len(open_files(archive(tmp_path / "small.zip", 20)).read("a.json")) == 20 * MEBI
    stored = tmp_path / "stored.zip"
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.json", b"\0" * (70 * MEBI))
    assert len(open_files(stored).read("a.json")) == 70 * MEBI
