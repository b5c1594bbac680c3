"""``gains predict`` on folders good and bad, interrupted and called again."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from pycocotools.coco import COCO

from gains import cli
from gains.errors import InputError
from gains.export.export import Export
from gains.export.formats import FORMATS, Format
from gains.files import replacing
from gains.prediction import units
from gains.tasks import predict
from helpers.checked import rois_of
from helpers.predicting import configured, content, holding, write_images

ALL = list(FORMATS)


def test_a_folder(settings: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    predict.run(configured(**settings, formats=ALL, pixel_size_um=0.5))
    output = Path(settings["output"])
    for index in range(3):
        for suffix in (form.suffix for form in FORMATS.values()):
            assert (output / f"plate{index}{suffix}").stat().st_size > 0
    coco = COCO(output / "predictions.json")
    assert [len(coco.getAnnIds(imgIds=image)) for image in (1, 2, 3)] == [2, 3, 4]
    table = pd.read_csv(output / "measurements.csv")
    assert table.groupby("image").size().to_dict() == {"plate0": 2, "plate1": 3, "plate2": 4}
    report = (output / "report.html").read_text()
    assert "plate2" in report
    assert "http" not in report.replace("http-equiv", "")
    assert "9 instances in 3 images" in capsys.readouterr().out
    assert not list(output.rglob("*.part"))


def test_a_format_is_a_writer_and_a_line(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """That of docs/adding_a_format.md, with a file for all images."""

    def write_points(path: Path, export: Export) -> None:
        with replacing(path) as temporary:
            export.table[["x", "y", "score"]].to_csv(temporary, sep=" ", index=False, header=False)

    def merge_points(written: Sequence[tuple[str, Path]], target: Path) -> None:
        target.write_text("".join(f"{name}\n{path.read_text()}" for name, path in written))

    monkeypatch.setitem(FORMATS, "points", Format(".points.txt", write_points, "points.txt", merge_points))
    for _ in range(2):
        predict.run(configured(**settings, formats="points"))
    lines = (Path(settings["output"]) / "points.txt").read_text().splitlines()
    assert [line for line in lines if " " not in line] == ["plate0", "plate1", "plate2"]
    assert len(lines) == 3 + 2 + 3 + 4


def test_done_images_are_skipped_until_overwritten(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    original = units.save_image  # type: ignore[attr-defined]

    def save(*given: Any) -> None:
        saved.append(given[1])
        original(*given)

    monkeypatch.setattr(units, "save_image", save)
    predict.run(configured(**settings))
    (Path(settings["output"]) / "plate1.csv").unlink()
    write_images(Path(settings["input"]), 4)
    predict.run(configured(**settings))
    assert saved == ["plate0", "plate1", "plate2", "plate1", "plate3"]
    with monkeypatch.context() as patch:
        patch.setattr(units, "open_rasters", lambda *_: pytest.fail("an image that is done was opened"))
        predict.run(configured(**settings, formats=["coco"]))
    assert len(saved) == 5
    predict.run(configured(**settings, overwrite=True))
    assert len(saved) == 9


def test_other_settings_need_another_folder(settings: dict[str, Any]) -> None:
    predict.run(configured(**settings))
    with pytest.raises(InputError, match=r"score_threshold 0.5 -> 0.9.*another folder, or overwrite=true"):
        predict.run(configured(**settings, score_threshold=0.9))
    (Path(settings["output"]) / "settings.json").write_text("{")
    with pytest.raises(InputError, match="holds results of other settings"):
        predict.run(configured(**settings))
    predict.run(configured(**settings, score_threshold=0.99, overwrite=True))
    coco = COCO(Path(settings["output"]) / "predictions.json")
    assert all(annotation["score"] >= 0.99 for annotation in coco.anns.values())


def test_bad_images_are_reported_and_stop_nobody(
    settings: dict[str, Any], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "empty.png").write_bytes(b"")
    (images / "cut.png").write_bytes((images / "plate0.png").read_bytes()[:200])
    tifffile.imwrite(images / "torn.tif", np.zeros((200, 200), np.uint8), rowsperstrip=10)
    (images / "torn.tif").write_bytes((images / "torn.tif").read_bytes()[:20000])
    tifffile.imwrite(images / "dark.tif", np.full((40, 40), 3000, np.float32))
    with pytest.raises(SystemExit) as stop:
        predict.run(configured(**settings))
    assert stop.value.code == 1
    printed = capsys.readouterr().out
    assert "9 instances in 3 images" in printed
    assert "4 of the files could not be predicted" in printed
    for name, reason in (("empty.png", "empty"), ("cut.png", "damaged"), ("torn.tif", "damaged"), ("dark.tif", "3000")):
        [line] = [line for line in printed.splitlines() if name in line]
        assert reason in line
        assert line.count(name) == 1
    report = (Path(settings["output"]) / "report.html").read_text()
    assert "cut.png" in report


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((1, 1), 255, np.uint8),
        np.full((1, 700), 255, np.uint8),
        np.full((700, 2), 255, np.uint8),
        np.zeros((50, 60), np.uint8),
        np.full((50, 60), 65535, np.uint16),
        np.where(np.eye(60, dtype=bool), np.nan, 0.9).astype(np.float32),
        np.full((50, 60), np.nan, np.float32),
        np.full((200, 60), np.inf, np.float64),
    ],
    ids=["one pixel", "one row", "two columns", "black", "white", "NaN in places", "NaN", "infinite"],
)
@pytest.mark.parametrize("intensity", [None, "percentile"])
def test_odd_images(settings: dict[str, Any], images: Path, pixels: Any, intensity: str | None) -> None:
    for path in images.iterdir():
        path.unlink()
    tifffile.imwrite(images / "odd.tif", pixels)
    predict.run(configured(**settings, formats=ALL, intensity=intensity))
    labels = tifffile.imread(Path(settings["output"]) / "odd.labels.tif")
    assert labels.size == pixels.size
    if intensity is None:
        # Everything bright is found, which the blob finder sees as one piece; NaN counts as black.
        assert ((labels > 0).reshape(pixels.shape) == (np.nan_to_num(pixels) > 0.5)).all()


def test_pages_become_images_of_their_own(settings: dict[str, Any], images: Path) -> None:
    stack = np.zeros((3, 64, 64), np.uint8)
    stack[1, 10:20, 10:20] = 255
    tifffile.imwrite(images / "movie.tif", stack, photometric="minisblack")
    predict.run(configured(**{**settings, "input": str(images / "movie.tif")}))
    names = sorted(path.name for path in Path(settings["output"]).glob("*.csv"))
    assert names == ["measurements.csv", "movie_p001.csv", "movie_p002.csv", "movie_p003.csv"]
    # A gray image is red and green to the blob finder.
    assert len(pd.read_csv(Path(settings["output"]) / "movie_p002.csv")) == 2


def test_planes_of_a_hyperstack_know_where_they_lie(settings: dict[str, Any], images: Path) -> None:
    stack = np.zeros((2, 3, 40, 40), np.uint8)
    stack[:, :, 10:20, 10:20] = 255
    tifffile.imwrite(images / "h.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    predict.run(configured(**{**settings, "input": str(images / "h.tif"), "formats": "imagej"}))
    for page, (t, z) in enumerate(np.ndindex(2, 3), 1):
        for roi in rois_of(Path(settings["output"]) / f"h_p{page:03d}.rois.zip"):
            assert (roi.t_position, roi.z_position) == (t + 1, z + 1)


def test_channels(settings: dict[str, Any], images: Path) -> None:
    pixels = np.zeros((5, 64, 64), np.uint16)
    pixels[3, 10:20, 10:20] = 60000
    tifffile.imwrite(images / "multi.ome.tif", pixels, metadata={"axes": "CYX"}, photometric="minisblack")
    config = configured(**{**settings, "input": str(images / "multi.ome.tif")}, channels=[3, 0])
    predict.run(config)
    [row] = pd.read_csv(Path(settings["output"]) / "multi.ome.csv").itertuples()
    assert (row.category, row.mean_red, row.mean_green) == ("nucleus", 60000, 0)


def test_results_inside_the_input_folder_are_no_input(settings: dict[str, Any], images: Path) -> None:
    within = {
        **settings,
        "input": f"{images}/**/*",
        "output": str(images / "results"),
        "formats": ["overlay", "labels"],
    }
    predict.run(configured(**within))
    predict.run(configured(**within, overwrite=True))
    assert len(list((images / "results").glob("*.overlay.png"))) == 3


@pytest.mark.parametrize("name", ["checkpoint", "input", "output"])
def test_what_is_missing_is_named(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=f"{name}=... is missing"):
        predict.run(configured(**{**settings, name: None}))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": "nowhere/*.png"}, "matches no PNG"),
        ({"formats": ["pdf"]}, "'pdf' is unknown"),
        ({"tile": 8}, "tile must be at least 32"),
        ({"overlap": 96}, "overlap less than it"),
        ({"accelerator": "tpu"}, "use auto, cpu or gpu"),
        ({"checkpoint": "gone.ckpt"}, "does not exist"),
        ({"channels": []}, "channels=.* must name one channel"),
        ({"channels": 3}, "channels=3 must name one channel"),
        ({"pixel_size_um": 0}, "pixel_size_um=0 must be the side of a pixel"),
        ({"min_area": -1}, "min_area=-1 must be a whole number"),
        ({"max_pixels": 0}, "max_pixels=0 must be a whole number"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict.run(configured(**{**settings, **wrong}))


def test_output_that_is_a_file(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be written.*choose a folder"):
        predict.run(configured(**{**settings, "output": str(tmp_path / "file")}))
    assert (tmp_path / "file").read_text() == "mine"


def test_full_disk(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fsync(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    # After every fsync a file is renamed: the fifth ends in the middle of the second image.
    with pytest.raises(InputError, match="the disk is full"):
        predict.run(configured(**settings))
    assert not list(Path(settings["output"]).rglob("*.part"))
    calls = 100
    predict.run(configured(**settings))
    assert len(COCO(Path(settings["output"]) / "predictions.json").anns) == 9


class Killed(BaseException):
    """A process that is killed does not clean up."""


def test_killed_between_any_two_files(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop before each renaming in turn; what has its final name is whole, and a second call completes the work."""
    predict.run(configured(**{**settings, "output": str(tmp_path / "reference")}))
    reference = content(tmp_path / "reference")
    rename, unlink = os.replace, Path.unlink
    for stop_at in range(1, 14):
        output = tmp_path / f"killed{stop_at}"
        calls = 0

        def interrupted(source: Any, target: Any, stop_at: int = stop_at) -> None:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise Killed
            rename(source, target)

        monkeypatch.setattr(os, "replace", interrupted)
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        try:
            predict.run(configured(**{**settings, "output": str(output)}))
        except Killed:
            left = content(output)
            assert {name: left[name] for name in left if not name.endswith(".part")}.items() <= reference.items()
        monkeypatch.setattr(os, "replace", rename)
        monkeypatch.setattr(Path, "unlink", unlink)
        predict.run(configured(**{**settings, "output": str(output)}))
        assert content(output) == reference


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_killed_by_a_signal(settings: dict[str, Any], number: signal.Signals) -> None:
    """A real process, stopped once the first image is done."""
    write_images(Path(settings["input"]), 5)
    program = holding(**settings, batch_size=1)
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    output = Path(settings["output"])
    while process.poll() is None and not list(output.glob(".records/*.json")):
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == -number
    for path in output.glob("*.coco.json"):
        json.loads(path.read_text())
    predict.run(configured(**settings))
    assert len(COCO(output / "predictions.json").imgs) == 5
    assert not list(output.rglob("*.part"))


def test_as_people_type_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A pattern with stars and a list pass Hydra's grammar; a user's mistake is one line and status 2."""
    monkeypatch.chdir(tmp_path)
    words = ["checkpoint=x.ckpt", f"input={tmp_path}/**/*.png", "output=out", "formats=[coco,label_layers]"]
    monkeypatch.setattr(sys, "argv", ["gains", "predict", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "matches no PNG" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
