"""Ground truth and predictions of any tool, read into what the evaluator takes."""

from pathlib import Path

from gains.errors import InputError
from gains.metrics.sources.coco_file import coco_predictions, coco_truth
from gains.metrics.sources.label_files import LabelReading
from gains.metrics.sources.label_folder import folder_predictions, folder_truth
from gains.metrics.sources.sets import GroundTruth, Predictions


def read_ground_truth(
    path: str | Path,
    category: str | None = None,
    option: str = "ground_truth",
    reading: LabelReading | None = None,
    crowd: str | None = None,
) -> GroundTruth:
    """Read a COCO json file or a folder of label images.

    Args:
        path: file or folder.
        category: keep this category alone; None keeps all.
        option: name of the setting that gave the path, for the error.
        reading: how label images are read.
        crowd: of COCO files; ``instances`` takes crowd regions as objects.

    Raises:
        InputError: if it is neither, or unsound; the message names the file and the entry.
    """
    path = _existing(path, option)
    return (
        folder_truth(path, category, reading or LabelReading()) if path.is_dir() else coco_truth(path, category, crowd)
    )


def read_predictions(
    path: str | Path, truth: GroundTruth, option: str = "predictions", reading: LabelReading | None = None
) -> Predictions:
    """Read a COCO results list, a full COCO json file, or a folder of label images, for the images of ``truth``.

    Raises:
        InputError: if it is none of these, unsound, or refers to images or categories that the truth does not have.
    """
    path = _existing(path, option)
    if path.is_dir():
        return folder_predictions(path, truth, reading or LabelReading())
    return coco_predictions(path, truth)


def _existing(path: str | Path, option: str) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{option}={path} does not exist; give a COCO json file or a folder of label TIFF or PNG")
    if path.is_file() and path.suffix.lower() in (".tif", ".tiff", ".png", ".npy"):
        raise InputError(f"{option}={path} is one label image; give the folder that holds it")
    return path
