"""Reading, network and writing at once give what one after the other gives, and end as cleanly."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from gains.errors import InputError
from gains.export.formats import FORMATS
from gains.prediction import units
from gains.prediction.folder import save_image
from gains.tasks import predict
from helpers.predicting import configured, content, holding, write_images


def write_a_hard_folder(images: Path) -> None:
    """Plates, a compressed stack whose planes share one file handle, a larger image, a damaged and a strange one."""
    write_images(images, 5)
    random = np.random.default_rng(1)
    stack = random.integers(0, 90, (7, 130, 140)).astype(np.uint8)
    for page in range(len(stack)):
        stack[page, 10 * page : 10 * page + 30, 20:60] = 200 + page
    tifffile.imwrite(images / "plane.tif", stack, photometric="minisblack", compression="zlib", rowsperstrip=9)
    (images / "plate2b.png").write_bytes((images / "plate2.png").read_bytes()[:150])
    strange = np.zeros((200, 120), np.float32)
    strange[150, 100] = 4000
    tifffile.imwrite(images / "plate3b.tif", strange)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_same_files_messages_and_order(
    settings: dict[str, Any], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch_size: int
) -> None:
    write_a_hard_folder(images)
    printed = {}
    for ahead in (0, 1, 8):
        given = {**settings, "output": str(tmp_path / f"ahead{ahead}")}
        with pytest.raises(SystemExit):
            predict.run(configured(**given, ahead=ahead, batch_size=batch_size, formats=list(FORMATS)))
        printed[ahead] = capsys.readouterr().out.replace(f"ahead{ahead}", "")
        assert not any(thread.name.startswith("ahead") for thread in threading.enumerate())
    assert "2 of the files could not be predicted" in printed[0]
    assert printed[0] == printed[1] == printed[8]
    assert content(tmp_path / "ahead0") == content(tmp_path / "ahead1") == content(tmp_path / "ahead8")


def test_images_are_written_in_the_order_of_the_files(
    settings: dict[str, Any], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(images, 9)
    written: list[str] = []

    def slow(output: Path, name: str, *rest: Any) -> None:
        time.sleep(0.01 * (len(written) % 3))
        written.append(name)
        save_image(output, name, *rest)

    monkeypatch.setattr(units, "save_image", slow)
    predict.run(configured(**settings, batch_size=2))
    assert written == [f"plate{index}" for index in range(9)]


def test_an_error_of_the_network_is_raised_as_it_is(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from helpers.blob_finder import BlobFinder

    def fails(*_: Any) -> None:
        raise InputError("the device has too little memory")

    monkeypatch.setattr(BlobFinder, "find", fails)
    with pytest.raises(InputError, match="the device has too little memory"):
        predict.run(configured(**settings))


@pytest.mark.parametrize("ahead", [-1, 2.5, "many"])
def test_a_wrong_number_is_one_line(settings: dict[str, Any], ahead: Any) -> None:
    with pytest.raises(InputError, match=r"ahead=.* must be a whole number"):
        predict.run(configured(**settings, ahead=ahead))


def test_interrupted_with_ctrl_c(settings: dict[str, Any]) -> None:
    """A real process, interrupted after the first image: status 130, one line, no trace, nothing half-written."""
    write_images(Path(settings["input"]), 5)
    program = holding(**settings, batch_size=1)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    output = Path(settings["output"])
    while process.poll() is None and not list(output.glob(".records/*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished images are kept" in out
    assert "Traceback" not in errors
    assert not list(output.rglob("*.part"))
    assert len(list(output.glob(".records/*.json"))) == 1
