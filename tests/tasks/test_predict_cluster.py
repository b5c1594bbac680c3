"""``gains predict`` on a Dask cluster of this machine: the same files, whatever happens to its workers."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

distributed = pytest.importorskip("distributed")

from gains.errors import InputError  # noqa: E402
from gains.prediction import huge  # noqa: E402
from gains.prediction.inputs import Source  # noqa: E402
from gains.prediction.units import divide  # noqa: E402
from gains.tasks import predict  # noqa: E402
from helpers.blob_finder import draw_disks  # noqa: E402
from helpers.predicting import configured, content, write_images  # noqa: E402

COUNT = 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", memory_limit=0
    ) as found:
        yield found


def kill_a_worker(cluster: Any, output: Path, records: list[int]) -> None:
    """Kill one as soon as an image is done."""
    with distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
        while not (found := list((output / ".records").glob("*.json"))):
            time.sleep(0.001)
        os.kill(victim, signal.SIGKILL)
        records.append(len(found))


@pytest.mark.slow
def test_a_killed_workers_units_are_done_by_another(
    settings: dict[str, Any], tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path(settings["input"]), COUNT)
    output, records = Path(settings["output"]), list[int]()
    killer = threading.Thread(target=kill_a_worker, args=(cluster, output, records))
    killer.start()
    predict.run(configured(**settings, unit=1, cluster=cluster.scheduler_address))
    killer.join()
    assert 1 <= records[0] < COUNT
    assert f"instances in {COUNT} images" in capsys.readouterr().out
    predict.run(configured(**{**settings, "output": str(tmp_path / "alone")}, unit=1))
    assert content(output) == content(tmp_path / "alone")


@pytest.mark.slow
def test_finished_images_are_skipped_and_bad_ones_reported(
    settings: dict[str, Any], images: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.run(configured(**settings, unit=2))
    before = {path: path.stat().st_mtime_ns for path in Path(settings["output"]).glob("plate*.csv")}
    (images / "cut.png").write_bytes((images / "plate0.png").read_bytes()[:200])
    write_images(images, 4)
    with pytest.raises(SystemExit):
        predict.run(configured(**settings, unit=2, cluster=cluster.scheduler_address))
    assert "damaged" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert (Path(settings["output"]) / "plate3.csv").is_file()


def write_a_huge_image(images: Path) -> None:
    """Disks, many of them across the edges of tiles and of blocks, in one image of 5 x 6 tiles, beside small ones."""
    write_images(images, 2)
    random = np.random.default_rng(0)
    disks = [(x, y, radius) for x, y, radius in random.uniform((0, 0, 4), (440, 360, 26), (60, 3)).tolist()]
    image, _ = draw_disks((360, 440), disks[:30])
    image, _ = draw_disks((360, 440), disks[30:], 1, image)
    cv2.imwrite(str(images / "slide.png"), image[:, :, ::-1])


def test_blocks_of_a_huge_image_are_done_by_several_workers(
    settings: dict[str, Any], tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_a_huge_image(Path(settings["input"]))
    predict.run(configured(**settings, block=4, cluster=cluster.scheduler_address))
    # Tiles that are looked at in blocks; with one tile in a block the three small images, of two each, are among them.
    for block, tiles in {1000: 0, 4: 30, 1: 36}.items():
        output = tmp_path / str(block)
        looked: list[int] = []
        monkeypatch.setattr(huge, "look", counting(huge.look, looked))
        predict.run(configured(**{**settings, "output": str(output)}, block=block))
        monkeypatch.undo()
        assert all(size <= block for size in looked)
        assert sum(looked) == tiles
        assert content(Path(settings["output"])) == content(output)


def counting(look: Callable[..., Any], looked: list[int]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        looked.append(len(arguments[3]))
        return look(*arguments)

    return counted


def test_a_damaged_huge_image_is_one_failure(
    settings: dict[str, Any], images: Path, cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_a_huge_image(images)
    pixels = cv2.imread(str(images / "slide.png"))
    assert pixels is not None
    (images / "slide.png").unlink()
    tifffile.imwrite(images / "slide.tif", pixels, tile=(64, 64), compression="zlib", photometric="rgb")
    whole = (images / "slide.tif").read_bytes()
    with tifffile.TiffFile(images / "slide.tif") as file:
        start = file.pages[0].dataoffsets[-1]  # type: ignore[union-attr]
    (images / "slide.tif").write_bytes(whole[:start] + b"\0" * 20 + whole[start + 20 :])
    for name, where in (("results", {"cluster": cluster.scheduler_address}), ("here", {})):
        with pytest.raises(SystemExit):
            predict.run(configured(**{**settings, "output": str(tmp_path / name)}, block=4, **where))
        out = capsys.readouterr().out
        assert "1 of the files could not be predicted" in out
        assert "slide.tif" in out
        assert "instances in 3 images" in out
    assert content(tmp_path / "results") == content(tmp_path / "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cluster": "tcp://10.0.0.1:8786"}, "use tls://, or dask.insecure=true"),
        ({"cluster": "tls://10.0.0.1:8786"}, "needs certificates: dask.ca, dask.cert, dask.key"),
        ({"cluster": "kubernetes"}, "use local, slurm or an address"),
        ({"unit": 0}, "unit=0 must be at least 1 file"),
    ],
)
def test_what_cannot_be_used_is_one_line(settings: dict[str, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict.run(configured(**settings, **given))


def test_units_know_which_names_are_taken() -> None:
    files = [Source(name, Path(name), name) for name in ("a", "a_p001", "b", "ab_p001")]
    units = divide(files, 3)
    assert [[file.name for file in unit.files] for unit in units] == [["a", "a_p001", "b"], ["ab_p001"]]
    assert [set(unit.taken) for unit in units] == [{"a_p001"}, set()]
