"""``gains predict`` on many images: reading, network and writing at once (``ahead``) against one after the other.

Run as ``python scripts/benchmark.py pipeline``, with ``--images 300`` for a steadier figure. Images of 512 x 512 pixels
with overlapping disks, all formats, the network of the ``predict`` benchmark (a whole Mask R-CNN whose detections are
exchanged for the disks), as many threads for it as torch takes by itself (``OMP_NUM_THREADS`` for others). The two
modes do the same images one after the other, each in a process of its own, on a machine with nothing else to do.
"""

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from benchmark_predict import build_predictor
from benchmark_tools import in_new_process, print_rows, write_rows
from omegaconf import OmegaConf

from gains.config import compose
from gains.export.formats import FORMATS
from gains.prediction.folder import claim
from gains.prediction.inputs import Source
from gains.prediction.items import Progress
from gains.prediction.units import divide
from gains.tasks.workers import here

IMAGES, SIDE, DISKS = 100, 512, 40
MODES = {"serial": 0, "pipeline": 8}


def generate(folder: Path, images: int, side: int) -> None:
    """Write images of red and green disks on a noisy ground."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    for index in range(images):
        image = random.integers(0, 60, (side, side, 3)).astype(np.uint8)
        for disk in range(DISKS):
            y, x = random.integers(0, side, 2)
            image[(rows - y) ** 2 + (columns - x) ** 2 <= random.integers(10, 24) ** 2, disk % 2] = 230
        tifffile.imwrite(folder / f"{index:04d}.tif", image, compression="zlib", photometric="rgb")


def predict(folder: Path, output: Path, ahead: int, threads: int, device: str) -> dict[str, float]:
    """Predict all images of a folder; seconds in all and of the network alone, and the most memory in MB."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    predictor = build_predictor(device)
    files = [Source(path.stem, path, path.name) for path in sorted(folder.glob("*.tif"))]
    settings = {"output": str(output), "formats": list(FORMATS), "pixel_size_um": 0.5, "ahead": ahead}
    config = OmegaConf.merge(compose("predict"), settings)
    output.mkdir(parents=True)
    claim(output, {}, overwrite=False)
    begin = time.perf_counter()
    for failures, _ in here(predictor, divide(files, config.unit), config, Progress(None)):  # type: ignore[arg-type]
        assert not failures
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": seconds, "network": float(predictor.network.seconds), "peak_mb": peak}  # type: ignore[arg-type]


def content(output: Path) -> dict[str, bytes]:
    """All result files but those that hold the time."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and path.suffix != ".zip"
    }


def main(output: Path | None, device: str = "cpu", images: int = IMAGES, side: int = SIDE) -> None:
    """Run the benchmark, check that both modes wrote the same, print a table, and write the rows as json if asked."""
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        folder.mkdir()
        generate(folder, images, side)
        outputs = {mode: Path(name) / mode for mode in MODES}
        measured = {
            mode: in_new_process(predict, folder, outputs[mode], ahead, threads, device)
            for mode, ahead in MODES.items()
        }
        assert content(outputs["serial"]) == content(outputs["pipeline"]), "the two modes wrote different files"
    rows: list[dict[str, Any]] = [
        {"torch threads": threads, "mode": mode, "images/s": images / found["seconds"]}
        | {"speed": measured["serial"]["seconds"] / found["seconds"]}
        | {"network busy": found["network"] / found["seconds"], "peak MB": found["peak_mb"]}
        for mode, found in measured.items()
    ]
    print_rows(f"{images} images of {side} px, all formats, {device}, {os.cpu_count()} cores", rows)
    write_rows(output, rows)


if __name__ == "__main__":
    main(None)
