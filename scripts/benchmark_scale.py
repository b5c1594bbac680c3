"""The same objects drawn at several sizes: F1 as trained, by their diameter, and by default, where it is estimated.

Run as ``python scripts/benchmark.py scale``. The detector is that of the tests: it resizes as networks do and finds
only objects of 0.4 to 1.8 times the learned diameter, the worse the further they are from it. The second table compares
the tiles of the first pass with those of the prediction, on an image of more than 2048 pixels. The third is of the
shipped model on generated cells and nuclei, resized.
"""

import sys
from pathlib import Path
from typing import Any

from benchmark_mosaics import Mosaic, best_ious, mosaic_of_cells, zoomed
from benchmark_tools import print_rows, write_rows

from gains.images.raster import ArrayRaster
from gains.prediction.predictor import load_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.sized_finder import LEARNED, SIDE, SizedFinder, disks, f1, sized_predictor

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


def cost(zoom: float) -> dict[str, Any]:
    """Tiles that the estimate takes on a large image, and those of the prediction that follows."""
    image, _ = disks(zoom, (round(LARGE / zoom), round(LARGE / zoom)))
    network = SizedFinder()
    model = sized_predictor()
    model.network = network
    model.estimated = model.estimate([ArrayRaster(image)])
    tiles, first = len(model.view.grid(image.shape[:2])), sum(network.batches)
    return {"size": f"{zoom}x", "tiles of the first pass": first, "tiles": tiles, "share": first / tiles}


def shipped_row(zoom: float, drawn: Mosaic) -> dict[str, Any]:
    """F1 of ``checkpoint=cells`` on cells and nuclei at one size."""
    image = zoomed(drawn, zoom)
    model = load_model("cells", "cpu")
    learned = model.scales.training.diameters
    assert learned is not None
    row: dict[str, Any] = {"size": f"{zoom}x"}
    for name, setting in (("by diameter", {"object_diameter": zoom * learned[1]}), ("by default", {})):
        found = model.predict(image.pixels, **setting)
        masks: list[Any] = found.masks.to_rle()
        best = best_ious(masks, found.labels.tolist(), image.masks, image.labels)
        row[name] = float(2 * (best >= 0.5).sum() / (len(found) + len(image.masks)))
    return row


def main(output: Path | None = None, device: str = "cpu") -> None:
    """Print the tables and write them."""
    rows = [row_of(zoom) for zoom in ZOOMS]
    print_rows("The same objects at several sizes: F1", rows)
    costs = [cost(zoom) for zoom in ZOOMS]
    print_rows(f"What the estimate costs on {LARGE} x {LARGE} pixels", costs)
    drawn = mosaic_of_cells(2, (7, 10))
    shipped = [shipped_row(zoom, drawn) for zoom in (0.5, 1.0, 2.0, 3.0)]
    print_rows(f"{len(drawn.masks)} generated cells and nuclei, checkpoint=cells: F1", shipped)
    write_rows(output, rows + costs + shipped)


if __name__ == "__main__":
    main()
