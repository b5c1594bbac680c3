"""Which images train, validate and test: seeded, the same on every machine, a group never on two sides.

Images (or groups of them) are ordered by the SHA-256 of seed and name. That order depends on nothing else: not on the
order of files, the machine or the Python version, and no random generator is involved.
"""

import csv
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from gains.errors import InputError

SPLITS = ("train", "val", "test")


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """The names in an order that depends on the seed and the set of names alone."""
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


def split_by_ratio(
    names: Sequence[str], seed: int, ratios: Sequence[int], groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Divide images into train, val and test.

    Groups go one by one, in shuffled order, to the split that is then filled least in relation to its ratio, so that
    a large group late in the order goes where it disturbs the ratios least. No split of a positive ratio stays empty.

    Args:
        names: image names, any order.
        seed: of the shuffle.
        ratios: three non-negative weights of train, val and test, such as ``[6, 2, 2]``.
        groups: group of each image; None makes each image its own group.

    Returns:
        Sorted image names of each split.

    Raises:
        InputError: for ratios that are not three, negative or all zero, or with fewer groups than splits to fill.
    """
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or sum(ratios) == 0:
        raise InputError(f"dataset.ratios={list(ratios)}: give three numbers >= 0 for train, val and test, as [6,2,2]")
    members = _members(names, groups)
    wanted = {split: Fraction(ratio) for split, ratio in zip(SPLITS, ratios, strict=True) if ratio > 0}
    if len(members) < len(wanted):
        raise InputError(
            f"{len(members)} images (groups counted once) do not fill {', '.join(wanted)}; add images, or set a ratio "
            "to 0: dataset.ratios=[1,0,0] trains on all of them, without validation and test"
        )
    result: dict[str, list[str]] = {split: [] for split in SPLITS}
    waiting = shuffled(members, seed)
    for position, group in enumerate(waiting):
        empty = [split for split in wanted if not result[split]]
        eligible = empty if len(waiting) - position <= len(empty) else list(wanted)
        size = len(members[group])
        # On a tie the split with the smaller ratio comes first: few images must not all end in train.
        best = min(eligible, key=lambda split: ((len(result[split]) + size) / wanted[split], wanted[split]))
        result[best] += members[group]
    return {split: sorted(chosen) for split, chosen in result.items()}


def split_by_fold(
    names: Sequence[str], seed: int, fold: int, num_folds: int, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Cross-validation: fold k tests, the next fold (the first after the last) validates, the others train.

    Args:
        names: image names, any order.
        seed: of the shuffle.
        fold: 0 to ``num_folds`` - 1.
        num_folds: at least 3, so that something is left to train on.
        groups: group of each image; a group lies in one fold.

    Returns:
        Sorted image names of each split.

    Raises:
        InputError: for a fold out of range, too few folds, or more folds than groups.
    """
    members = _members(names, groups)
    if not 3 <= num_folds <= len(members):
        raise InputError(
            f"dataset.num_folds={num_folds}: use 3 to {len(members)} (one fold tests, one validates, the others "
            f"train; there are {len(members)} images, groups counted once)"
        )
    if not 0 <= fold < num_folds:
        raise InputError(f"dataset.fold={fold}: with dataset.num_folds={num_folds} use 0 to {num_folds - 1}")
    folds: list[list[str]] = [[] for _ in range(num_folds)]
    # Largest groups first keeps the folds level; the sort is stable, so equal sizes stay shuffled.
    for group in sorted(shuffled(members, seed), key=lambda group: -len(members[group])):
        min(folds, key=len).extend(members[group])
    test, val = folds[fold], folds[(fold + 1) % num_folds]
    train = [name for index, part in enumerate(folds) if index not in (fold, (fold + 1) % num_folds) for name in part]
    return {"train": sorted(train), "val": sorted(val), "test": sorted(test)}


def _members(names: Sequence[str], groups: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Image names by group."""
    members: dict[str, list[str]] = {}
    for name in sorted(names):
        members.setdefault(groups[name] if groups is not None else name, []).append(name)
    return members


def read_groups(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The group of each image from a CSV file with the columns ``image_id,group``.

    The file may list more images than there are, but each of ``names`` must be in it: an image left out could share
    its picture with one on another side.

    Raises:
        InputError: if the file cannot be read, lacks a column, contradicts itself or misses an image.
    """
    groups: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"image_id", "group"} <= set(rows.fieldnames or ()):
                raise InputError(f"{path} must have the columns image_id,group; it has {rows.fieldnames}")
            for row in rows:
                if groups.setdefault(row["image_id"], row["group"]) != row["group"]:
                    raise InputError(f"{path} puts {row['image_id']} into two groups")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV file with the columns image_id,group: {error}") from None
    missing = [name for name in names if not groups.get(name)]
    if missing:
        raise InputError(
            f"{path} gives no group for {len(missing)} images, first {missing[0]}; "
            "add a row for each (a group of its own if it stands alone)"
        )
    return {name: groups[name] for name in names}


def load_splits(
    root: Path,
    images: Mapping[str, Mapping[str, Any]],
    fold: int | None = None,
    num_folds: int = 5,
    seed: int | None = None,
) -> dict[str, list[str]]:
    """The splits of a prepared folder.

    ``splits.json`` rules: its seed also divides the folds, so that evaluating a checkpoint can never meet another
    division than its training did. A fold pools all images, those of an official division too.

    Args:
        root: prepared folder.
        images: entries of its images by name, see :attr:`gains.data.dataset.Annotations.images`.
        fold: None for the splits of ``splits.json``, else see :func:`split_by_fold`.
        num_folds: number of folds.
        seed: the configured seed; one that differs from the folder's is only warned about.

    Returns:
        Image names of ``train``, ``val`` and ``test``.

    Raises:
        InputError: if ``splits.json`` is missing or unsound.
    """
    path = root / "splits.json"
    stored = _read_json(path)
    try:
        splits: dict[str, list[str]] = {split: list(stored[split]) for split in SPLITS}
        stored_seed, official = int(stored["seed"]), bool(stored["official"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} must have seed, official, train, val and test ({error!r})") from None
    side: dict[str, str] = {}
    for split, names in splits.items():
        for name in names:
            if name not in images:
                raise InputError(f"{path} names {name!r} in {split}, but {root}/annotations.json has no such image")
            if name in side:
                raise InputError(f"{path} has {name!r} in {side[name]} and in {split}; each image may be in one split")
            side[name] = split
    if seed is not None and seed != stored_seed and not (official and fold is None):
        warnings.warn(
            f"{path} was made with seed {stored_seed} and stays as it is; for the division of seed {seed} prepare the "
            "data again with overwrite=true",
            stacklevel=2,
        )
    if fold is None:
        return splits
    groups = {name: str(image.get("group", name)) for name, image in images.items()}
    return split_by_fold(list(images), stored_seed, fold, num_folds, groups)


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: if there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: prepare the data first (gains prepare ...)") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value
