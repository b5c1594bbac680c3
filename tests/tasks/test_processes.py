"""One run in several processes on two "nodes" of this machine, which talk by gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from gains.comparison.collect import curve
from helpers.commands import gains
from helpers.launched import SETTINGS, free_port, srun, torchrun

pytestmark = pytest.mark.slow


def test_two_nodes_end_in_one_folder(tmp_path: Path) -> None:
    """Each names its folder by its own clock; the second is even told another one."""
    port = free_port()
    nodes = [
        torchrun(tmp_path, 0, port, "hydra.run.dir=runs/first"),
        torchrun(tmp_path, 1, port, "hydra.run.dir=runs/second"),
    ]
    printed = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(printed)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["first"]
    assert [path.parent.name for path in tmp_path.rglob("config.yaml") if path.parent.name != ".hydra"] == ["first"]
    config = yaml.safe_load((tmp_path / "runs" / "first" / "config.yaml").read_text())
    assert config["trainer"]["num_nodes"] == 2
    assert (tmp_path / "runs" / "first" / "results.json").is_file()
    assert sum("run folder" in text for text in printed) == 1


def test_four_processes_find_what_one_does(tmp_path: Path) -> None:
    """Two on each of two nodes; validation and test are divided between them, unevenly."""
    port = free_port()
    more = ["dataset.format.num_images=30", "trainer.devices=2", "hydra.run.dir=run"]
    nodes = [torchrun(tmp_path, node, port, *more, processes=2) for node in (0, 1)]
    printed = [node.communicate(timeout=400)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(printed)
    best = "checkpoint=run/checkpoints/best.ckpt"
    for split in ("val", "test"):
        gains(tmp_path, "eval", *SETTINGS[:3], *more[:1], best, f"split={split}", f"hydra.run.dir={split}")
    alone = {split: json.loads((tmp_path / split / "results.json").read_text()) for split in ("val", "test")}
    together = json.loads((tmp_path / "run" / "results.json").read_text())
    [(_, validated)] = curve(tmp_path / "run" / "metrics.csv")
    assert validated == pytest.approx(alone["val"]["metrics"]["segm_map"])
    assert together["metrics"] == pytest.approx(alone["test"]["metrics"])
    assert together["per_category"] == alone["test"]["per_category"]


def test_a_run_that_lost_a_process_goes_on_in_its_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command += ["-m", "gains.cli", "train", *SETTINGS, "trainer.max_steps=30", "trainer.devices=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=subprocess.STDOUT)
    while not list(tmp_path.rglob("last.ckpt")):
        if process.poll() is not None:
            raise AssertionError(log.read_text())
        time.sleep(0.1)
    os.kill(second_process(process.pid), signal.SIGKILL)
    assert process.wait(300) == 0, log.read_text()
    [run] = (tmp_path / "outputs" / "train").glob("*/*")
    assert f"resuming from {run}/checkpoints/last" in log.read_text()
    assert (run / "results.json").is_file()


def test_a_job_of_srun_is_requeued_into_its_folder(tmp_path: Path) -> None:
    """Two processes on each of two nodes; all are lost in the middle, and the job begins again."""
    port, settings = free_port(), ["trainer.max_steps=20", "trainer.devices=2", "+trainer.num_nodes=2"]
    lost = [srun(tmp_path, rank, port, 0, *settings) for rank in range(4)]
    while not list(tmp_path.rglob("last.ckpt")):
        assert lost[0].poll() is None, lost[0].communicate()[0]
        time.sleep(0.1)
    for process in lost:
        process.kill()
        process.communicate()
    again = [srun(tmp_path, rank, port + 1, 1, *settings) for rank in range(4)]
    printed = [process.communicate(timeout=300)[0] for process in again]
    assert [process.returncode for process in again] == [0] * 4, "\n".join(printed)
    [run] = (tmp_path / "outputs" / "train").glob("*/*")
    assert f"resuming from {run}/checkpoints/last" in printed[0]
    assert (run / "results.json").is_file()
    assert sum("run folder" in text for text in printed) == 1


GANG = """
import os, signal, sys, time
import torch
from gains.tasks.processes import meet_again, restarted
rank = int(os.environ["RANK"])
if not restarted():
    torch.distributed.init_process_group("gloo")
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
elif rank == 0:
    time.sleep(3)  # the other one looks for its address before it is there
meet_again(torch.device("cpu"))
numbers = torch.tensor([rank + 1])
torch.distributed.all_reduce(numbers)
print(f"rank {rank} sums to {numbers.item()}", flush=True)
torch.distributed.destroy_process_group()
"""


def test_restarted_processes_do_not_read_old_addresses(tmp_path: Path) -> None:
    """In whatever order they come; torchrun's store still holds the addresses of those that died."""
    (tmp_path / "gang.py").write_text(GANG)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path / "gang.py")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "rank 0 sums to 3" in done.stdout
    assert "rank 1 sums to 3" in done.stdout


def second_process(agent: int) -> int:
    """The process of rank 1 among those that torchrun has started."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    [found] = [child for child in children if b"RANK=1" in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")]
    return int(found)
