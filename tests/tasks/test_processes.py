"""One run in several processes on two "nodes" of this machine, which talk by gloo."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow

SETTINGS = [
    "dataset.format.num_images=10",
    "dataset.format.image_size=64",
    "dataset.short_side=64",
    "model=mask_rcnn",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "+trainer.strategy=ddp",
    "batch_size=1",
    "num_workers=0",
    "logger=csv",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def torchrun(folder: Path, node: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    """One node of two, with one process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={node}", "--nproc-per-node=1"]
    command += ["--master-addr=127.0.0.1", f"--master-port={port}", "-m", "gains.cli", "train", *SETTINGS]
    command += ["+trainer.num_nodes=2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


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


def srun(folder: Path, rank: int, port: int, restart: int, *arguments: str) -> subprocess.Popen[str]:
    """What srun would start on one node of two, by the variables that it sets."""
    names = {"JOB_ID": 4711, "JOB_NAME": "first", "NTASKS": 2, "NNODES": 2, "NTASKS_PER_NODE": 1, "STEP_ID": 0}
    own = {"PROCID": rank, "NODEID": rank, "LOCALID": 0, "NODELIST": "127.0.0.1", "RESTART_COUNT": restart}
    variables = {f"SLURM_{name}": str(value) for name, value in {**names, **own}.items()}
    command = [sys.executable, "-m", "gains.cli", "train", *SETTINGS, "+trainer.num_nodes=2", *arguments]
    environment = {**os.environ, **variables, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_a_job_of_srun_is_requeued_into_its_folder(tmp_path: Path) -> None:
    """Two nodes; both are lost in the middle, and the job begins again."""
    port, settings = free_port(), ["trainer.max_steps=30"]
    lost = [srun(tmp_path, rank, port, 0, *settings) for rank in (0, 1)]
    while not list(tmp_path.rglob("last.ckpt")):
        assert lost[0].poll() is None, lost[0].communicate()[0]
        time.sleep(0.1)
    for process in lost:
        process.kill()
        process.communicate()
    again = [srun(tmp_path, rank, port + 1, 1, *settings) for rank in (0, 1)]
    printed = [process.communicate(timeout=300)[0] for process in again]
    assert [process.returncode for process in again] == [0, 0], "\n".join(printed)
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
