"""Time and memory of a call, and tables of them."""

import ctypes
import gc
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Measurement:
    """Median seconds of a call, and the most memory in MB it held beyond what was held before."""

    seconds: float
    extra_mb: float


def resident_mb() -> float:
    """Memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def give_back_freed_memory() -> None:
    """Return what earlier calls freed to the system, so that growth shows again (glibc; elsewhere nothing happens)."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def keep_no_freed_memory() -> None:
    """Let every freed block go back to the system at once, for good (glibc; elsewhere nothing happens).

    Otherwise what a process holds depends on which free blocks happened to fit as much as on what it needs. Slows
    allocations down: for a process that measures memory only.
    """
    if sys.platform == "linux":
        m_mmap_threshold = -3  # of malloc.h
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 1 << 18)


class PeakMemory:
    """Largest growth of this process's memory inside a ``with`` block, sampled every few milliseconds."""

    def __enter__(self) -> "PeakMemory":
        give_back_freed_memory()
        self.start = self.peak = resident_mb()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.003):
            self.peak = max(self.peak, resident_mb())

    def __exit__(self, *_: object) -> None:
        self.peak = max(self.peak, resident_mb())
        self.done.set()
        self.thread.join()
        self.extra_mb = self.peak - self.start


def extra_memory(call: Callable[[], Any], device: str = "cpu") -> float:
    """MB that a call needs beyond what was held before; warms up as it runs."""
    if device == "cuda":
        call()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with PeakMemory() as memory:
        call()
    return memory.extra_mb


def measure(call: Callable[[], Any], repeats: int = 5, device: str = "cpu") -> Measurement:
    """Run for memory and warm-up, then ``repeats`` times for the median time."""
    extra = extra_memory(call, device)
    return Measurement(statistics.median(measure_once(call, device) for _ in range(repeats)), extra)


def measure_in_turn(
    calls: dict[str, Callable[[], Any]], repeats: int = 5, device: str = "cpu"
) -> dict[str, Measurement]:
    """Measure several calls round after round, so that a slow spell of the machine hits all of them alike."""
    memory = {name: extra_memory(call, device) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds[name].append(measure_once(call, device))
    return {name: Measurement(statistics.median(seconds[name]), memory[name]) for name in calls}


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module returns when a process of its own runs it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_once(call: Callable[[], Any], device: str = "cpu") -> float:
    """Seconds of one call, the device's queue included."""
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    """Print dictionaries of one shape as a table."""
    columns = list(rows[0])
    cells = [
        [f"{row[name]:z.3g}" if isinstance(row[name], float) else str(row[name]) for name in columns] for row in rows
    ]
    widths = [max(len(name), *(len(line[index]) for line in cells)) for index, name in enumerate(columns)]
    print(f"\n{title}")
    for line in [columns, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def write_rows(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Write the rows as json, if a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}, indent=1)
        )
