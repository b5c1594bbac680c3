"""GAInS against Mask R-CNN, paired: short runs from scratch on generated cells, the same seeds for all.

Between them stand ``neither``, Mask R-CNN with the same factor of the mask loss, and ``refinement``, which also draws
its masks once more: GAInS without its maps. 128 px, 120 steps of 2 images, 40 test images, one run per method and seed
through ``gains compare``: a call that was stopped goes on where it was, on another machine too, for the few kilobytes
of each run that the figures need are kept under ``results/``. The images are drawn with the first seed, so that other
seeds bring new data too.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark_tools import print_rows, write_rows

from gains.comparison.collect import collect
from gains.comparison.statistics import Difference, compare, units_of
from gains.errors import InputError

DATASET, METHOD, BASELINE = "overlapping_cells", "gains", "mask_rcnn"
CONTROLS = ("neither", "refinement")
METRICS = ("segm_map", "segm_map_50", "aji")
SIDE, STEPS, BATCH = 128, 120, 2
SAMPLES = 1000
FOLDER = Path("outputs") / "benchmark_method"
KEPT = Path("results") / "method"


def command(seeds: Sequence[int], folder: Path) -> list[str]:
    """The command line of ``gains compare``; figures of one precision on one kind of logger."""
    return [
        sys.executable,
        "-m",
        "gains.cli",
        "compare",
        f"models=[{BASELINE},{','.join(f'ablation/{control}' for control in CONTROLS)},{METHOD}]",
        f"datasets=[{DATASET}]",
        f"seeds=[{','.join(map(str, seeds))}]",
        f"output={folder / 'study'}",
        f"keep={KEPT / folder.name}",
        f"dataset.root={folder / 'images'}",
        f"dataset.seed={seeds[0]}",
        f"dataset.format.image_size={SIDE}",
        f"dataset.short_side={SIDE}",
        f"batch_size={BATCH}",
        f"trainer.max_steps={STEPS}",
        f"trainer.val_check_interval={STEPS}",
        "trainer.precision=32-true",
        "logger=csv",
    ]


def differences(runs: Path, baseline: str = BASELINE) -> dict[str, Difference]:
    """Paired differences, GAInS less another method, of the finished runs that were kept in a folder.

    Raises:
        InputError: if no seed has both.
    """
    finished = collect([runs])
    ours, theirs = (units_of(finished, DATASET, model) for model in (METHOD, baseline))
    found = compare(ours, theirs, METRICS, SAMPLES, seed=0)
    if not found:
        raise InputError(f"{runs} holds no seed with a finished run of both {METHOD} and {baseline}")
    return found


def rows_of(found: dict[str, Difference]) -> list[dict[str, Any]]:
    """A row per metric: mean difference, its 95 % interval over images and seeds, how many seeds are ahead."""
    return [
        {
            "metric": name,
            "difference": round(one.value, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "ahead": f"{sum(value > 0 for value in one.per_seed.values())} of {len(one.per_seed)} seeds",
        }
        for name, one in found.items()
    ]


def main(output: Path | None, device: str, seeds: Sequence[int] = (1, 2, 3)) -> None:
    """Train what is missing and print the differences; ``device`` does not count, figures are those of a CPU."""
    folder = FOLDER / f"seeds_from_{seeds[0]}"
    failed = subprocess.run(command(seeds, folder), check=False).returncode
    rows = []
    for other in (BASELINE, *CONTROLS):
        found = differences(KEPT / folder.name, other)
        rows += [{"less": other, **row} for row in rows_of(found)]
        print(found[METRICS[0]].sentence(METHOD, other, METRICS[0]))
    print_rows(f"{METHOD} less another, paired", rows)
    write_rows(output, rows)
    if failed:
        sys.exit(failed)
