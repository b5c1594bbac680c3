"""StarDist on exchanged images: trained for some processor minutes, thresholds tuned on validation, test predicted.

Run by ``scripts/benchmark_peers.py`` in its own environment: ``python stardist_run.py FOLDER OUTPUT MINUTES SEED``.
FOLDER holds ``train``, ``val`` and ``test`` with ``NAME.tif`` and, but for test, ``NAME_labels.tif``. Settings are
those of StarDist's own training example for 2D images: 32 rays, percentile normalisation, flips, turns and changes of
intensity, thresholds by ``optimize_thresholds``; the grid is the smallest from 2 on with which the network sees more
than an object of median size, as the example asks for.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tifffile
from csbdeep.utils import normalize
from stardist import calculate_extents, fill_label_holes
from stardist.models import Config2D, StarDist2D

PATCH, BATCH, RAYS, GRIDS, EPOCH = 256, 4, 32, (2, 4, 8), 25
"""Steps of an epoch are fewer than by default, since the best of the epochs is kept and the time is short."""


def read(folder: Path) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Names, normalised images and label images of one part."""
    names = sorted(path.stem for path in folder.glob("*.tif") if not path.stem.endswith("_labels"))
    images = [normalize(tifffile.imread(folder / f"{name}.tif"), 1, 99.8, axis=(0, 1)) for name in names]
    files = [folder / f"{name}_labels.tif" for name in names]
    return names, images, [fill_label_holes(tifffile.imread(file)) for file in files if file.is_file()]


def augmented(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A random flip and quarter turn of both, and another gain, offset and noise of the image."""
    turns, flip = np.random.randint(4), np.random.randint(2)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if flip:
        image, labels = image[:, ::-1], labels[:, ::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    noise = 0.02 * np.random.uniform() * np.random.normal(size=image.shape)
    return (image + noise).astype(np.float32), labels.copy()


class StopInTime(tf.keras.callbacks.Callback):
    """Ends training once the process has used its time."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self.end, self.steps = end, 0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Look at the time after each batch."""
        self.steps += 1
        if time.process_time() > self.end:
            self.model.stop_training = True


def configured(images: list[np.ndarray], labels: list[np.ndarray]) -> Config2D:
    """Settings with a grid and a patch that suit the images."""
    shortest, extents = min(min(image.shape[:2]) for image in images), calculate_extents(labels)
    for grid in GRIDS:
        side = min(PATCH, shortest) // (8 * grid) * 8 * grid
        config = Config2D(
            n_rays=RAYS,
            grid=(grid, grid),
            n_channel_in=images[0].shape[2] if images[0].ndim == 3 else 1,
            train_patch_size=(side, side),
            train_batch_size=BATCH,
            train_steps_per_epoch=EPOCH,
            train_epochs=10000,
            train_tensorboard=False,
        )
        if all(extents <= StarDist2D(config, basedir=None)._axes_tile_overlap("YX")):
            break
    return config


def main(folder: Path, output: Path, minutes: float, seed: int) -> None:
    """Train, tune, predict; writes label images and ``run.json``."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    np.random.seed(seed)
    tf.random.set_seed(seed)
    _, images, labels = read(folder / "train")
    _, val_images, val_labels = read(folder / "val")
    config = configured([*images, *val_images], labels)
    model = StarDist2D(config, name="model", basedir=str(output))
    begin = time.process_time()
    model.prepare_for_training()
    stop = StopInTime(begin + 60 * minutes)
    model.callbacks.append(stop)
    model.train(images, labels, validation_data=(val_images, val_labels), augmenter=augmented, seed=seed)
    trained = time.process_time()
    thresholds = model.optimize_thresholds(val_images, val_labels)
    tuned = time.process_time()
    names, test, _ = read(folder / "test")
    for name, image in zip(names, test, strict=True):
        found, _ = model.predict_instances(image)
        tifffile.imwrite(output / f"{name}.tif", found.astype(np.uint16), compression="zlib")
    told = {
        "seconds": {"training": trained - begin, "tuning": tuned - trained, "prediction": time.process_time() - tuned},
        "steps": stop.steps,
        "settings": {
            "grid": config.grid[0],
            "patch": config.train_patch_size[0],
            "prob_thresh": float(thresholds["prob"] if isinstance(thresholds, dict) else thresholds.prob),
            "nms_thresh": float(thresholds["nms"] if isinstance(thresholds, dict) else thresholds.nms),
        },
    }
    (output / "run.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
