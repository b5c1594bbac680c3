"""Where units of work are done: on workers of a Dask cluster, which is started here or was by somebody else."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import urlsplit

import torch
from omegaconf import DictConfig

from gains.errors import InputError, Unwritable

try:
    import distributed
except ModuleNotFoundError:
    distributed = None

HERE = ("localhost", "127.0.0.1", "::1")
LOST = "the workers that predicted it died, perhaps for lack of memory (dask.memory)"
KEYS = ".certificates"
"""Begins the name of the folder of a call's own."""
PATIENCE = 30
"""Seconds in which a scheduler must answer."""
CERTIFICATES = {"ca": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}

Unit = TypeVar("Unit")


class WorkerLost(Exception):
    """Several workers died on one unit."""


@contextmanager
def connected(cluster: str | None, settings: DictConfig, folder: Path, devices: int = 1) -> Iterator[Any]:
    """A client of a cluster; None where none is asked for.

    Args:
        cluster: ``local`` (processes of this machine), ``slurm`` (jobs), or the address of a scheduler: ``tls://`` and,
            on this machine or with ``dask.insecure=true``, ``tcp://``.
        settings: ``dask`` of ``gains predict``.
        folder: that all workers see; holds the certificates of ``slurm`` while it runs.
        devices: GPUs of this machine, each with a worker of its own; -1 takes all. With 1 nothing is said about them.

    Raises:
        InputError: if Dask is not installed, or the cluster cannot be used.
    """
    if devices != 1 and cluster not in (None, "local"):
        raise InputError(f"devices={devices} is about this machine; with cluster={cluster} leave it out")
    if devices != 1:
        cluster = "local"
    if cluster is None:
        yield None
        return
    if distributed is None:
        raise InputError(f"cluster={cluster} needs Dask: pip install 'gains[dask]'")
    with ExitStack() as stack:
        if cluster == "local":
            local = _local(settings) if devices == 1 else _one_for_each(_chosen_gpus(devices), settings)
            client = distributed.Client(stack.enter_context(local))
        elif cluster == "slurm":
            for leftover in folder.glob(f"{KEYS}*"):  # of a call that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            place = stack.enter_context(TemporaryDirectory(prefix=KEYS, dir=folder))
            client = distributed.Client(stack.enter_context(_slurm(settings, place)))
        else:
            client = _remote(cluster, settings)
        yield stack.enter_context(client)


def _local(settings: DictConfig) -> Any:
    return distributed.LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        memory_limit=settings.memory,
        dashboard_address=None,
        host="127.0.0.1",
    )


def visible_gpus() -> list[str]:
    """Names of the CUDA devices that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def _chosen_gpus(devices: int) -> list[str]:
    gpus = visible_gpus()
    count = len(gpus) if devices == -1 else devices
    if not 1 <= count <= len(gpus):
        raise InputError(f"devices={devices}: this machine has {len(gpus)} usable CUDA devices")
    return gpus[:count]


def _one_for_each(gpus: Sequence[str], settings: DictConfig) -> Any:
    """A worker for each GPU, which sees no other."""
    usual = {"nthreads": 1, "memory_limit": settings.memory, "host": "127.0.0.1", "dashboard": False}
    workers = {
        gpu: {"cls": distributed.Nanny, "options": {**usual, "env": {"CUDA_VISIBLE_DEVICES": gpu}}} for gpu in gpus
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    return distributed.SpecCluster(workers=workers, scheduler=scheduler)


def _slurm(settings: DictConfig, folder: str) -> Any:
    """Jobs that reach their scheduler by certificates made for them, unless told that the network can be trusted."""
    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError as error:
        raise InputError("cluster=slurm needs dask-jobqueue: pip install 'gains[dask]'") from error
    gpus = [f"--gpus-per-node={settings.gpus}"] if settings.gpus else []
    cluster = SLURMCluster(
        queue=settings.queue,
        cores=settings.cores,
        processes=1,
        memory=settings.memory,
        walltime=settings.walltime,
        job_extra_directives=gpus,
        security=None if settings.insecure else _certificates(Path(folder).resolve()),
        scheduler_options={"dashboard": False},
    )
    cluster.scale(jobs=settings.workers)
    return cluster


def _certificates(folder: Path) -> Any:
    """New ones, in files of a folder that all workers see and nobody else may read."""
    made = distributed.Security.temporary()
    files = {}
    for role in ("client", "scheduler", "worker"):
        for name in ("cert", "key"):
            files[f"tls_{role}_{name}"] = folder / f"{role}_{name}.pem"
    files["tls_ca_file"] = folder / "ca.pem"
    for name, path in files.items():
        path.write_text(getattr(made, name))
    return distributed.Security(require_encryption=True, **{name: str(path) for name, path in files.items()})


def _remote(address: str, settings: DictConfig) -> Any:
    """A client of a scheduler that runs. As it runs what it is sent, others must not reach it."""
    parts = urlsplit(address)
    if parts.scheme not in ("tls", "tcp") or not parts.netloc:
        raise InputError(f"cluster={address} is unknown; use local, slurm or an address such as tls://scheduler:8786")
    if parts.scheme == "tcp" and parts.hostname not in HERE and not settings.insecure:
        raise InputError(
            f"cluster={address}: anybody in that network can make its workers run anything; use tls://, or "
            "dask.insecure=true where the network is yours alone"
        )
    security = None
    if parts.scheme == "tls":
        missing = [f"dask.{name}" for name in CERTIFICATES if settings[name] is None]
        if missing:
            raise InputError(f"cluster={address} needs certificates: {', '.join(missing)}")
        files = {option: settings[name] for name, option in CERTIFICATES.items()}
        security = distributed.Security(require_encryption=True, **files)
    try:
        return distributed.Client(address, security=security, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise InputError(f"cluster={address} cannot be reached: {error}") from error


def results(futures: Mapping[Any, Unit]) -> "Iterator[tuple[Unit, Any]]":
    """What workers have made of units, as it comes; those of a killed worker are done by another.

    Yields:
        Each unit once, with its result, or the error of its input, or :class:`WorkerLost` if it killed several workers.

    Raises:
        InputError: if the scheduler is gone, or a worker cannot write.
    """
    waiting = dict(futures)
    for future in distributed.as_completed(list(waiting)):
        unit = waiting.pop(future)
        try:
            result = future.result()
        except Unwritable:
            raise
        except InputError as error:
            result = error
        except distributed.KilledWorker:
            result = WorkerLost(LOST)
        except distributed.CancelledError as error:
            raise InputError(
                f"cluster: the scheduler was lost ({error}); what is finished is kept, the same command goes on"
            ) from error
        yield unit, result
