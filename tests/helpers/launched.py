"""``gains train`` as torchrun and srun start it: several processes on "nodes" that are all this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

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
"""Of a short run on generated data."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def torchrun(folder: Path, node: int, port: int, *arguments: str, processes: int = 1) -> subprocess.Popen[str]:
    """One node of two."""
    command = ["-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={node}", f"--nproc-per-node={processes}"]
    command += ["--master-addr=127.0.0.1", f"--master-port={port}", "-m", "gains.cli", "train", *SETTINGS]
    return _start(folder, {}, *command, "+trainer.num_nodes=2", *arguments)


def srun(
    folder: Path, rank: int, port: int, restart: int, *arguments: str, nodes: int = 2, tasks: int = 2
) -> subprocess.Popen[str]:
    """One process of those that srun would start, ``tasks`` on each node, by the variables that it sets."""
    names = {"JOB_ID": 4711, "JOB_NAME": "first", "NTASKS": nodes * tasks, "NNODES": nodes, "NTASKS_PER_NODE": tasks}
    own = {"PROCID": rank, "NODEID": rank // tasks, "LOCALID": rank % tasks, "RESTART_COUNT": restart}
    more = {"STEP_ID": 0, "NODELIST": "127.0.0.1"}
    variables = {f"SLURM_{name}": str(value) for name, value in {**names, **own, **more}.items()}
    command = ["-m", "gains.cli", "train", *SETTINGS, *arguments]
    return _start(folder, {**variables, "MASTER_PORT": str(port)}, *command)


def _start(folder: Path, variables: dict[str, str], *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, **output)  # type: ignore[call-overload,no-any-return]
