"""Time and memory of tiled prediction on an 8192 x 8192 image with 5,000 instances, half of them overlapping another.

Run as ``python scripts/benchmark.py predict``. The image is generated: red and green disks in pairs that overlap, on a
jittered grid, so that hundreds lie across every seam. The network that runs is a whole Mask R-CNN (ResNet-18, the
default size, random weights) and costs what it costs; since nobody trained it, its detections are then exchanged for
the disks that the tile shows, found by connected components. Everything around it is what ``gains predict`` does: read
regions of a compressed TIFF, normalise, stitch, measure, write all formats.

The baseline of time is the network alone, of memory the process with the loaded model before the first image.
"""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from torch import Tensor, nn

from gains.export.export import Export
from gains.export.formats import FORMATS, save
from gains.images.files import open_rasters
from gains.masks import InstanceCrops
from gains.models.build import build_network
from gains.models.parts.roi.two_stage import TwoStageDetector
from gains.models.recipe import Recipe
from gains.operating_point import OperatingPoint
from gains.plain import write_json
from gains.prediction.predictor import Predictor, pick_device

SIDE, PAIRS, TILE, OVERLAP = 8192, 2500, 512, 128
LIMIT_GB = 4.0


class DiskFinder(nn.Module):
    """Runs a network for its cost, then finds red disks (category 1) and green disks (category 2)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seconds = 0.0

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        """Predictions per image."""
        begin = time.perf_counter()
        for found in self.network(images):
            found["masks"].paste()
        if images[0].is_cuda:
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - begin
        return [self.find(image.cpu().numpy()) for image in images]

    def find(self, pixels: npt.NDArray[np.float32]) -> dict[str, Any]:
        """The disks of one tile ``(3, h, w)``."""
        crops, boxes, labels = [], [], []
        for label in (1, 2):
            parts, _ = ndimage.label(pixels[label - 1] > 0.6)
            for index, (rows, columns) in enumerate(ndimage.find_objects(parts), 1):
                crops.append(torch.from_numpy((parts[rows, columns] == index).view(np.uint8)))
                boxes.append([columns.start, rows.start, columns.stop, rows.stop])
                labels.append(label)
        masks = InstanceCrops.from_crops(crops, torch.tensor(boxes).reshape(-1, 4), pixels.shape[1:])
        return {"scores": torch.full((len(labels),), 0.9), "labels": torch.tensor(labels), "masks": Crops(masks)}


class Crops:
    """Masks in the form that a model gives them."""

    def __init__(self, masks: InstanceCrops) -> None:
        self.masks = masks

    def paste(self) -> InstanceCrops:
        """The masks."""
        return self.masks


def generate(path: Path) -> list[int]:
    """Write the image as tiled, compressed TIFF; returns the areas of its disks in ascending order."""
    random = np.random.default_rng(0)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    across = int(np.ceil(np.sqrt(PAIRS)))
    cell = SIDE // across
    areas = []
    for pair in range(PAIRS):
        for channel in (0, 1):
            radius = int(random.integers(14, 30))
            y, x = np.array(divmod(pair, across)) * cell + cell // 2 + random.integers(-20, 20, 2) + 12 * channel
            rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
            disk = rows**2 + columns**2 <= radius**2
            top, left = max(y - radius, 0), max(x - radius, 0)
            region = image[top : y + radius + 1, left : x + radius + 1, channel]
            region[disk[top - y + radius :, left - x + radius :][: region.shape[0], : region.shape[1]]] = 230
            areas.append(int(np.count_nonzero(region)))
    tifffile.imwrite(path, image, tile=(256, 256), compression="zlib", photometric="rgb")
    return sorted(areas)


def build_predictor(device: str) -> Predictor:
    """The default-size Mask R-CNN with random weights that sees a tile at full resolution."""
    network = build_network("mask_rcnn", f"augmentation.test_short_side={TILE}", num_classes=2)
    assert isinstance(network, TwoStageDetector)
    recipe = Recipe({}, ["red", "green"], TILE, operating_point=OperatingPoint(max_detections=1000))
    return Predictor(DiskFinder(network), recipe, pick_device("gpu" if device == "cuda" else device), overlap=OVERLAP)


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(path: Path, folder: Path, device: str, results: Any) -> None:
    """Predict and save in this process; puts the figures into the queue."""
    torch.manual_seed(0)
    predictor = build_predictor(device)
    floor, begin = peak_gb(), time.perf_counter()
    [(_, raster, found)] = predictor.predict_many([("image", open_rasters(path)[0])])
    predicted, peak_predicted = time.perf_counter() - begin, peak_gb()
    assert not isinstance(found, Exception), found
    begin = time.perf_counter()
    save(Export(found, raster, file_name="image"), folder, "image", list(FORMATS))
    network = predictor.network
    assert isinstance(network, DiskFinder)
    results.put(
        {
            "instances": len(found),
            "areas": sorted(found.masks.areas().long().tolist()),
            "network_seconds": network.seconds,
            "predict_seconds": predicted,
            "save_seconds": time.perf_counter() - begin,
            "floor_gb": floor,
            "peak_predict_gb": peak_predicted,
            "peak_gb": peak_gb(),
        }
    )


def main(output: Path | None, device: str = "cpu") -> None:
    """Run the benchmark, check it, print a table, and write the figures as json if asked to."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "image.tif"
        areas = generate(path)
        process = context.Process(target=measure, args=(path, Path(name), device, queue))
        process.start()
        figures = queue.get()
        process.join()
        figures["files_mb"] = sum(file.stat().st_size for file in Path(name).iterdir() if file != path) / 1e6
    exact = figures.pop("areas") == areas
    figures |= {"expected": len(areas), "areas_exact": exact, "device": device, "threads": torch.get_num_threads()}
    show(figures)
    if output is not None:
        write_json(output, figures)
    if not exact or figures["peak_gb"] >= LIMIT_GB:
        raise SystemExit("instances were lost, doubled or cut, or the memory limit was exceeded")


def show(figures: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(
        title=f"{SIDE} x {SIDE}, tiles of {TILE} with overlap {OVERLAP}, {figures['device']}", title_justify="left"
    )
    for title in ("", "value", "relative to baseline"):
        table.add_column(title, justify="left" if not title else "right")
    network, floor = figures["network_seconds"], figures["floor_gb"]
    table.add_row("instances found / there", f"{figures['instances']} / {figures['expected']}", "")
    table.add_row("all whole, once each", "yes" if figures["areas_exact"] else "NO", "")
    table.add_row("network alone (baseline)", f"{network:.1f} s", "1.00")
    table.add_row("predict", f"{figures['predict_seconds']:.1f} s", f"{figures['predict_seconds'] / network:.2f}")
    table.add_row("save all formats", f"{figures['save_seconds']:.1f} s", f"{figures['save_seconds'] / network:.2f}")
    table.add_row("memory before (baseline)", f"{floor:.2f} GB", "1.00")
    for name, title in (("peak_predict_gb", "peak, predict"), ("peak_gb", "peak, predict and save")):
        table.add_row(title, f"{figures[name]:.2f} GB", f"{figures[name] / floor:.2f}")
    table.add_row("result files", f"{figures['files_mb']:.1f} MB", "")
    Console().print(table)


if __name__ == "__main__":
    main(None)
