"""Which images are scored, and the evaluator that has seen them."""

from collections.abc import Mapping

from gains.errors import InputError
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.sources.sets import GroundTruth, Predictions


def scored_images(truth: GroundTruth, files: Mapping[str, Predictions], images: str) -> tuple[GroundTruth, list[str]]:
    """The images that are scored, and notes on those that predictions do not name.

    Args:
        truth: all images.
        files: predictions of some of them by the setting that gave them; all are scored on the same images.
        images: ``all``, or ``predicted`` to leave out those that none of the files names.

    Raises:
        InputError: if no image would be left.
    """
    named = set[int]().union(*(each.predicted for each in files.values()))
    notes = []
    if images == "predicted" and named != set(truth.names):
        if not named:
            raise InputError(
                f"images=predicted: the predictions name no image of {truth.path}; nothing is left to score"
            )
        left_out = [name for number, name in truth.names.items() if number not in named]
        notes.append(f"{len(left_out)} images without predictions are left out: {_some(left_out)}")
        truth = truth.only(named)
    for setting, each in files.items():
        missing = [name for number, name in truth.names.items() if number not in each.predicted]
        if missing:
            of = f" in {setting}" if len(files) > 1 else ""
            remedy = "" if images == "predicted" else " (images=predicted leaves out those that no file names)"
            notes.append(
                f"{len(missing)} images have no prediction{of}, all they hold is counted as missed: "
                f"{_some(missing)}{remedy}"
            )
    return truth, notes


def _some(names: list[str]) -> str:
    """The first names of a list."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def filled(
    truth: GroundTruth,
    predictions: Predictions,
    max_detections: int,
    score_threshold: float,
    arrangement: bool = False,
) -> InstanceSegmentationEvaluator:
    """An evaluator that has seen every image of the ground truth, and how its instances lie if asked to."""
    if not truth.names:
        raise InputError(f"{truth.path} lists no images; there is nothing to score")
    evaluator = InstanceSegmentationEvaluator(truth.categories, max_detections, score_threshold, arrangement)
    for image_id in truth.names:
        found, annotated = predictions.instances[image_id], truth.instances[image_id]
        evaluator.update([found.entry(image_id)], [annotated.entry(image_id)])
    return evaluator
