"""All that a GPU must show, in pieces of under ten minutes; the same on a CPU with ``--tiny``, to know that it works.

Run as ``python scripts/benchmark.py gpu --device cuda --output gpu.json [--pieces gamm,precision]``. Every piece runs
in processes of its own, which are ended after ``LIMIT`` seconds, and the file is written after each. The same command
skips the pieces that are done; the paired study and its runs go on where they were ended, in ``outputs/benchmark_gpu``.

Pieces: ``gamm``; ``model_NAME`` of all models (training step, inference, memory); ``precision`` (what bfloat16,
channels-last and ``torch.compile`` of the backbone change); ``train`` (``gains train`` at published size, its loader
included); ``ddp`` (the same in 2 and 4 processes); ``predict`` (images per second, how busy the network is); ``method``
(GAInS less Mask R-CNN, paired, ResNet-50).
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark_gamm
import benchmark_method
import benchmark_pipeline
import torch
from benchmark_gamm import rows_of
from benchmark_models import measure_model, model_names
from benchmark_precision import precisions
from benchmark_tools import print_rows

from gains.plain import write_json

LIMIT = 570
PATIENCE = 60
"""Seconds in which a run that was told to end saves its checkpoint."""

FOLDER = Path("outputs") / "benchmark_gpu"
Rows = list[dict[str, Any]]

# Images of the trainings: side, steps, images in a batch, and how large the network is.
FULL = ("dataset.format.image_size=512", "dataset.short_side=512", "batch_size=4", "num_workers=8", "model/size=r50")
TINY = (
    *("dataset.format.image_size=64", "dataset.short_side=64", "batch_size=1", "num_workers=0", "model/size=small"),
    *("dataset.format.num_images=10", "model.width={fpn: 8, box: 8, mask: 8}"),
)
SMALL_MODEL = ("model/size=small", "model.width={fpn: 16, box: 16, mask: 16}")


def gamm(device: str, tiny: bool) -> Rows:
    """Anomaly maps on the device against the slow reference."""
    cases = [(6, 48, None, benchmark_gamm.NUCLEI)] if tiny else benchmark_gamm.CASES
    return [row for count, side, radius, options in cases for row in rows_of(count, side, radius, options, device)]


def model(name: str, device: str, tiny: bool) -> Rows:
    """Training step and inference of one model."""
    return [measure_model(name, device, 64, SMALL_MODEL) if tiny else measure_model(name, device)]


def precision(device: str, tiny: bool) -> Rows:
    """One network in several precisions and layouts."""
    return precisions(device, 64, SMALL_MODEL) if tiny else precisions(device)


def train(device: str, tiny: bool, processes: int = 1) -> Rows:
    """``gains train`` with GAInS: images per second in all, and what it comes to."""
    steps, batch = (2, 1) if tiny else (150 // processes, 4)
    settings = settings_of(device, tiny, steps)
    launcher = ["-m", "gains.cli", "train"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *launcher]
        settings += ["+trainer.strategy=ddp", f"trainer.devices={processes}"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *launcher, *settings, f"hydra.run.dir={folder}/run"], check=True)
        results = json.loads((Path(folder) / "run" / "results.json").read_text())
    seconds = results["costs"]["training_seconds"]
    row = {"processes": processes, "steps": steps, "seconds": seconds, "images/s": processes * batch * steps / seconds}
    return [{**row, "inference s/image": results["costs"]["inference_seconds_per_image"]} | results["metrics"]]


def ddp(device: str, tiny: bool) -> Rows:
    """The same in two and in four processes, as far as there are GPUs for them."""
    most = torch.cuda.device_count() if device == "cuda" else 4
    if most < 2:
        return [{"processes": 2, "skipped": "there is one GPU"}]
    return [row for processes in (2, 4) if processes <= most for row in train(device, tiny, processes)]


def predict(device: str, tiny: bool) -> Rows:
    """``gains predict`` with all formats, one after the other and as a pipeline."""
    size = (2, 96) if tiny else (300, 512)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        benchmark_pipeline.main(file, device, *size)
        rows: Rows = json.loads(file.read_text())["rows"]
    return rows


def method(device: str, tiny: bool) -> Rows:
    """GAInS less Mask R-CNN over the same seeds, by ``gains compare``, which goes on where it was."""
    steps, seeds = (1, [1]) if tiny else (3000, [1, 2, 3])
    folder = FOLDER / ("tiny_study" if tiny else "study")
    command = [
        *(sys.executable, "-m", "gains.cli", "compare", f"output={folder}", f"keep={folder / 'kept'}", "samples=100"),
        f"models=[{benchmark_method.BASELINE},{benchmark_method.METHOD}]",
        *(f"datasets=[{benchmark_method.DATASET}]", f"seeds={seeds}".replace(" ", "")),
        *settings_of(device, tiny, steps),
    ]
    subprocess.run(command, check=True)
    return benchmark_method.rows_of(benchmark_method.differences(folder / "kept"))


def settings_of(device: str, tiny: bool, steps: int) -> list[str]:
    """Settings of a training."""
    trainer = "gpu" if device == "cuda" else "cpu"
    images = FOLDER / ("tiny_images" if tiny else "images")
    length = [f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"]
    return [f"trainer={trainer}", f"dataset.root={images}", *(TINY if tiny else FULL), *length, "logger=csv"]


def pieces() -> dict[str, Callable[[str, bool], Rows]]:
    """All pieces by name, in the order in which they run."""

    def of_model(name: str) -> Callable[[str, bool], Rows]:
        return lambda device, tiny: model(name, device, tiny)

    models = {f"model_{name}": of_model(name) for name in model_names()}
    return {"gamm": gamm, **models, "precision": precision, "train": train, "ddp": ddp, "predict": predict} | {
        "method": method
    }


def run_piece(name: str, device: str, tiny: bool, limit: float = LIMIT) -> dict[str, Any]:
    """Run a piece in processes of its own: ``seconds``, ``rows``, and ``failed``, which is None if nothing did."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, __file__, name, device, str(file), *(["--tiny"] if tiny else [])]
        begin, failed = time.perf_counter(), None
        process = subprocess.Popen(command, start_new_session=True)
        try:
            status = process.wait(limit)
            failed = f"exit status {status}" if status else None
        except subprocess.TimeoutExpired:
            failed = f"not done in {limit} s"
        finally:
            end_group(process)
        rows = json.loads(file.read_text()) if failed is None else []
    return {"seconds": time.perf_counter() - begin, "failed": failed, "rows": rows}


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a process with all that it started; those that save something get the time for it."""
    end = time.monotonic() + PATIENCE
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < end:
            process.poll()  # or it would stay in its group, dead
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def about(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"device": device, "gpus": cards, "torch": torch.__version__, "cuda": torch.version.cuda, **machine}


def main(output: Path | None, device: str = "cpu", tiny: bool = False, chosen: str | None = None) -> None:
    """Run what is not done yet and write it; exits with status 1 if a piece failed."""
    names = list(pieces())
    wanted = names if chosen is None else chosen.split(",")
    if unknown := [name for name in wanted if name not in names]:
        raise SystemExit(f"--pieces {unknown[0]} is unknown; there are {', '.join(names)}")
    setting = {**about(device), "tiny": tiny}
    done: dict[str, Any] = {}
    if output is not None and output.is_file():
        held = json.loads(output.read_text())
        if held["about"] != setting:
            raise SystemExit(f"{output} holds figures of {held['about']}; this is {setting}: choose another file")
        done = held["pieces"]
    for name in wanted:
        if name in done and done[name]["failed"] is None:
            continue
        done[name] = run_piece(name, device, tiny)
        if done[name]["rows"]:
            print_rows(f"{name}, {device}, {done[name]['seconds']:.0f} s", done[name]["rows"])
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_json(output, {"about": setting, "pieces": done})
    failed = {name: done[name]["failed"] for name in wanted if done[name]["failed"] is not None}
    for name, why in failed.items():
        print(f"{name}: {why}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One piece, in this process.")
    parser.add_argument("name")
    parser.add_argument("device")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    write_json(given.file, pieces()[given.name](given.device, given.tiny))
