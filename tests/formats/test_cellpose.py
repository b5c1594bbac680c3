"""``_seg.npy`` files: read where they hold arrays, refused where they ask for more."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gains.errors import InputError
from gains.formats.cellpose import read_seg
from gains.formats.plain_pickle import load_pickled_npy


def npy(value: Any, protocol: int = 4) -> bytes:
    """What ``np.save`` of a dictionary writes, by any protocol."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    held = np.empty((), dtype=object)
    held[()] = value
    return stream.getvalue() + pickle.dumps(held, protocol=protocol)


def labels() -> Any:
    values = np.zeros((6, 9), np.uint16)
    values[1:3, 2:5], values[4:, 6:] = 4, 9
    return values


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_beside_what_else_is_kept(protocol: int, order: Any) -> None:
    content = {
        "masks": np.asarray(labels(), order=order),
        "filename": "/data/a.tif",
        "flows": [np.zeros((6, 9, 3), np.float32), [], None],
        "ismanual": np.array([True, False]),
        "est_diam": np.float64(12.5),
        "chan_choose": (0, 1),
        "zdraw": {None, 1},
    }
    np.testing.assert_array_equal(read_seg(npy(content, protocol), "a_seg.npy"), labels())


def test_a_file_of_numpy_itself(tmp_path: Path) -> None:
    np.save(tmp_path / "a_seg.npy", {"masks": labels()[None]}, allow_pickle=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_seg((tmp_path / "a_seg.npy").read_bytes(), "a"), labels())


class Calls:
    """Runs a function where it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


HOSTILE = {
    "shell": lambda mark: Calls(os.system, f"touch {mark}"),
    "eval": lambda mark: Calls(eval, f"open({str(mark)!r}, 'w').close()"),
    "large": lambda mark: Calls(np.zeros, (2**40,)),
    "attribute": lambda mark: Calls(getattr, "x", "upper"),
    "numpy loads": lambda mark: Calls(np.load, str(mark)),
    "numpy writes": lambda mark: Calls(np.savetxt, str(mark), [1]),
    "file": lambda mark: Calls(Path, str(mark)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("nested", [False, True])
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path: Path, kind: str, nested: bool) -> None:
    mark = tmp_path / "mark"
    evil = HOSTILE[kind](mark)
    held = np.empty(1, dtype=object)
    held[0] = evil
    data = npy({"masks": labels(), "flows": [held]} if nested else evil)
    with pytest.raises(InputError, match=r"a_seg\.npy is not read: it asks for"):
        load_pickled_npy(data, "a_seg.npy")
    assert not mark.exists()


def test_dotted_names_lead_nowhere() -> None:
    """Protocol 4 may ask for an attribute of an attribute."""
    header = npy({})[: npy({}).index(b"\n") + 1]
    data = header + b"\x80\x04\x8c\x05numpy\x8c\x12ndarray.__base__.x\x93."
    with pytest.raises(InputError, match="a is not read"):
        load_pickled_npy(data, "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has no masks"),
        ([1], "has no masks"),
        ({"masks": labels() / 2}, "has no masks"),
        ({"masks": np.zeros((3, 6, 9), np.uint16)}, "a volume of 3 planes; save each plane"),
        ({"masks": np.zeros((2, 3, 6, 9), np.uint16)}, r"shape \(2, 3, 6, 9\)"),
        ({"masks": labels().astype(np.int32) - 1}, "outside 0"),
    ],
)
def test_files_without_masks_of_one_image(content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_seg(npy(content), "a_seg.npy")


@pytest.mark.parametrize("cut", [0, 5, 40, 130, 200])
def test_damaged_files(cut: int) -> None:
    with pytest.raises(InputError, match="a is not read"):
        read_seg(npy({"masks": labels()})[:cut], "a")


def test_an_array_cannot_ask_for_memory_that_the_file_does_not_fill() -> None:
    with pytest.raises(InputError, match="a is not read"):
        load_pickled_npy(npy({"masks": Calls(np.ndarray, (2**42,))}), "a")
