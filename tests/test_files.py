import errno
import os
from pathlib import Path

import pytest

from gains.errors import InputError
from gains.files import replacing, replacing_folder


def test_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"two {1 / 0}")
    assert path.read_text() == "one"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "細" * 85])
def test_longest_names_that_a_file_system_takes(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("whole")
    assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path, number: int) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(InputError, match=r"a cannot be written: the disk is full"), replacing(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert (tmp_path / "a").read_text() == "old"


def test_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for text in ("one", "two"):
        with replacing_folder(root) as partial:
            (partial / "a").write_text(text)
    with pytest.raises(ZeroDivisionError), replacing_folder(root) as partial:
        (partial / "a").write_text(f"three {1 / 0}")
    assert (root / "a").read_text() == "two"
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("count", [3, 40])
def test_a_folder_gets_its_name_when_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    waited: list[str] = []
    fsync, sync = os.fsync, os.sync

    def one(number: int) -> None:
        waited.append("file")
        fsync(number)

    def everything() -> None:
        waited.append("all")
        sync()

    monkeypatch.setattr(os, "fsync", one)
    monkeypatch.setattr(os, "sync", everything)
    rename = os.rename

    def renamed(source: Path, target: Path) -> None:
        assert waited == (["file"] * count if count < 16 else ["all"])
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    with replacing_folder(tmp_path / "root") as partial:
        for number in range(count):
            (partial / str(number)).write_text("bytes")
    assert len(list((tmp_path / "root").iterdir())) == count
