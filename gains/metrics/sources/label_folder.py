"""Ground truth and predictions as folders of label images: pixel value k marks instance k.

Label images have no categories and no scores: all instances are of one category and every prediction scores 1.
"""

from pathlib import Path

from gains.errors import InputError
from gains.formats.faults import Faults
from gains.formats.labels import refused
from gains.metrics.sources.label_files import OPTION, LabelReading, label_files, read_labelled
from gains.metrics.sources.sets import GroundTruth, ImageNames, InstanceStore, Predictions

CATEGORY = "object"
"""Category of label images, unless ``category`` names another."""


def folder_truth(folder: Path, category: str | None, reading: LabelReading) -> GroundTruth:
    """Ground truth from a folder; image ids are 1, 2, ... by name.

    Raises:
        InputError: if there is no label image, with everything that is wrong in those there are.
    """
    names: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    instances = InstanceStore(sizes)
    faults = Faults(str(folder))
    known: set[str] = set()
    for name, path in label_files(folder).items():
        with faults.collected():
            for image, (masks, size) in read_labelled(name, path, reading).items():
                if image in known:
                    raise InputError(f"{path} speaks of the image {image}, as another file does; keep one")
                known.add(image)
                image_id = len(names) + 1
                names[image_id], sizes[image_id] = image, size
                instances.add_all(image_id, masks)
    faults.check()
    labels, notes = {category or CATEGORY: 1}, _split(folder, reading)
    return GroundTruth(folder, {}, labels, names, sizes, instances.by_image(), notes=notes)


def folder_predictions(folder: Path, truth: GroundTruth, reading: LabelReading) -> Predictions:
    """Predictions from a folder, each label image going with the truth's image of the same name.

    Where a file of it holds several numbers, they are those of instances in all files: a network that has not learned
    much, or one whose instances cross, leaves few, each in several places. A note says so.

    Raises:
        InputError: as :func:`folder_truth`, or if a label image has no partner or another size, or the truth has
            several categories.
    """
    if len(truth.labels) > 1:
        raise InputError(
            f"{folder} holds label images, which have no categories, but {truth.path} has {', '.join(truth.labels)}; "
            "choose one with category=NAME"
        )
    known = ImageNames(truth)
    instances = InstanceStore(truth.sizes)
    faults = Faults(str(folder))
    doubts: list[str] = []
    most = 0
    for name, path in label_files(folder).items():
        with faults.collected():
            for image, (masks, size) in read_labelled(name, path, reading, doubts).items():
                image_id = known.take(image, str(path))
                if size != truth.sizes[image_id]:
                    wanted = "x".join(str(side) for side in truth.sizes[image_id])
                    raise InputError(f"{path} is {size[0]}x{size[1]} pixels, but its image in {truth.path} is {wanted}")
                instances.add_all(image_id, masks)
                most = max(most, len(masks))
    for doubt in doubts if most < 2 else ():
        faults.add(refused(doubt, OPTION))
    faults.check()
    notes = ["label images have no scores: every prediction counts as 1, so mAP is that of an unranked set"]
    if doubts:
        notes.append(
            f"each value of a label image is one instance, also where {doubts[0]} ({len(doubts)} such); {OPTION}=true "
            "makes each connected part one"
        )
    return Predictions(instances.by_image(), notes + _split(folder, reading), set(known.taken))


def _split(folder: Path, reading: LabelReading) -> list[str]:
    return [f"{folder}: connected parts are the instances (components=true)"] if reading.components else []
