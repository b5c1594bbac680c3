import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gains.data.splits import load_splits, read_groups, split_by_fold, split_by_ratio
from gains.errors import InputError

NAMES = [f"image_{index:03d}" for index in range(45)]


def everything(splits: dict[str, list[str]]) -> list[str]:
    return sorted(name for names in splits.values() for name in names)


def test_ratios_are_met_exactly_where_they_divide_the_images() -> None:
    sizes = {split: len(names) for split, names in split_by_ratio(NAMES, 1, [6, 2, 2]).items()}
    assert sizes == {"train": 27, "val": 9, "test": 9}


def test_division_of_seed_1_is_pinned() -> None:
    """Worked out by hand from sha256sum of 1:0 to 1:9, whose order is 7 4 8 6 5 2 3 0 9 1."""
    splits = split_by_ratio([f"{index}" for index in range(10)], 1, [6, 2, 2])
    assert splits == {"train": ["1", "2", "3", "4", "5", "7"], "val": ["0", "8"], "test": ["6", "9"]}


def test_division_survives_another_process_with_another_hash_seed() -> None:
    code = (
        "from gains.data.splits import split_by_ratio; import json;"
        "print(json.dumps(split_by_ratio([f'image_{i:03d}' for i in range(44, -1, -1)], 1, [6, 2, 2])))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert json.loads(output.stdout) == split_by_ratio(NAMES, 1, [6, 2, 2])


def test_another_seed_gives_another_division() -> None:
    assert split_by_ratio(NAMES, 1, [6, 2, 2]) != split_by_ratio(NAMES, 2, [6, 2, 2])


def test_each_image_tests_about_as_often_as_the_ratio_says() -> None:
    """Over many seeds no image sticks to a side: 400 draws at 0.2 stay within five standard deviations of 80."""
    counts = dict.fromkeys(NAMES, 0)
    for seed in range(400):
        for name in split_by_ratio(NAMES, seed, [6, 2, 2])["test"]:
            counts[name] += 1
    assert all(40 < count < 120 for count in counts.values())


@given(
    sizes=st.lists(st.integers(1, 8), min_size=3, max_size=30),
    seed=st.integers(0, 1000),
    order=st.randoms(use_true_random=False),
)
def test_groups_stay_together_whatever_the_order_of_files(sizes: list[int], seed: int, order: object) -> None:
    groups = {f"{group}_{member}": str(group) for group, size in enumerate(sizes) for member in range(size)}
    names = list(groups)
    splits = split_by_ratio(names, seed, [6, 2, 2], groups)
    assert everything(splits) == sorted(names)
    assert all(splits.values())
    sides = {(groups[name], split) for split, members in splits.items() for name in members}
    assert len(sides) == len(sizes)
    order.shuffle(names)  # type: ignore[attr-defined]
    assert split_by_ratio(names, seed, [6, 2, 2], groups) == splits


@given(count=st.integers(3, 40), num_folds=st.integers(3, 10), seed=st.integers(0, 100))
def test_folds_test_every_image_once_and_are_level(count: int, num_folds: int, seed: int) -> None:
    names = NAMES[:count]
    if num_folds > count:
        with pytest.raises(InputError, match="num_folds"):
            split_by_fold(names, seed, 0, num_folds)
        return
    folds = [split_by_fold(names, seed, fold, num_folds) for fold in range(num_folds)]
    assert sorted(name for splits in folds for name in splits["test"]) == sorted(names)
    assert sorted(name for splits in folds for name in splits["val"]) == sorted(names)
    assert all(everything(splits) == sorted(names) for splits in folds)
    sizes = [len(splits["test"]) for splits in folds]
    assert max(sizes) - min(sizes) <= 1


def test_folds_keep_groups_together() -> None:
    groups = {name: name[:8] for name in NAMES}
    for fold in range(3):
        splits = split_by_fold(NAMES, 1, fold, 3, groups)
        assert len({(groups[name], split) for split, members in splits.items() for name in members}) == 5


def test_kaggle_groups_are_not_torn(shared: Path) -> None:
    rows = (shared / "data/kaggle2018/tile_groups.csv").read_text().splitlines()[1:]
    names = [row.split(",")[0] for row in rows]
    groups = read_groups(shared / "data/kaggle2018/tile_groups.csv", names)
    splits = split_by_ratio(names, 1, [6, 2, 2], groups)
    sides = {(groups[name], split) for split, members in splits.items() for name in members}
    assert len(sides) == len(set(groups.values())) == 221
    shares = [len(splits[split]) / len(names) for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.02)


@pytest.mark.parametrize(
    ("names", "ratios", "message"),
    [
        (NAMES, [6, 2], "three numbers"),
        (NAMES, [6, -2, 2], "three numbers"),
        (NAMES, [0, 0, 0], "three numbers"),
        (NAMES[:2], [6, 2, 2], "do not fill"),
    ],
)
def test_impossible_divisions_are_refused(names: list[str], ratios: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_by_ratio(names, 1, ratios)


def test_a_ratio_of_zero_leaves_a_split_empty() -> None:
    splits = split_by_ratio(NAMES, 1, [1, 0, 0])
    assert splits == {"train": NAMES, "val": [], "test": []}


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_groups_file_may_list_more_than_there_is(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "groups.csv", "\ufeffimage_id,group\na,1\nb,1\nc,2\n")
    assert read_groups(path, ["a", "c"]) == {"a": "1", "c": "2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,group\na,1\n", "columns image_id,group"),
        ("image_id,group\nb,1\n", "no group for 1 images, first a"),
        ("image_id,group\na,\n", "no group for 1 images, first a"),
        ("image_id,group\na,1\na,2\n", "two groups"),
    ],
)
def test_bad_groups_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write_csv(tmp_path / "groups.csv", text)
    with pytest.raises(InputError, match=message) as caught:
        read_groups(path, ["a"])
    assert str(path) in str(caught.value)


def test_missing_groups_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"groups\.csv cannot be read"):
        read_groups(tmp_path / "groups.csv", ["a"])


IMAGES = {name: {"group": name[:8]} for name in NAMES}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    stored = {"seed": 3, "ratios": [6, 2, 2], "official": False} | split_by_ratio(NAMES, 3, [6, 2, 2])
    (tmp_path / "splits.json").write_text(json.dumps(stored))
    return tmp_path


def test_stored_splits_rule_over_the_configured_seed(root: Path) -> None:
    with pytest.warns(UserWarning, match="made with seed 3"):
        assert load_splits(root, IMAGES, seed=4) == split_by_ratio(NAMES, 3, [6, 2, 2])


def test_stored_seed_and_groups_divide_the_folds(root: Path) -> None:
    groups = {name: name[:8] for name in NAMES}
    assert load_splits(root, IMAGES, fold=1, num_folds=4, seed=3) == split_by_fold(NAMES, 3, 1, 4, groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val": ["image_999"]}, "no such image"),
        ({"val": None}, "must have seed"),
        ({"train": NAMES, "val": NAMES[:1], "test": []}, "each image may be in one split"),
    ],
)
def test_edited_splits_that_leak_or_lie_are_refused(root: Path, change: dict[str, object], message: str) -> None:
    path = root / "splits.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        load_splits(root, IMAGES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("fold", "num_folds"), [(5, 5), (-1, 5), (0, 2)])
def test_fold_out_of_range_is_refused(root: Path, fold: int, num_folds: int) -> None:
    with pytest.raises(InputError, match=r"dataset\.(fold|num_folds)"):
        load_splits(root, IMAGES, fold=fold, num_folds=num_folds)


def test_unprepared_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare the data first"):
        load_splits(tmp_path, IMAGES)
