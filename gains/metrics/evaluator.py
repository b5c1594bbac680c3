"""The one evaluator behind ``gains score``, ``gains eval`` and validation during training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import distributed
from torchmetrics import Metric

from gains.metrics.matching.rows import Row, compare
from gains.metrics.names import METRICS
from gains.metrics.statistics import CategoryStatistics
from gains.metrics.subregions import by_arrangement
from gains.metrics.summary import per_image, summarise


class InstanceSegmentationEvaluator(Metric):
    """Every metric of overlapping instance masks, as a torchmetrics Metric.

    :meth:`update` compares the run-length encoded masks of an image with each other and keeps the overlapping pairs
    alone; no mask is decoded, and what remains of an image is a few numbers per instance. An image seen twice counts
    once, so that the copies by which a distributed sampler evens out its shards change nothing. ``docs/metrics.md``
    defines each number.

    Args:
        categories: label -> name, all that may occur.
        max_detections: highest-scoring detections of each image and category that enter mAP and ``aji_paper``.
        score_threshold: lowest score that enters the other metrics.
        arrangement: also score instances by how they lie (alone, touching, overlapping, crossing), and the part of them
            that others cover; it decodes the ground truth, so validation during training goes without.
    """

    full_state_update = False
    rows: list[tuple[int, list[Row]]]

    def __init__(
        self,
        categories: Mapping[int, str],
        max_detections: int = 100,
        score_threshold: float = 0.5,
        arrangement: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.categories = dict(categories)
        self.max_detections = max_detections
        self.score_threshold = score_threshold
        self.arrangement = arrangement
        self.add_state("rows", default=[], dist_reduce_fx=None)

    def update(self, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> None:
        """Add images.

        Args:
            predictions: per image ``scores (K,)``, ``labels (K,)``, ``masks`` (K RLEs) and optionally ``boxes (K, 4)``
                in xyxy pixels (default: the boxes of the masks).
            targets: per image ``image_id``, ``labels (N,)``, ``masks`` (N RLEs) and optionally ``iscrowd (N,)`` and
                ``boxes (N, 4)``.

        Raises:
            ValueError: if the two lists differ in length, a label is not in ``categories``, or an image's entries do
                not fit each other.
        """
        if len(predictions) != len(targets):
            raise ValueError(f"{len(predictions)} predictions for {len(targets)} targets; give one per image")
        for prediction, target in zip(predictions, targets, strict=True):
            image_id, rows = int(target["image_id"]), compare(prediction, target, self.arrangement)
            for row in rows:
                if row.label not in self.categories:
                    raise ValueError(f"image {image_id}: label {row.label} is not one of {self.categories}")
            self.rows.append((image_id, rows))

    def compute(self) -> dict[str, Any]:
        """All metrics.

        Returns:
            ``metrics``: one flat mapping over all categories; ``per_category``: name -> the same of one category;
            ``score_thresholds``: metric -> lowest score that entered it, None for no limit; ``notes``: sentences on
            anything that limits the numbers, such as a cap that cuts; where asked for, ``arrangement`` (see
            :func:`gains.metrics.subregions.by_arrangement`).
        """
        image_ids, statistics = self.statistics()
        overall, per_category = summarise(statistics, np.ones(len(image_ids)))
        setting = {"score_threshold": self.score_threshold, "max_detections": self.max_detections}
        results = {
            "metrics": overall | setting,
            "per_category": {name: metrics | setting for name, metrics in per_category.items()},
            "score_thresholds": {metric.name: None if metric.capped else self.score_threshold for metric in METRICS},
            "notes": self._notes(),
        }
        if self.arrangement:
            results["arrangement"] = by_arrangement({name: part.lie for name, part in statistics.items()})
        return results

    def per_image(self) -> list[dict[str, Any]]:
        """AJI, PQ, F1, Dice and counts of each image and category, by image id, then category.

        In a distributed run every process must call it, as with :meth:`compute`.
        """
        with self.sync_context():
            return per_image(*self.statistics())

    def statistics(self) -> tuple[list[int], dict[str, CategoryStatistics]]:
        """Image ids in ascending order, and what each category (by name) contributes in each of them.

        What bootstrap intervals are drawn from; in a distributed run, of this process's images unless inside
        ``sync_context()``.
        """
        statistics = {
            name: CategoryStatistics.of(rows, self.max_detections, self.score_threshold)
            for name, rows in self.rows_by_category().items()
        }
        return list(self._images()), statistics

    def rows_by_category(self) -> dict[str, list[Row | None]]:
        """Category name -> one row per image by ascending id, None where the category does not occur."""
        images = self._images()
        return {name: [rows.get(label) for rows in images.values()] for label, name in self.categories.items()}

    def _images(self) -> dict[int, dict[int, Row]]:
        """Rows by image and label, each image once, by id: the order of updates must not matter."""
        images: dict[int, dict[int, Row]] = {}
        for image_id, rows in self.rows:
            images.setdefault(image_id, {row.label: row for row in rows})
        return dict(sorted(images.items()))

    def _notes(self) -> list[str]:
        rows = [row for image in self._images().values() for row in image.values()]
        dense = sum(int(np.count_nonzero(~row.crowd)) > self.max_detections for row in rows)
        if not dense:
            return []
        most = max(int(np.count_nonzero(~row.crowd)) for row in rows)
        return [
            f"max_detections={self.max_detections} is less than the number of ground truths in {dense} "
            f"image(s) (up to {most}): mAP and aji_paper cannot reach 1 there. Raise max_detections to lift the limit."
        ]

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None) -> None:
        """Gather the rows of all processes; they are Python objects, which torchmetrics' own gathering passes over."""
        group = process_group or self.process_group
        gathered: list[Any] = [None] * distributed.get_world_size(group)
        distributed.all_gather_object(gathered, self.rows, group=group)
        self.rows = [image for part in gathered for image in part]

    def __hash__(self) -> int:
        """By identity: torchmetrics would hash the rows, which are lists, whenever a module holding this is walked."""
        return id(self)

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = ()) -> torch.nn.Module:
        """Moving to a device leaves the rows, which hold no tensor, alone."""
        return super()._apply(fn, exclude_state=("rows",))
