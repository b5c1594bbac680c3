"""Several processes of one run, started by torchrun or srun: all use the first's folder, which prepares what is shared.

The first process publishes its folder in the store through which torchrun's processes meet; the others wait for it
before Hydra makes them a folder of their own. After a restart by torchrun the folder is still known there, so that the
run goes on in it.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from gains.tasks import slurm

KEY = "gains/folder"
PATIENCE = timedelta(hours=12)
"""How long the first may take to prepare data; if it fails, torchrun ends the others at once."""


def started_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun's agent started this process and keeps a store for it."""
    return environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for all: it is alone, or has rank 0 among them."""
    return all(environment.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun has started this run again after a process of it died, or SLURM the job."""
    return restarted_by_torchrun(environment) or slurm.restarted(environment)


def restarted_by_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun has started this run again after a process of it died."""
    return started_by_torchrun(environment) and int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def folder_overrides(words: Sequence[str]) -> list[str]:
    """What Hydra is to be told, so that this process uses the folder of the first; waits for that one to be ready.

    Args:
        words: of the command line.
    """
    if not started_by_torchrun():
        slurm.begin(words)
        if not slurm.started() or (is_first() and not slurm.restarted()):
            return []
        return _told(slurm.known_folder() if is_first() else slurm.folder_of_first(PATIENCE.total_seconds()))
    store = _store()
    if is_first() and not (restarted_by_torchrun() and store.check([KEY])):
        return []
    if not is_first():
        store.wait([_ready()], PATIENCE)
    return _told(store.get(KEY).decode())


def _told(folder: str) -> list[str]:
    quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
    return [f"hydra.run.dir='{quoted}'", *([] if is_first() else ["hydra.output_subdir=null"])]


def publish(folder: Path) -> None:
    """Let the other processes go on, in this folder."""
    if started_by_torchrun() and is_first():
        store = _store()
        store.set(KEY, str(folder.resolve()))
        store.set(_ready(), "")
    elif slurm.started() and is_first():
        slurm.publish(folder)


def meet_again(device: torch.device) -> None:
    """After a restart by torchrun, let the processes find each other; the first time Lightning does it.

    torchrun's store outlives the processes that it restarts, and with it the addresses of those that died. A process
    that comes before the first one would read the old address of that one, and its connection would be refused. So
    every restart has a part of the store of its own.

    Args:
        device: that this process computes on.
    """
    if restarted_by_torchrun() and not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(f"gains/restart/{os.environ['TORCHELASTIC_RESTART_COUNT']}", _store()),
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )


def wait() -> None:
    """Until all processes of the run are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def part() -> None:
    """The processes have nothing more to tell each other."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _ready() -> str:
    """Key that says that the first is ready, since the last restart."""
    return f"gains/ready/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _store() -> TCPStore:
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
