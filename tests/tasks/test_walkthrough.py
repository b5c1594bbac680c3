"""The pages' ways from images to a model and back are walked, with their own commands and small settings added."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.commands import gains
from helpers.documented import ROOT, shell

SMALL = {
    "prepare": [],
    "train": [
        *(
            "trainer.max_steps=1",
            "trainer.val_check_interval=1",
            "dataset.short_side=64",
            "num_workers=0",
            "logger=csv",
        ),
        *("model.width={fpn: 16, box: 16, mask: 16}", "model.proposals={pre_nms: [50, 50], post_nms: [50, 20]}"),
        "batch_size=2",
    ],
    "predict": ["score_threshold=0", "min_score=0", "max_detections=5"],
}
"""Settings that make a command of a page quick, so that an untrained model finds something."""


def walk(folder: Path, page: str, first: str) -> list[str]:
    """Run three commands of a page in a folder; returns which.

    Args:
        folder: has what the commands read.
        page: a file of ``docs``.
        first: a word of the first of them.
    """
    lines = [shlex.split(line, comments=True) for line in shell(ROOT / "docs" / page).splitlines()]
    start = next(index for index, words in enumerate(lines) if first in words)
    for _, command, *words in lines[start : start + 3]:
        settings = []
        for word in words:
            if word.startswith("checkpoint=outputs/train/..."):  # what the run before printed
                [best] = folder.glob("outputs/train/*/*/checkpoints/best.ckpt")
                word = f"checkpoint={best}"
            if not word.startswith("trainer.max_steps="):
                settings.append(word)
        gains(folder, command, *settings, *SMALL[command])
    return [words[1] for words in lines[start : start + 3]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images with label images beside them in ``folder``, alone in ``new_images`` and ``images``."""
    rng = np.random.default_rng(5)
    for number in range(6):
        labels = np.zeros((64, 64), np.uint8)
        labels[8:28, 6:30], labels[30:54, 34:58] = 1, 2
        image = Image.fromarray((rng.integers(0, 40, labels.shape) + 90 * (labels > 0)).astype(np.uint8))
        for place in ("folder", "images", "new_images"):
            (tmp_path / place).mkdir(exist_ok=True)
            if place == "folder" or number < 5:
                image.save(tmp_path / place / f"field{number}.png")
        Image.fromarray(labels).save(tmp_path / "folder" / f"field{number}_masks.png")
    return tmp_path


def test_from_own_images_to_results_and_through_the_loop_of_correction(folder: Path) -> None:
    assert walk(folder, "getting_started.md", "dataset=label_images") == ["prepare", "train", "predict"]
    assert (folder / "predicted" / "report.html").is_file()
    [best] = folder.glob("outputs/train/*/*/checkpoints/best.ckpt")
    best.rename(folder / "best.ckpt")
    assert walk(folder, "finetuning.md", "output=round1") == ["predict", "prepare", "train"]
    assert list(folder.glob("outputs/train/*/*/checkpoints/best.ckpt"))
