"""The same objects drawn at several sizes: F1 as trained, by their diameter, and by default, where it is estimated.

Run as ``python scripts/benchmark.py scale``. The detector is that of the tests: it resizes as networks do and finds
only objects of 0.4 to 1.8 times the learned diameter, the worse the further they are from it. The second table compares
the first pass with the prediction, on images of more than 2048 pixels. The others are of the shipped models on
generated cells and nuclei, resized.
"""

import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from benchmark_mosaics import Mosaic, best_ious, mosaic_of_cells, mosaic_of_nuclei, zoomed
from benchmark_tools import print_rows, write_rows
from pycocotools import mask as coco_mask

from gains.images.raster import ArrayRaster
from gains.masks import equivalent_diameter
from gains.models.parts.transform import ImageTransform
from gains.prediction.predictor import Predictor, load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.sized_finder import LEARNED, SIDE, disks, f1, sized_predictor

ZOOMS = (0.5, 0.75, 1.0, 1.4, 2.0, 3.0)
LARGE = 2304


def row_of(zoom: float) -> dict[str, Any]:
    """F1 at one size of the objects."""
    image, truth = disks(zoom)
    model = sized_predictor()
    return {
        "size": f"{zoom}x",
        "as trained": f1(sized_predictor(tile=SIDE).predict(image), truth),
        "by diameter": f1(model.predict(image, object_diameter=zoom * LEARNED), truth),
        "by default": f1(model.predict(image), truth),
        "estimate": model.estimate([ArrayRaster(image)]).diameter or "as it is",
        "drawn": zoom * LEARNED,
    }


def cost(model: Predictor, name: str, zoom: float, image: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """What the estimate costs on a large image, compared with the prediction that follows.

    In tiles: the pixels that the network is shown. In seconds of the processor: those of the prediction are the seconds
    of its first tiles, times all.
    """
    transform = model.network.transform
    assert isinstance(transform, ImageTransform)
    shown: list[int] = []
    fitted = transform.fitted

    def counted(size: tuple[int, int]) -> tuple[int, int]:
        height, width = fitted(size)
        shown.append(height * width)
        return height, width

    model.predict(image[:64, :64], object_diameter=LEARNED)  # the first call of a network takes longer
    with mock.patch.object(transform, "fitted", counted):
        begin = time.process_time()
        model.estimated = model.estimate([ArrayRaster(image)])
        spent, first = time.process_time() - begin, sum(shown) / transform.short_side**2
    view = model.view
    tiles = len(view.grid(image.shape[:2]))
    part = image[: 2 * view.side - view.overlap, : 2 * view.side - view.overlap]
    begin = time.process_time()
    model.predict(part)
    each = (time.process_time() - begin) / len(view.grid(part.shape[:2]))
    return {
        "model": name,
        "size": f"{zoom}x",
        "first pass in tiles": first,
        "tiles": tiles,
        "share of tiles": first / tiles,
        "first pass s": spent,
        "tile s": each,
        "share of seconds": spent / (each * tiles),
        "estimate": model.estimated.diameter or "as it is",
    }


def filled(drawn: Mosaic, zoom: float) -> npt.NDArray[np.uint8]:
    """A large image full of the objects at one size."""
    image = zoomed(Mosaic(drawn.pixels, [], []), zoom).pixels
    times = -(-LARGE // len(image))
    return np.ascontiguousarray(np.tile(image, (times, times, *[1] * (image.ndim - 2)))[:LARGE, :LARGE])


def shipped_row(name: str, zoom: float, drawn: Mosaic) -> dict[str, Any]:
    """F1 of a shipped model on objects at one size."""
    image = zoomed(drawn, zoom)
    model = load_model(name, "cpu")
    row: dict[str, Any] = {"size": f"{zoom}x"}
    for way, setting in (("by diameter", {"object_diameter": zoom * typical(model, drawn)}), ("by default", {})):
        found = model.predict(image.pixels, **setting)
        masks: list[Any] = found.masks.to_rle()
        best = best_ious(masks, found.labels.tolist(), image.masks, image.labels)
        row[way] = float(2 * (best >= 0.5).sum() / (len(found) + len(image.masks)))
    return row


def typical(model: Predictor, drawn: Mosaic) -> float:
    """Median diameter of the drawn objects of the category that tells the scale, in pixels."""
    own = [mask for mask, label in zip(drawn.masks, drawn.labels, strict=True) if label == model.typical]
    areas: Any = coco_mask.area(own)
    return float(np.median(equivalent_diameter(areas)))


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the tables and write them."""
    torch.set_num_threads(1)
    rows = [row_of(zoom) for zoom in ZOOMS]
    print_rows("The same objects at several sizes: F1", rows)
    pictures = {"cells@1": mosaic_of_cells(2, (7, 10)), "nuclei@1": mosaic_of_nuclei(2, (12, 20))}
    drawn = [disks(zoom, (round(LARGE / zoom), round(LARGE / zoom)))[0] for zoom in ZOOMS]
    costs = [cost(sized_predictor(), "of the tests", zoom, image) for zoom, image in zip(ZOOMS, drawn, strict=True)]
    for name, picture in pictures.items():
        costs += [cost(load_model(name, "cpu"), name, zoom, filled(picture, zoom)) for zoom in ZOOMS]
    print_rows(f"What the estimate costs on {LARGE} x {LARGE} pixels", costs)
    shipped = []
    for name, picture in pictures.items():
        shipped += (own := [shipped_row(name, zoom, picture) for zoom in (0.5, 1.0, 2.0, 3.0)])
        print_rows(f"{len(picture.masks)} generated objects, checkpoint={name}: F1", own)
    write_rows(output, rows + costs + shipped)


if __name__ == "__main__":
    main()
