"""A run that a scheduler warns, ends and starts again: it saves between two steps, and goes on exactly there."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helpers.commands import gains
from helpers.launched import SETTINGS, free_port, srun

pytestmark = pytest.mark.slow

STEPS = 60
LONG = [f"trainer.max_steps={STEPS}", "trainer.val_check_interval=20", "trainer.log_every_n_steps=1"]


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for SLURM's command, which writes down what it is asked."""
    asked = tmp_path / "asked"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return asked


def wait_for(pattern: str, folder: Path, processes: list[subprocess.Popen[str]]) -> None:
    while not list(folder.glob(pattern)):
        assert processes[0].poll() is None, processes[0].communicate()[0]
        time.sleep(0.05)


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def steps_of(run: Path) -> list[int]:
    with (run / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row.get("train/loss")]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_job_whose_time_is_over_goes_on_where_lightning_saved_it(
    tmp_path: Path, scontrol: Path, processes: int
) -> None:
    """Two processes hear of it at different steps, one of them not at all before it has saved."""

    def job(restart: int) -> list[subprocess.Popen[str]]:
        port, settings = free_port(), [*LONG, f"trainer.devices={processes}", "hydra.run.dir=run"]
        return [srun(tmp_path, rank, port, restart, *settings, nodes=1, tasks=processes) for rank in range(processes)]

    begun, run = job(0), tmp_path / "run"
    wait_for("run/checkpoints/last.ckpt", tmp_path, begun)
    begun[-1].send_signal(signal.SIGUSR1)
    wait_for("asked", tmp_path, begun)
    end(begun)
    assert scontrol.read_text() == "requeue 4711\n"
    saved = torch.load(run / "hpc_ckpt_1.ckpt", weights_only=True)["global_step"]
    assert 20 <= saved < STEPS
    again = job(1)
    printed = [process.communicate(timeout=400)[0] for process in again]
    assert [process.returncode for process in again] == [0] * processes, "\n".join(printed)
    assert f"resuming from {run}/hpc_ckpt_1.ckpt at step {saved}" in printed[0]
    assert steps_of(run) == list(range(STEPS))
    # The figures are those of the best checkpoint, whatever SLURM's checkpoint holds.
    gains(tmp_path, "eval", *SETTINGS[:3], "checkpoint=run/checkpoints/best.ckpt", "hydra.run.dir=alone")
    alone, found = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("alone", "run"))
    assert found["metrics"] == pytest.approx(alone["metrics"])


def test_a_run_of_a_sweep_that_is_preempted_goes_on_in_its_folder(tmp_path: Path) -> None:
    """submitit starts it again, on this machine as under SLURM."""
    pytest.importorskip("submitit")
    alone = [setting for setting in SETTINGS if setting != "+trainer.strategy=ddp"]
    settings = [*alone, *LONG, "hydra/launcher=local", "hydra.sweep.dir=sweep"]
    command = [sys.executable, "-m", "gains.cli", "train", "-m", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    sweep = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for("sweep/0/checkpoints/last.ckpt", tmp_path, [sweep])
    os.kill(worker_of(tmp_path), signal.SIGUSR2)
    printed = sweep.communicate(timeout=400)[0]
    assert sweep.returncode == 0, printed
    log = "".join(path.read_text() for path in (tmp_path / "sweep" / ".submitit").rglob("*_log.out"))
    assert "SIGUSR2: saving at the next step" in log
    assert f"resuming from {tmp_path}/sweep/0/checkpoints/last.ckpt" in log
    assert steps_of(tmp_path / "sweep" / "0") == list(range(STEPS))
    assert (tmp_path / "sweep" / "0" / "results.json").is_file()


def worker_of(folder: Path) -> int:
    """The process in which submitit runs a job whose files lie below a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            started = folder.name.encode() in (process / "cmdline").read_bytes()
            if started and b"SUBMITIT_LOCAL_LOCALID=" in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:
            continue
    raise AssertionError("there is none")
