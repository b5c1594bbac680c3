"""What more processes and more data cost and bring: ``gains train``, ``gains predict`` and data sets, in two tables.

Run as ``python scripts/benchmark.py scaling``. The same number of images is trained on by 1, 2 and 4 processes (gloo,
on the processor) and predicted by 1, 2 and 4 workers of a Dask cluster on this machine, and by one process without one.
Seconds of predictions are those of the whole command, the start of cluster and libraries included. Memory is that of
the largest process. Data sets of 1, 10 and 100 times the size are those of ``benchmark.py data``. Each process has one
thread: more processes than cores cannot be faster.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import benchmark_data
import benchmark_pipeline
from benchmark_tools import print_rows, write_rows

Rows = list[dict[str, Any]]

PROCESSES = (1, 2, 4)
STEPS, PREDICTED, SIDE = 48, 64, 256
"""Training steps of one process, images to predict, and the side of all images in pixels."""

SMALL = ("model/size=small", "model.width={fpn: 16, box: 16, mask: 16}")


def run(command: list[str]) -> tuple[float, float]:
    """Seconds of a command, and the most memory in MB of any process that it started."""
    begin = time.perf_counter()
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    seconds = time.perf_counter() - begin
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def trained(folder: Path, processes: int, steps: int, side: int) -> dict[str, Any]:
    """Train on ``steps`` images, one for each step and process; its run lies in ``folder / processes`` then."""
    launcher = ["-m", "gains.cli", "train"]
    each = steps // processes
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *launcher]
    own = folder / str(processes)
    settings = [
        *("dataset=overlapping_cells", f"dataset.root={folder / 'data'}", f"dataset.format.image_size={side}"),
        *(f"dataset.short_side={side}", "dataset.format.num_images=20", "batch_size=1", "num_workers=0", *SMALL),
        *("trainer=cpu", f"trainer.max_steps={each}", f"trainer.val_check_interval={each}", "logger=csv"),
        *(["+trainer.strategy=ddp", f"trainer.devices={processes}"] if processes > 1 else []),
        f"hydra.run.dir={own}",
    ]
    _, peak = benchmark_data.forked(run, [sys.executable, *launcher, *settings])
    seconds = json.loads((own / "results.json").read_text())["costs"]["training_seconds"]
    print(f"train, {processes}: {seconds:.1f} s", flush=True)
    return {"what": "train", "processes": processes, "seconds": seconds, "images/s": steps / seconds, "MB each": peak}


def predicted(checkpoint: Path, images: Path, output: Path, workers: int | None, count: int) -> dict[str, Any]:
    """Predict all images of a folder on a local cluster, or without one."""
    cluster = [] if workers is None else ["cluster=local", f"dask.workers={workers}", "unit=8"]
    settings = [f"checkpoint={checkpoint}", f"input={images}", f"output={output}", *cluster]
    seconds, peak = benchmark_data.forked(run, [sys.executable, "-m", "gains.cli", "predict", *settings])
    what = "predict" if workers is None else "predict, Dask"
    print(f"{what}, {workers or 1}: {seconds:.1f} s", flush=True)
    return {"what": what, "processes": workers or 1, "seconds": seconds, "images/s": count / seconds, "MB each": peak}


def with_speed(rows: Rows) -> Rows:
    """The rows with how many times as fast each is as one process of the same kind."""
    alone = {row["what"]: row["images/s"] for row in rows if row["processes"] == 1}
    return [row | {"speed": row["images/s"] / alone[row["what"]]} for row in rows]


def main(
    output: Path | None,
    device: str = "cpu",
    scales: tuple[int, ...] = benchmark_data.SCALES,
    processes: tuple[int, ...] = PROCESSES,
    steps: int = STEPS,
    images: int = PREDICTED,
    side: int = SIDE,
    data_images: int = benchmark_data.IMAGES,
) -> None:
    """Run the benchmark, print both tables, and write their rows as json if asked to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [trained(folder, count, steps, side) for count in processes]
        checkpoint = next((folder / str(processes[0])).rglob("best*.ckpt"))
        (folder / "images").mkdir()
        benchmark_pipeline.generate(folder / "images", images, side)
        for workers in (None, *processes):
            rows.append(predicted(checkpoint, folder / "images", folder / f"to{workers}", workers, images))
    load = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print_rows(f"{steps} images trained on, {images} predicted, {side} px, {load}", with_speed(rows))
    sizes = benchmark_data.measured(data_images, scales)
    benchmark_data.print_sizes(sizes, scales)
    write_rows(output, [*with_speed(rows), *sizes])


if __name__ == "__main__":
    main(None)
