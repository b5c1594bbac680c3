from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from PIL import Image

from gains.config import compose
from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.source import ImageRecord, Instance
from gains.errors import InputError
from gains.reports.annotations import write_sheet
from gains.rle import encode_crop
from gains.tasks.prepare import run
from gains.tasks.sizes import fit_sizes, learned_sizes

SIDE = 600


class Specks:
    """Images of 600 pixels on black with nuclei of 14, one of them annotated twice its brightness."""

    categories: ClassVar = ["nucleus"]

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[ImageRecord]:
        for index in range(3):
            pixels, instances = np.zeros((SIDE, SIDE), np.uint16), []
            for place in range(10 * (index + 1)):
                x, y = 40 * (place % 14), 50 * (place // 14)
                pixels[y : y + 14, x : x + 14] = 3000
                mask = encode_crop(np.ones((14, 14), bool), (x, y, x + 14, y + 14), (SIDE, SIDE))
                instances.append(Instance("nucleus", mask))
            yield ImageRecord(f"field{index}", pixels, instances)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "specks"
    prepare(Specks(), folder, seed=0, ratios=(1, 1, 1))
    return folder


def test_training_says_how_small_objects_become_and_what_would_help(root: Path) -> None:
    config = compose("train", "dataset=coco", "model=mask_rcnn", "dataset.short_side=128")
    notes = fit_sizes(config, load_annotations(root))
    assert notes[0].startswith("nucleus: 3, 3, 3 network pixels")
    assert any("dataset.crop=true dataset.short_side=" in note for note in notes)
    assert list(config.model.anchor_sizes) == [16, 32, 64, 128, 256]
    crops = compose("train", "dataset=coco", "model=mask_rcnn", "dataset.short_side=128", "dataset.crop=true")
    notes = fit_sizes(crops, load_annotations(root))
    assert notes[0].startswith("nucleus: 16, 16, 16 network pixels")
    assert not any("crop" in note or "anchor" in note for note in notes)


def test_anchors_are_taken_from_the_data_on_request(root: Path) -> None:
    config = compose("train", "dataset=coco", "model=gains", "dataset.short_side=128", "model.anchor_sizes=auto")
    notes = fit_sizes(config, load_annotations(root))
    assert list(config.model.network.rpn.anchor_sizes) == [8, 16, 32, 64, 128]
    assert "model.anchor_sizes=[8, 16, 32, 64, 128] fit the objects" in notes
    wrong = compose("train", "dataset=coco", "model=gains", "model.anchor_sizes=some")
    with pytest.raises(InputError, match="anchor_sizes=some must be auto or a list"):
        fit_sizes(wrong, load_annotations(root))


def test_one_short_side_drives_training_and_testing() -> None:
    config = compose("train", "augmentation.short_sides=[320]")
    assert config.augmentation.test_short_side == 320
    assert config.model.network.transform.short_side == 320
    assert compose("train", "augmentation=paper").augmentation.test_short_side == 800


def test_the_sheet_shows_every_image_with_its_instances_coloured(root: Path, tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", load_annotations(root))
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    # Images are gray, so whatever has a hue is an annotation.
    hue = np.ptp(sheet[:, :, :3], axis=2) > 60
    counts = [hue[:, 8 + 408 * index : 8 + 408 * index + 400].sum() for index in range(3)]
    assert sheet.shape[1] >= 3 * 408
    assert 0 < counts[0] < counts[1] < counts[2]


def test_prepare_prints_sizes_and_leaves_the_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("dataset.format.num_images=5", "dataset.format.image_size=96", f"dataset.root={tmp_path / 'cells'}")
    run(compose("prepare", "dataset=overlapping_cells", *small))
    printed = capsys.readouterr().out
    assert "cytoplasm: " in printed
    assert "network pixels across" in printed
    assert "suggested: model.anchor_sizes=auto" in printed
    assert (tmp_path / "cells" / "annotations.png").is_file()


@pytest.mark.parametrize(
    ("sides", "expected"), [((0.25, 0.25, 0.26), 0.25), ((0.25, 0.5, 0.25), None), ((0.25, 0.25), None)]
)
def test_prepare_records_the_size_of_pixels_that_all_images_have(
    tmp_path: Path, sides: tuple[float, ...], expected: float | None
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    labels = np.zeros((60, 60), np.uint8)
    labels[10:30, 10:30], labels[40:55, 40:55] = 1, 2
    for index in range(3):
        metadata = {"PhysicalSizeX": side, "PhysicalSizeY": side} if (side := [*sides, None][index]) else {}
        path = tmp_path / "images" / f"{index}.tif"
        tifffile.imwrite(path, 100 * labels, ome=True, metadata={"axes": "YX", **metadata})
        Image.fromarray(labels).save(tmp_path / "labels" / f"{index}.png")
    words = ["dataset=label_images", f"dataset.source={tmp_path / 'labels'}", f"dataset.images={tmp_path / 'images'}"]
    run(compose("prepare", *words, f"dataset.root={tmp_path / 'data'}", "dataset.name=cells"))
    annotations = load_annotations(tmp_path / "data")
    assert annotations.info.get("pixel_size_um") == expected
    config = compose("train", "dataset=coco", "model=mask_rcnn")
    assert learned_sizes(config, annotations, list(annotations.images)).pixel_size_um == expected
    config.dataset.pixel_size_um = 2
    assert learned_sizes(config, annotations, list(annotations.images)).pixel_size_um == 2
    config.dataset.pixel_size_um = 0
    with pytest.raises(InputError, match=r"dataset.pixel_size_um=0 must be"):
        learned_sizes(config, annotations, [])
