"""Damaged files, in a process of its own whose memory is limited: some hundreds, and behind the marker thousands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEW, MANY = 200, 3000


@pytest.mark.parametrize(
    ("kind", "seed", "mutations"),
    [
        ("images", 1, FEW),
        ("labels", 3, FEW),
        *(
            pytest.param(kind, seed, MANY, marks=pytest.mark.slow)
            for kind, seed in (("images", 1), ("images", 2), ("labels", 3))
        ),
    ],
)
def test_damaged_files_are_read_as_others_read_them_or_refused(kind: str, seed: int, mutations: int) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests/helpers/fuzz_images.py", kind, str(seed), str(mutations)],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "OMP_NUM_THREADS": "1",
            "OPENCV_LOG_LEVEL": "OFF",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *wrong, summary = done.stdout.splitlines()
    assert wrong == []
    read, refused = (int(part.split()[0]) for part in summary.split(", "))
    # Neither is everything refused, nor nothing.
    assert read > mutations // 10
    assert refused > mutations // 10
    assert read + refused == mutations
