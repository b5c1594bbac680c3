"""Cellpose 3 on exchanged images: trained for some processor minutes, thresholds tuned on validation, test predicted.

Run by ``scripts/benchmark_peers.py`` in its own environment: ``python cellpose_run.py FOLDER OUTPUT MINUTES SEED``.
FOLDER is as for ``stardist_run.py``. Settings are those of ``cellpose --train``: SGD at 0.2 with its schedule, weight
decay 1e-5, batches of 8, images scaled to objects of 30 pixels. The schedule needs the number of epochs; how many the
time buys is measured by a short pilot. An epoch is one batch, so that the first ten of the schedule, in which the rate
rises, are a small part of a short run. The flows that the network learns are computed once, within the time.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
import torch
from cellpose import dynamics, metrics, models, train, utils

DIAMETER, BATCH, PILOT, FEWEST = 30.0, 8, 3, 11
FLOW_THRESHOLDS, PROBABILITIES = (0.4, 0.2, 0.8), (0.0, -2.0, 2.0)
"""The defaults first."""
TUNED_ON = 10
"""At most as many validation images, as predicting one takes seconds."""


def read(folder: Path) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Names, gray images and label images of one part."""
    names = sorted(path.stem for path in folder.glob("*.tif") if not path.stem.endswith("_labels"))
    images = [tifffile.imread(folder / f"{name}.tif").astype(np.float32) for name in names]
    images = [image.mean(axis=2) if image.ndim == 3 else image for image in images]
    files = [folder / f"{name}_labels.tif" for name in names]
    return names, images, [tifffile.imread(file) for file in files if file.is_file()]


def trained(
    images: list[np.ndarray], flows: list[np.ndarray], epochs: int, output: Path
) -> tuple[models.CellposeModel, float]:
    """A network from scratch after so many epochs, and the processor seconds."""
    begin = time.process_time()
    model = models.CellposeModel(gpu=False, pretrained_model=False, diam_mean=DIAMETER, nchan=2)
    train.train_seg(
        model.net,
        train_data=images,
        train_labels=flows,
        channels=[0, 0],
        batch_size=BATCH,
        n_epochs=epochs,
        learning_rate=0.2,
        weight_decay=1e-5,
        SGD=True,
        nimg_per_epoch=BATCH,
        min_train_masks=1,
        save_path=str(output),
    )
    return model, time.process_time() - begin


def main(folder: Path, output: Path, minutes: float, seed: int) -> None:
    """Train, tune, predict; writes label images and ``run.json``."""
    (output / "pilot").mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    _, images, labels = read(folder / "train")
    _, val_images, val_labels = read(folder / "val")
    begin = time.process_time()
    flows = dynamics.labels_to_flows(labels, device=torch.device("cpu"))
    prepared = time.process_time() - begin
    _, first = trained(images, flows, 1, output / "pilot")
    _, more = trained(images, flows, 1 + PILOT, output / "pilot")
    epochs = max(FEWEST, round((60 * minutes - prepared - first) / (more - first) * PILOT) + 1)
    torch.manual_seed(seed)
    model, spent = trained(images, flows, epochs, output)
    diameter = float(np.median([utils.diameters(label)[0] for label in labels]))

    def found(image: np.ndarray, flow: float, probability: float) -> np.ndarray:
        settings = {"diameter": diameter, "flow_threshold": flow, "cellprob_threshold": probability}
        return model.eval(image, channels=[0, 0], **settings)[0]

    def quality(flow: float, probability: float) -> float:
        predicted = [found(image, flow, probability) for image in val_images[:TUNED_ON]]
        return float(np.mean(metrics.average_precision(val_labels[:TUNED_ON], predicted, threshold=[0.5])[0]))

    begin = time.process_time()
    probability = max(PROBABILITIES, key=lambda each: quality(FLOW_THRESHOLDS[0], each))
    flow = max(FLOW_THRESHOLDS, key=lambda each: quality(each, probability))
    tuned = time.process_time()
    names, test, _ = read(folder / "test")
    for name, image in zip(names, test, strict=True):
        labels_found = found(image, flow, probability).astype(np.uint16)
        tifffile.imwrite(output / f"{name}.tif", labels_found, compression="zlib")
    told = {
        "seconds": {
            "training": prepared + spent,
            "tuning": tuned - begin,
            "prediction": time.process_time() - tuned,
        },
        "steps": epochs,
        "settings": {"diameter": diameter, "flow_threshold": flow, "cellprob_threshold": probability},
    }
    (output / "run.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
