"""Dask clusters of every kind, on this machine: certificates, jobs of a stand-in for SLURM, a worker for each GPU."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

distributed = pytest.importorskip("distributed")
pytest.importorskip("cryptography")

from gains.config import compose  # noqa: E402
from gains.errors import InputError, Unwritable  # noqa: E402
from gains.prediction import cluster  # noqa: E402
from gains.prediction.cluster import connected, results  # noqa: E402


def settings(**given: Any) -> DictConfig:
    return OmegaConf.merge(compose("predict").dask, given)  # type: ignore[return-value]


def doubled(number: int) -> int:
    return 2 * number


def refused(number: int) -> int:
    raise InputError(f"{number} is refused")


def memory_of(client: Any) -> list[int]:
    return [worker["memory_limit"] for worker in client.scheduler_info()["workers"].values()]


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """Files of a certificate that signs itself."""
    made = distributed.Security.temporary()
    texts = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in texts.items():
        (tmp_path / f"{name}.pem").write_text(text)
    return {name: str(tmp_path / f"{name}.pem") for name in texts}


@pytest.fixture
def scheduler(certificates: dict[str, str]) -> Iterator[Any]:
    """One that talks to nobody without them."""
    files = {"tls_ca_file": certificates["ca"]}
    for role in ("scheduler", "worker", "client"):
        files |= {f"tls_{role}_cert": certificates["cert"], f"tls_{role}_key": certificates["key"]}
    security = distributed.Security(require_encryption=True, **files)
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, host="tls://127.0.0.1", security=security
    ) as found:
        yield found


def test_a_scheduler_is_reached_with_its_certificates_only(
    scheduler: Any, certificates: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = scheduler.scheduler_address
    assert address.startswith("tls://")
    with connected(address, settings(**certificates), tmp_path) as client:
        futures = {client.submit(doubled, number): number for number in range(3)}
        futures[client.submit(refused, 7)] = 7
        found = dict(results(futures))
    assert {number: found[number] for number in range(3)} == {0: 0, 1: 2, 2: 4}
    assert str(found[7]) == "7 is refused"
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    other = distributed.Security.temporary()
    for name, text in (("cert", other.tls_client_cert), ("key", other.tls_client_key)):
        (tmp_path / f"other_{name}.pem").write_text(text)
    strange = {**certificates, "cert": str(tmp_path / "other_cert.pem"), "key": str(tmp_path / "other_key.pem")}
    for wrong, given in ((address, strange), (address.replace("tls://", "tcp://"), {})):
        with pytest.raises(InputError, match="cannot be reached"), connected(wrong, settings(**given), tmp_path):
            pass


def full(number: int) -> int:
    raise Unwritable("the disk is full")


def test_a_lost_scheduler_and_a_full_disk_end_the_call() -> None:
    """Dask cancels whatever it had promised when the connection is lost."""
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, host="tcp://127.0.0.1") as local,
        distributed.Client(local) as client,
    ):
        promised = client.submit(time.sleep, 5)
        promised.cancel()
        with pytest.raises(InputError, match="the scheduler was lost"):
            list(results({promised: 1}))
        with pytest.raises(Unwritable, match="the disk is full"):
            list(results({client.submit(full, 1): 1}))


SBATCH = """#!/bin/sh
cp "$1" {folder}/job.sh
sh {folder}/job.sh > {folder}/job.log 2>&1 &
echo $! > {folder}/pid
echo "Submitted batch job 41"
"""
SCANCEL = """#!/bin/sh
kill "$(cat {folder}/pid)"
"""


def test_slurm_jobs_work_with_certificates_and_what_they_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of SLURM are stand-ins that start the job script on this machine."""
    pytest.importorskip("dask_jobqueue")
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        file = tmp_path / "bin" / name
        file.write_text(text.format(folder=tmp_path))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    old = tmp_path / "results" / ".certificates_of_a_killed_call"
    old.mkdir(parents=True)
    (old / "client_key.pem").write_text("secret")
    asked = settings(workers=1, memory="3GB", queue="long", gpus=1, walltime="01:00:00")
    with connected("slurm", asked, tmp_path / "results") as client:
        assert client.submit(abs, -21).result(timeout=120) == 21
        assert client.scheduler_info()["address"].startswith("tls://")
        assert len(memory_of(client)) == 1
        assert max(memory_of(client)) <= 3e9
    script = (tmp_path / "job.sh").read_text()
    for words in (
        "#SBATCH -p long",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH -t 01:00:00",
        "--mem=3G",
        "--protocol tls://",
    ):
        assert words in script
    assert list((tmp_path / "results").iterdir()) == []


def test_a_worker_for_each_gpu_sees_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "visible_gpus", lambda: ["3", "5"])
    with connected(None, settings(memory="2GB"), tmp_path, devices=-1) as client:
        client.wait_for_workers(2, timeout=120)
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        assert sorted(seen.values()) == ["3", "5"]
        assert memory_of(client) == [2_000_000_000] * 2


@pytest.mark.parametrize(
    ("kind", "devices", "message"),
    [(None, 3, "devices=3: this machine has 2 usable CUDA devices"), ("slurm", -1, "leave it out")],
)
def test_devices_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, devices: int, message: str
) -> None:
    monkeypatch.setattr(cluster, "visible_gpus", lambda: ["0", "1"])
    with pytest.raises(InputError, match=message), connected(kind, settings(), tmp_path, devices=devices):
        pass
