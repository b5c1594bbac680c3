"""PQ and F1 against other libraries, on label images, where masks do not overlap."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from skimage.metrics import contingency_table
from torchmetrics.detection import PanopticQuality

from helpers.metric_scenes import evaluator_of

SIDE = 48
Labels = npt.NDArray[np.int64]


def label_images(seed: int) -> tuple[Labels, Labels]:
    """Voronoi-like cells with gaps, and a version with cells eroded, moved, merged and lost."""
    random = np.random.default_rng(seed)
    seeds = random.integers(0, SIDE, (14, 2))
    grid = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1)
    distance = np.linalg.norm(grid[:, :, None] - seeds, axis=-1)
    truth = np.where(distance.min(-1) < 7, distance.argmin(-1) + 1, 0)
    found = np.roll(truth, 1, 1)
    found[(ndimage.grey_erosion(found, 3) != found) & (found % 2 == 0)] = 0
    found[found == 1] = 2
    found[found == 3] = 0
    return truth, found


def dense(labels: Labels) -> npt.NDArray[np.bool_]:
    return np.array([labels == value for value in np.unique(labels) if value]).reshape(-1, SIDE, SIDE)


def scene_of(pairs: list[tuple[Labels, Labels]]) -> list[dict[str, Any]]:
    scene = []
    for image_id, (truth, found) in enumerate(pairs, start=1):
        masks, detections = dense(truth), dense(found)
        # Other side length than metric_scenes': the evaluator takes any.
        image = {"image_id": image_id, "truth": masks, "truth_labels": [1] * len(masks), "found": detections}
        scene.append(image | {"labels": [1] * len(detections), "scores": [1.0] * len(detections)})
    return scene


@pytest.mark.parametrize("seed", range(5))
def test_pq_sq_rq_agree_with_torchmetrics(seed: int) -> None:
    pairs = [label_images(10 * seed + index) for index in range(3)]
    metrics = evaluator_of(scene_of(pairs)).compute()["metrics"]

    def panoptic(side: int) -> torch.Tensor:
        """(category, instance) of every pixel: category 1 for cells, stuff 0 for background."""
        labels = torch.tensor(np.array([pair[side] for pair in pairs]))
        return torch.stack([(labels > 0).long(), labels], dim=-1)

    other = PanopticQuality(things={1}, stuffs={0}, return_sq_and_rq=True, return_per_class=True)
    other.update(panoptic(1), panoptic(0))
    things = other.compute()[0] if other.compute().ndim == 2 else other.compute()[:3]
    assert [metrics["pq"], metrics["sq"], metrics["rq"]] == pytest.approx(things.tolist(), abs=1e-6)
    assert 0.2 < metrics["pq"] < 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("threshold", "name"), [(0.5, "f1_50"), (0.75, "f1_75")])
def test_f1_agrees_with_counts_from_scikit_image(seed: int, threshold: float, name: str) -> None:
    pairs = [label_images(10 * seed + index) for index in range(3)]
    hits = wanted = found = 0
    for truth, prediction in pairs:
        table = contingency_table(truth, prediction).toarray() * truth.size
        shared = table[1:, 1:]
        union = table.sum(1)[1:, None] + table.sum(0)[None, 1:] - shared
        # Without overlaps an instance has at most one partner above 0.5.
        hits += int((shared > threshold * union).sum())
        wanted += len(np.unique(truth)) - 1
        found += len(np.unique(prediction)) - 1
    metrics = evaluator_of(scene_of(pairs)).compute()["metrics"]
    assert metrics[name] == pytest.approx(2 * hits / (wanted + found))
    assert hits > 0
    if threshold == 0.5:
        assert metrics["precision_50"] == pytest.approx(hits / found)
        assert metrics["recall_50"] == pytest.approx(hits / wanted)
