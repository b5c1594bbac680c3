"""What an evaluation leaves for comparisons: a few kilobytes from which every metric can be drawn again.

A file holds, per category, the ranked and matched detections and the sums of every image: no masks. Whoever has it can
resample images, pair it with another method's and compute all tables without the data or the model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gains.arrays import FloatArray
from gains.errors import InputError
from gains.files import replacing
from gains.metrics.average_precision import IOU_THRESHOLDS, Ranking
from gains.metrics.statistics import CategoryStatistics
from gains.metrics.subregions import LieStatistics

VERSION = 1
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class StoredStatistics:
    """Statistics of one evaluation.

    Attributes:
        images: name of each image, in the order of the statistics.
        statistics: by category name.
        score_threshold: score from which a detection counts for AJI, PQ, F1 and recalls.
        max_detections: best detections of each image and category that enter mAP.
    """

    images: list[str]
    statistics: dict[str, CategoryStatistics]
    score_threshold: float
    max_detections: int

    def precision(self) -> dict[str, FloatArray]:
        """Category -> :meth:`gains.metrics.average_precision.Ranking.precision` of its masks, over all images."""
        weights = np.ones(len(self.images))
        return {name: category.segm.precision(weights) for name, category in self.statistics.items()}


def write_statistics(path: Path, stored: StoredStatistics) -> None:
    """Write them as a compressed ``.npz``, whole or not at all."""
    arrays: Arrays = {}
    for index, category in enumerate(stored.statistics.values()):
        arrays |= {f"{index}.{name}": array for name, array in _arrays(category).items()}
    about = {
        "version": VERSION,
        "images": stored.images,
        "categories": list(stored.statistics),
        "score_threshold": stored.score_threshold,
        "max_detections": stored.max_detections,
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def read_statistics(path: Path) -> StoredStatistics:
    """Read :func:`write_statistics`.

    Raises:
        InputError: if the file is damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays["about"]))
        if about["version"] != VERSION:
            raise InputError(f"{path} has version {about['version']}, this program reads {VERSION}: evaluate again")
        statistics = {
            name: _category({key.split(".", 1)[1]: value for key, value in arrays.items() if key.startswith(f"{i}.")})
            for i, name in enumerate(about["categories"])
        }
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged or no file of statistics ({error}): evaluate again") from error
    return StoredStatistics(about["images"], statistics, about["score_threshold"], about["max_detections"])


def _arrays(category: CategoryStatistics) -> Arrays:
    arrays: Arrays = {"truths": category.truths, "detections": category.detections}
    for kind, ranking in (("segm", category.segm), ("bbox", category.bbox)):
        arrays[f"{kind}.image"] = ranking.image.astype(np.uint32)
        arrays[f"{kind}.hit"] = np.packbits(ranking.true_positive, axis=1)
        arrays[f"{kind}.miss"] = np.packbits(ranking.false_positive, axis=1)
    arrays |= {f"aji.{name}": values for name, values in category.aji.items()}
    arrays |= {f"matches.{threshold}": values for threshold, values in category.matches.items()}
    if category.lie is not None:
        arrays |= {"lie.groups": category.lie.groups, "lie.regions": category.lie.regions}
    return arrays


def _category(arrays: Mapping[str, npt.NDArray[Any]]) -> CategoryStatistics:
    truths = arrays["truths"]

    def ranking(kind: str) -> Ranking:
        image = arrays[f"{kind}.image"].astype(np.int64)
        hit, miss = (
            np.unpackbits(arrays[f"{kind}.{name}"], axis=1, count=len(image)).astype(bool) for name in ("hit", "miss")
        )
        if hit.shape[0] != len(IOU_THRESHOLDS):
            raise ValueError(f"{hit.shape[0]} IoU thresholds instead of {len(IOU_THRESHOLDS)}")
        return Ranking(image, hit, miss, truths)

    def with_prefix(prefix: str) -> Arrays:
        return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}

    lie = with_prefix("lie.")
    return CategoryStatistics(
        segm=ranking("segm"),
        bbox=ranking("bbox"),
        aji=with_prefix("aji."),
        matches={float(threshold): value for threshold, value in with_prefix("matches.").items()},
        truths=truths,
        detections=arrays["detections"],
        lie=LieStatistics(lie["groups"], lie["regions"]) if lie else None,
    )
