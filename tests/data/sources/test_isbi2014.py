import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from gains.data.sources.isbi2014 import ISBI2014
from gains.errors import InputError
from helpers.sources import SIZE, dense


def cells(values: list[Any]) -> Any:
    """A MATLAB cell array of one column."""
    array = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        array[index, 0] = value
    return array


def write_pair(folder: Path, stem: str, prefix: str, images: list[Any], masks: list[Any], nuclei: list[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{stem}.mat", {"Images": cells(images), "unrelated": np.eye(2)})
    truth = {f"{prefix}_Cytoplasm": cells([cells(group) for group in masks]), f"{prefix}_Nuclei": cells(nuclei)}
    scipy.io.savemat(folder / f"{stem}_GT.mat", truth | {"CellNum": np.ones((len(images), 1))})


@pytest.fixture
def nuclei() -> Any:
    """Two nuclei, the second of pixels that touch by their corners only."""
    mask = np.zeros(SIZE, np.uint8)
    mask[4:6, 4:7] = 1
    mask[12, 12] = mask[13, 13] = 1
    return mask


def test_cytoplasm_overlaps_and_nuclei_are_components(tmp_path: Path, masks: Any, pixels: Any, nuclei: Any) -> None:
    write_pair(tmp_path, "isbi_train", "train", [pixels, pixels.T], [masks, [masks[0].T]], [nuclei, nuclei.T])
    first, second = ISBI2014(tmp_path)
    assert (first.name, second.name) == ("train_001", "train_002")
    assert first.split is None
    np.testing.assert_array_equal(first.pixels, pixels)
    np.testing.assert_array_equal(second.pixels, pixels.T)
    assert [entry.category for entry in first.instances] == ["cytoplasm", "cytoplasm", "nucleus", "nucleus"]
    np.testing.assert_array_equal(dense(first)[:2], masks)
    assert [int(mask.sum()) for mask in dense(first)[2:]] == [6, 2]
    np.testing.assert_array_equal(np.any(dense(first)[2:], axis=0), nuclei)
    np.testing.assert_array_equal(dense(second)[0], masks[0].T)


def test_one_images_file_chooses_its_pair(tmp_path: Path, masks: Any, pixels: Any, nuclei: Any) -> None:
    write_pair(tmp_path, "isbi_train", "train", [pixels], [masks], [nuclei])
    write_pair(tmp_path, "isbi_test90", "test", [pixels] * 2, [masks] * 2, [nuclei] * 2)
    assert len(ISBI2014(tmp_path)) == 3
    assert [record.name for record in ISBI2014(tmp_path / "isbi_test90.mat")] == ["val_001", "val_002"]


@pytest.mark.parametrize("with_test90", [True, False])
def test_official_division_when_all_files_are_there(tmp_path: Path, with_test90: bool) -> None:
    def pictures(count: int, offset: int) -> list[Any]:
        return [np.full((2, 3), (offset + index) % 256, np.uint8) for index in range(count)]

    def write(stem: str, prefix: str, images: list[Any]) -> None:
        mask = np.ones((2, 3), np.uint8)
        write_pair(tmp_path, stem, prefix, images, [[mask]] * len(images), [mask] * len(images))

    write("isbi_train", "train", pictures(45, 0))
    write("testset", "test", pictures(900, 100))
    if with_test90:
        write("isbi_test90", "test", pictures(90, 100))
    source = ISBI2014(tmp_path)
    records = list(source)
    assert len(source) == 945
    by_split = {split: [record for record in records if record.split == split] for split in ("train", "val", "test")}
    assert {split: len(members) for split, members in by_split.items()} == {"train": 45, "val": 90, "test": 810}
    assert by_split["val"][0].pixels[0, 0] == 100
    assert by_split["test"][0].pixels[0, 0] == 190
    assert len({record.name for record in records}) == 945


def test_training_images_alone_are_said_not_to_be_the_official_division(shared: Path, capsys: Any) -> None:
    source = ISBI2014(shared / "data/isbi2014")
    assert "not the official 45/90/810" in capsys.readouterr().out
    truth = scipy.io.loadmat(shared / "data/isbi2014/isbi_train_GT.mat")
    images = scipy.io.loadmat(shared / "data/isbi2014/isbi_train.mat")["ISBI_Train"]
    total = 0
    for index, record in enumerate(source):
        kinds = [entry.category for entry in record.instances]
        count = int(truth["CellNum"][index, 0])
        assert kinds.count("cytoplasm") == kinds.count("nucleus") == count
        total += count
        if index % 9 == 0:
            np.testing.assert_array_equal(record.pixels, images[index, 0])
            np.testing.assert_array_equal(dense(record)[:count], list(truth["train_Cytoplasm"][index, 0][:, 0]))
    assert total == 270


def write_hdf5(data: dict[str, list[Any]]) -> bytes:
    """Cell arrays as MATLAB stores them in v7.3: references to transposed arrays, or to further references."""
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        count = 0

        def store(value: Any) -> Any:
            nonlocal count
            count += 1
            name = f"#refs#/{count}"
            if isinstance(value, list):
                references = np.array([[store(part) for part in value]], dtype=h5py.ref_dtype)
                return file.create_dataset(name, data=references).ref
            return file.create_dataset(name, data=np.ascontiguousarray(value.T)).ref

        for name, value in data.items():
            file.create_dataset(name, data=np.array([[store(part) for part in value]], dtype=h5py.ref_dtype))
    return buffer.getvalue()


def test_matlab_v73(tmp_path: Path, masks: Any, pixels: Any, nuclei: Any) -> None:
    (tmp_path / "testset.mat").write_bytes(write_hdf5({"testset": [pixels, pixels]}))
    truth = {"test_Cytoplasm": [masks, masks[:1]], "test_Nuclei": [nuclei, nuclei]}
    (tmp_path / "testset_GT.mat").write_bytes(write_hdf5(truth))
    first, second = ISBI2014(tmp_path)
    np.testing.assert_array_equal(first.pixels, pixels)
    np.testing.assert_array_equal(dense(first)[:2], masks)
    assert len(second.instances) == 3


def test_matlab_v73_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    for name in ("testset.mat", "testset_GT.mat"):
        (tmp_path / name).write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match=r"testset\.mat is a MATLAB v7\.3 .* pip install h5py"):
        ISBI2014(tmp_path)


def test_unsound_files_are_named(tmp_path: Path, masks: Any, pixels: Any, nuclei: Any) -> None:
    with pytest.raises(InputError, match="no images file with its ground truth"):
        ISBI2014(tmp_path)
    write_pair(tmp_path, "isbi_train", "train", [pixels, pixels], [masks], [nuclei])
    with pytest.raises(InputError, match=r"isbi_train_GT\.mat has ground truth of 1 images"):
        ISBI2014(tmp_path)
    write_pair(tmp_path, "isbi_train", "train", [pixels], [[masks[0].T]], [nuclei])
    with pytest.raises(InputError, match=r"isbi_train_GT\.mat: a cytoplasm mask of image 1 has another size"):
        list(ISBI2014(tmp_path))
    (tmp_path / "isbi_train.mat").write_bytes((tmp_path / "isbi_train.mat").read_bytes()[:300])
    with pytest.raises(InputError, match=r"isbi_train\.mat is not a readable MATLAB file"):
        ISBI2014(tmp_path)
    (tmp_path / "isbi_train_GT.mat").unlink()
    with pytest.raises(InputError, match=r"isbi_train\.mat has no ground truth beside it"):
        ISBI2014(tmp_path)
