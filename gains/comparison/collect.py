"""From run folders, wherever they came from, to runs that can be compared."""

import csv
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gains.errors import InputError
from gains.files import replacing
from gains.metrics.names import MAIN
from gains.metrics.stored import StoredStatistics, read_statistics
from gains.plain import write_json

CONFIG, RESULTS, STATISTICS, CURVES = "config.yaml", "results.json", "statistics.npz", "metrics.csv"
ENVIRONMENT = "environment.json"
KEPT = (CONFIG, RESULTS, STATISTICS, CURVES, ENVIRONMENT)
"""What of a run a comparison reads: some kilobytes, worth keeping when the rest is gone."""


Settings = tuple[tuple[str, str], ...]
"""Names of settings and what was given."""


@dataclass(frozen=True, order=True)
class Key:
    """Which run of a study: data set, method, seed, and the cross-validation fold that tests (-1: the fixed split)."""

    dataset: str
    model: str
    seed: int
    fold: int = -1

    @property
    def name(self) -> str:
        """Name of its folder."""
        fold = "" if self.fold < 0 else f"_fold{self.fold}"
        return f"{self.dataset}_{self.model}_seed{self.seed}{fold}"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        key: what it is.
        folder: where it lies.
        results: content of ``results.json``.
        stored: statistics of its test images.
        curve: step and ``val/segm_map`` of every validation.
        environment: content of ``environment.json``; empty where there is none.
    """

    key: Key
    folder: Path
    results: dict[str, Any]
    stored: StoredStatistics
    curve: list[tuple[int, float]]
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics over all categories."""
        metrics: dict[str, float] = self.results["metrics"]
        return metrics

    @property
    def settings(self) -> Settings:
        """What its command line said, by name; not from where it was resumed. Empty where nothing is known of it."""
        words = [str(word).partition("=") for word in self.environment.get("settings") or ()]
        given = {name.lstrip("+"): value for name, _, value in words if name != "checkpoint"}
        return tuple(sorted(given.items()))


def is_finished(folder: Path) -> bool:
    """Whether a run has left all that a comparison needs."""
    return all((folder / name).is_file() for name in (CONFIG, RESULTS, STATISTICS))


def read_run(folder: Path) -> Run:
    """Read one run folder.

    Raises:
        InputError: if a file of it is missing or damaged.
    """
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        results = json.loads((folder / RESULTS).read_text())
        fold = config["dataset"].get("fold")
        key = Key(config["dataset"]["name"], config["model"]["name"], config["seed"], -1 if fold is None else fold)
        made_with = folder / ENVIRONMENT
        environment = json.loads(made_with.read_text()) if made_with.is_file() else {}
        results["metrics"][MAIN]  # a results.json of something else ends here
    except (OSError, ValueError, KeyError, TypeError, YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{folder} is no finished run of gains train: {type(error).__name__} {error}") from error
    return Run(key, folder, results, read_statistics(folder / STATISTICS), curve(folder / CURVES), environment)


def collect(roots: Iterable[Path]) -> list[Run]:
    """All finished runs below some folders, each once: of several with one key and the same settings the newest.

    Runs of a sweep may share a key and differ in settings: these then become part of the method's name.

    Raises:
        InputError: if a folder does not exist, or none holds a finished run.
    """
    found: dict[tuple[Key, Settings], Run] = {}
    for root in roots:
        if not root.is_dir():
            raise InputError(f"runs={root} does not exist; pass a folder that holds run folders")
        folders = [path.parent for path in sorted(root.rglob(STATISTICS)) if is_finished(path.parent)]
        for run in map(read_run, folders):
            earlier = found.get((run.key, run.settings))
            if earlier is None or _age(run) >= _age(earlier):
                found[run.key, run.settings] = run
    if not found:
        raise InputError(
            f"runs={', '.join(map(str, roots))}: no finished run (a folder with {RESULTS} and {STATISTICS}) was found"
        )
    return sorted(told_apart(list(found.values())), key=lambda run: run.key)


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The same runs, each with a key of its own: ``gains`` becomes ``gains nms_iou=0.4`` where another has that at 0.6.

    Args:
        runs: no two of one key with the same settings.
    """
    alike: dict[Key, list[dict[str, str]]] = {}
    for run in runs:
        alike.setdefault(run.key, []).append(dict(run.settings))
    differing: dict[str, set[str]] = {}  # by method, so that it has the same names on all data sets and seeds
    for key, several in alike.items():
        names = {name for settings in several for name in settings}
        differing.setdefault(key.model, set()).update(
            name for name in names if len({settings.get(name) for settings in several}) > 1
        )
    return [replace(run, key=replace(run.key, model=_variant(run, differing[run.key.model]))) for run in runs]


def _variant(run: Run, names: Collection[str]) -> str:
    return " ".join([run.key.model, *(f"{name}={value}" for name, value in run.settings if name in names)])


def claim(output: Path, settings: Sequence[str]) -> None:
    """Note the settings of a study, and refuse to mix them with others.

    Raises:
        InputError: if the folder holds runs of other settings.
    """
    path = output / "study.json"
    if path.is_file():
        earlier = json.loads(path.read_text())["settings"]
        if sorted(earlier) != sorted(settings):
            raise InputError(
                f"{output} holds runs with other settings ({' '.join(earlier) or 'none'}), given are "
                f"{' '.join(settings) or 'none'}; choose another folder"
            )
    write_json(path, {"settings": list(settings)})


def keep_run(folder: Path, target: Path) -> None:
    """Copy what the tables need of a run. Paths below the working directory become relative: the copy may be published.

    Args:
        folder: of the finished run.
        target: folder that gets the copies, :data:`RESULTS` last: a copy that was cut short counts as none.
    """
    here = f"{Path.cwd()}{os.sep}"
    for name in sorted(KEPT, key=RESULTS.__eq__):
        if not (folder / name).is_file():
            continue
        with replacing(target / name) as temporary:
            if name == STATISTICS:
                shutil.copyfile(folder / name, temporary)
            else:
                temporary.write_text((folder / name).read_text(encoding="utf-8").replace(here, ""), encoding="utf-8")


def _age(run: Run) -> float:
    return (run.folder / RESULTS).stat().st_mtime


def curve(path: Path) -> list[tuple[int, float]]:
    """Step and main validation metric of every validation in a ``metrics.csv``, which may be growing.

    A last line without an end is being written: what is there of a number would be another number.
    """
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = [(row.get("step"), row.get(f"val/{MAIN}")) for row in csv.DictReader(lines)]
    points = [(int(float(step)), float(value)) for step, value in rows if step and value]
    return [(step, value) for step, value in points if not math.isnan(value)]
