"""Blocks of one huge image whose processes are killed: done again elsewhere, those that were finished are not."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf

from gains.errors import Unwritable
from gains.prediction import huge
from gains.prediction.blocks import Part
from gains.prediction.kept import FOLDER, keep_part
from gains.prediction.predictor import Predictor
from gains.tasks import predict
from helpers.blob_finder import draw_disks
from helpers.mortal_finder import mortal_checkpoint
from helpers.predicting import configured, content

TILES = 30
BLOCK = 4


@pytest.fixture
def slide(tmp_path: Path) -> dict[str, Any]:
    """Settings for one image of 5 x 6 tiles, with disks across the edges of many, and a network that can be killed."""
    images, orders = tmp_path / "images", tmp_path / "orders"
    images.mkdir()
    orders.mkdir()
    random = np.random.default_rng(0)
    disks = [(x, y, radius) for x, y, radius in random.uniform((0, 0, 4), (440, 360, 26), (60, 3)).tolist()]
    image, _ = draw_disks((360, 440), disks)
    cv2.imwrite(str(images / "slide.png"), image)
    checkpoint = mortal_checkpoint(tmp_path / "mortal.ckpt", orders)
    return {"checkpoint": str(checkpoint), "input": str(images), "block": BLOCK, "batch_size": 1}


def alone(settings: dict[str, Any], tmp_path: Path) -> dict[str, bytes]:
    """What one process writes that nobody kills."""
    predict.run(configured(**settings, output=str(tmp_path / "alone")))
    return content(tmp_path / "alone")


@pytest.mark.slow
def test_a_worker_killed_in_a_block_leaves_it_to_another(slide: dict[str, Any], tmp_path: Path) -> None:
    """One dies in its first block, another in its second, while that one's first is the only copy of a result."""
    distributed = pytest.importorskip("distributed")
    for number in (2, 7):
        (tmp_path / "orders" / str(number)).touch()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", memory_limit=0
    ) as cluster:
        predict.run(configured(**slide, output=str(tmp_path / "cluster"), cluster=cluster.scheduler_address))
    assert sorted(order.name for order in (tmp_path / "orders").iterdir()) == ["2.done", "7.done"]
    assert content(tmp_path / "cluster") == alone(slide, tmp_path)


def test_a_second_call_skips_finished_blocks(
    slide: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is killed in its third block."""
    output = tmp_path / "results"
    (tmp_path / "orders" / "8").touch()
    killed(**slide, output=str(output))
    assert len(list((output / FOLDER).rglob("*.npz"))) == 2  # of two tiles and of four
    looked = list[int]()
    run = Predictor.run

    def counted(self: Any, images: list[Any], *rest: Any) -> Any:
        looked.extend(image.tiles for image in images)
        return run(self, images, *rest)

    monkeypatch.setattr(Predictor, "run", counted)
    predict.run(configured(**slide, output=str(output)))
    monkeypatch.undo()
    assert sum(looked) == TILES - 6
    assert content(output) == alone(slide, tmp_path)


def test_a_full_disk_ends_the_call_and_leaves_the_finished_blocks(
    slide: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing against the image, whose blocks would go if it were damaged."""
    kept = list[Path]()

    def full(place: Path, part: Part) -> None:
        if len(kept) == 2:
            raise Unwritable("the disk is full")
        keep_part(place, part)
        kept.append(place)

    monkeypatch.setattr(huge, "keep_part", full)
    with pytest.raises(Unwritable):
        predict.run(configured(**slide, output=str(tmp_path / "results")))
    assert set((tmp_path / "results" / FOLDER).rglob("*.npz")) == set(kept)


@pytest.mark.parametrize("change", ["overwrite", "image", "damage"])
def test_blocks_of_something_else_are_not_used(slide: dict[str, Any], tmp_path: Path, change: str) -> None:
    output = tmp_path / "results"
    (tmp_path / "orders" / "8").touch()
    killed(**slide, output=str(output))
    first, second = (output / FOLDER).rglob("*.npz")
    first.write_bytes(b"damaged" if change == "damage" else second.read_bytes())
    if change == "image":
        image = cv2.imread(slide["input"] + "/slide.png")
        assert image is not None
        cv2.imwrite(slide["input"] + "/slide.png", image[::-1])
    predict.run(configured(**slide, output=str(output), overwrite=change == "overwrite"))
    assert content(output) == alone(slide, tmp_path)


def killed(**settings: Any) -> None:
    """Predict in a process that its network kills."""
    given = OmegaConf.to_container(configured(**settings))
    program = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[1])!r}]\n"
        "from gains.tasks import predict\nfrom omegaconf import OmegaConf\n"
        f"predict.run(OmegaConf.create({given!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
