"""What a million fields of 2048 x 2048 pixels would take on 64 GPUs, from unit costs that are measured here.

Run as ``python scripts/benchmark.py estimate [--device cuda]``. Measured are the network on a batch of tiles, all the
rest of ``gains predict`` on one field (reading, stitching, all formats; the network exchanged for one that finds the
drawn disks and costs next to nothing), and the bytes of the field and its results. The rest is arithmetic, with an
assumed price. On a CPU the seconds are those of one core, and a device of the estimate is such a core.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from benchmark_predict import OVERLAP, TILE, DiskFinder, build_predictor
from benchmark_tools import measure_once, print_rows, write_rows

from gains.export.export import Export
from gains.export.formats import FORMATS, save
from gains.images.files import open_rasters
from gains.prediction.tiling import TileGrid

FIELDS, DEVICES, SIDE, DISKS, BATCH = 1_000_000, 64, 2048, 300, 4
PRICE_HOUR = {"cuda": 2.5, "cpu": 0.05}
"""Assumed, in dollars: of a GPU with its share of cores, and of one core."""

PRICE_TB_MONTH = 23.0
"""Assumed, in dollars: of a terabyte of storage."""


@dataclass(frozen=True)
class UnitCosts:
    """What was measured.

    Attributes:
        tile: seconds of the network for one tile on one device.
        field: processor seconds of one core for all else of one field.
        read: megabytes of one field as compressed TIFF.
        written: megabytes of its results.
    """

    tile: float
    field: float
    read: float
    written: float


def estimate(costs: UnitCosts, tiles: int, device: str) -> list[dict[str, Any]]:
    """Rows of the estimate: what, how much, and how it comes about."""
    network = FIELDS * tiles * costs.tile / DEVICES / 3600
    cores = costs.field / (tiles * costs.tile)
    moved = FIELDS * (costs.read + costs.written) / 1e6
    rate = (costs.read + costs.written) * 8e6 * DEVICES / (tiles * costs.tile) / 1e9
    lines = [
        ("network", network, "hours", f"{FIELDS} fields x {tiles} tiles x {costs.tile:.4f} s / {DEVICES} devices"),
        ("cores for each device", cores, "", "that the rest keeps up: its seconds by those of the network"),
        ("images read", FIELDS * costs.read / 1e6, "TB", f"{costs.read:.2f} MB each"),
        ("results written", FIELDS * costs.written / 1e6, "TB", f"{costs.written:.2f} MB each, all formats"),
        ("traffic to storage", rate, "Gbit/s", "of all devices together while the network is busy"),
        ("files", FIELDS * len(FORMATS) / 1e6, "million", "of results; fewer formats make fewer"),
        ("devices", network * DEVICES * PRICE_HOUR[device], "dollars", f"at {PRICE_HOUR[device]} an hour"),
        ("storage", moved * PRICE_TB_MONTH, "dollars a month", f"at {PRICE_TB_MONTH} a terabyte"),
    ]
    return [{"what": what, "amount": amount, "unit": unit, "from": how} for what, amount, unit, how in lines]


def measured(device: str, side: int = SIDE, repeats: int = 3) -> UnitCosts:
    """The unit costs on this machine."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    predictor = build_predictor(device)
    network = predictor.network
    assert isinstance(network, DiskFinder)
    batch = [torch.rand(3, TILE, TILE, device=predictor.device) for _ in range(BATCH)]
    with torch.inference_mode():
        network.network(batch[:1])
        tile = min(network_seconds(network, batch, device) for _ in range(repeats)) / BATCH
    network.network = Nothing()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "field.tif"
        draw(path, side)
        begin = time.process_time()
        [(_, raster, found)] = predictor.predict_many([("field", open_rasters(path)[0])])
        assert not isinstance(found, Exception), found
        files = save(Export(found, raster, file_name="field"), Path(name), "field", list(FORMATS))
        field = time.process_time() - begin
        read, written = path.stat().st_size / 1e6, sum(file.stat().st_size for file in files) / 1e6
    scale = (SIDE / side) ** 2
    return UnitCosts(tile, field * scale, read * scale, written * scale)


def network_seconds(network: DiskFinder, batch: list[torch.Tensor], device: str) -> float:
    """Seconds of one batch: on a CPU those of the processor, so that other load does not count."""
    if device == "cuda":
        return measure_once(lambda: [found["masks"].paste() for found in network.network(batch)], device)
    begin = time.process_time()
    for found in network.network(batch):
        found["masks"].paste()
    return time.process_time() - begin


class Nothing(torch.nn.Module):
    """A network without findings."""

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, Any]]:
        """None of any image."""
        return []


def draw(path: Path, side: int) -> None:
    """Write a field of red and green disks on a noisy ground."""
    random = np.random.default_rng(0)
    image = random.integers(0, 40, (side, side, 3)).astype(np.uint8)
    for disk in range(round(DISKS * (side / SIDE) ** 2)):
        radius = int(random.integers(12, 28))
        y, x = random.integers(radius, side - radius, 2)
        rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        window = image[y - radius : y + radius + 1, x - radius : x + radius + 1, disk % 2]
        window[rows**2 + columns**2 <= radius**2] = 230
    tifffile.imwrite(path, image, tile=(256, 256), compression="zlib", photometric="rgb")


def main(output: Path | None, device: str = "cpu", side: int = SIDE, repeats: int = 3) -> None:
    """Measure, print the estimate as a table, and write the rows as json if asked to."""
    costs = measured(device, side, repeats)
    tiles = len(TileGrid.covering((SIDE, SIDE), TILE, OVERLAP))
    rows = estimate(costs, tiles, device)
    print_rows("Measured", [{"network s/tile": costs.tile, "rest core s/field": costs.field, "device": device}])
    print_rows(f"{FIELDS} fields of {SIDE} x {SIDE} pixels on {DEVICES} devices ({device})", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main(None)
