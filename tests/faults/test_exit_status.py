"""What a shell is told of a training that somebody ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = ("dataset.format.num_images=6", "dataset.format.image_size=64", "dataset.short_side=64", "model=mask_rcnn")
ENDLESS = ("trainer.max_steps=100000", "trainer.log_every_n_steps=1", "num_workers=0", "logger=csv", "batch_size=1")
SECONDS = 300
"""After which the test gives up."""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_status_is_that_of_the_signal(number: signal.Signals, status: int, tmp_path: Path) -> None:
    """And ``last.ckpt`` is there, and the output says how to go on."""
    # A shell may have turned Ctrl-C off for what runs in the background.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from gains.cli import main; main()"
    command = [sys.executable, "-c", code, "train", *TINY, *ENDLESS, "hydra.run.dir=run"]
    with (tmp_path / "printed").open("w") as printed:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=printed, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + SECONDS
        curves = tmp_path / "run" / "metrics.csv"
        while process.poll() is None and not curves.is_file() and time.monotonic() < until:
            time.sleep(0.1)
        process.send_signal(number)
        ended = process.wait(SECONDS)
    finally:
        process.kill()
    said = (tmp_path / "printed").read_text()
    assert ended == status, said
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert f"by {number.name}; the same command with checkpoint=" in said
