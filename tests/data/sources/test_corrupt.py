"""Bad input through ``gains prepare``: one clear error that names the file, and nothing half-written."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gains.config import compose
from gains.errors import InputError
from gains.images.files import read_image, write_image
from gains.tasks.prepare import run
from helpers.commands import gains
from helpers.sources import SIZE

MANIFEST = [
    "truncated.png",
    "zero_byte.png",
    "mask_wrong_shape/",
    "coco_dangling_image_id.json",
    "coco_empty_segmentation.json",
    "coco_polygon_two_points.json",
    "coco_undeclared_category.json",
    "coco_rle_wrong_size.json",
    "rgba_16bit.png",
    "not_an_image.png",
    "path_traversal.zip",
]


def prepare(root: Path, *overrides: str) -> None:
    run(compose("prepare", f"dataset.root={root}", "dataset.ratios=[1,0,0]", *overrides))


def coco_of(image: Path, folder: Path, height: int = 256, width: int = 256) -> Path:
    """A COCO file that refers to one image."""
    (folder / "images").mkdir(parents=True)
    shutil.copy(image, folder / "images")
    mask = [[1, 1, 9, 1, 9, 9]]
    coco = {
        "images": [{"id": 1, "file_name": image.name, "height": height, "width": width}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": mask}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder / "annotations.json"


def refused(out: Path, named: str, *overrides: str) -> str:
    """Prepare, and see that it fails with an error naming the file and leaves an empty folder."""
    out.mkdir()
    with pytest.raises(InputError) as caught:
        prepare(out / "root", *overrides)
    assert named in str(caught.value)
    assert not list(out.iterdir())
    return str(caught.value)


def test_manifest_is_the_one_tested_here(shared: Path) -> None:
    lines = (shared / "data/fixture/corrupt/manifest.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == MANIFEST


@pytest.mark.parametrize("name", MANIFEST)
def test_each_corrupt_file(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data/fixture/corrupt" / name
    if name == "rgba_16bit.png":
        # Nothing is wrong with it but its rarity: it has to come through with all 16 bits.
        prepare(tmp_path / "root", "dataset=coco", f"dataset.source={coco_of(path, tmp_path / 'in', 64, 80)}")
        pixels = read_image(tmp_path / "root/images/rgba_16bit.png")
        assert (pixels.shape, pixels.dtype) == ((64, 80, 3), np.uint16)  # type: ignore[comparison-overlap]
        assert pixels.max() > 255
    elif name.endswith(".png"):
        refused(tmp_path / "out", name, "dataset=coco", f"dataset.source={coco_of(path, tmp_path / 'in')}")
    elif name.endswith(".json"):
        message = refused(tmp_path / "out", name, "dataset=coco", f"dataset.source={path}")
        assert "annotation 2" in message
    else:
        named = "mask_wrong_shape.png" if name.endswith("/") else name
        refused(tmp_path / "out", named, "dataset=kaggle2018", f"dataset.source={path}")
        assert not list(tmp_path.rglob("evil.txt"))
        assert not (path.parent.parent / "evil.txt").exists()


@pytest.mark.parametrize("defect", ["half", "empty", "text"])
def test_generated_bad_images(tmp_path: Path, write_kaggle: Any, defect: str) -> None:
    folder = write_kaggle(tmp_path / "in")
    for name in ("images/sample.png", "masks/m1.png"):
        path = folder / "sample" / name
        sound = path.read_bytes()
        path.write_bytes({"half": sound[: len(sound) // 2], "empty": b"", "text": b"no image"}[defect])
        refused(tmp_path / path.stem, str(path), "dataset=kaggle2018", f"dataset.source={folder}")
        path.write_bytes(sound)
    prepare(tmp_path / "root", "dataset=kaggle2018", f"dataset.source={folder}")


def test_generated_mask_of_another_shape(tmp_path: Path, write_kaggle: Any) -> None:
    folder = write_kaggle(tmp_path / "in")
    write_image(folder / "sample/masks/m1.png", np.full((9, 9), 255, np.uint8))
    refused(tmp_path / "out", "m1.png", "dataset=kaggle2018", f"dataset.source={folder}")


def test_generated_path_traversal(tmp_path: Path, write_kaggle: Any) -> None:
    folder = write_kaggle(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
        archive.writestr("../evil.txt", "evil")
    refused(tmp_path / "out", "a.zip", "dataset=kaggle2018", f"dataset.source={tmp_path / 'a.zip'}")
    assert not list(tmp_path.rglob("evil.txt"))


def test_bad_annotation_after_good_images(tmp_path: Path, write_coco: Any, coco: dict[str, Any], pixels: Any) -> None:
    """The second image is bad: the first is already written by then, and must vanish."""
    coco["images"].append(coco["images"][0] | {"id": 8, "file_name": "b.png"})
    path = write_coco(tmp_path / "in", coco)
    write_image(path.parent / "images/b.png", pixels[:5])
    message = refused(tmp_path / "out", "b.png", "dataset=coco", f"dataset.source={path}")
    assert f"5x{SIZE[1]}" in message


def test_command_line_prints_the_message_alone(tmp_path: Path, write_coco: Any, coco: dict[str, Any]) -> None:
    coco["annotations"][1]["segmentation"] = []
    path = write_coco(tmp_path / "in", coco)
    overrides = [f"dataset.root={tmp_path / 'out/root'}", f"hydra.run.dir={tmp_path / 'run'}"]
    printed = gains(tmp_path, "prepare", "dataset=coco", f"dataset.source={path}", *overrides, status=2)
    assert printed.strip().splitlines() == [
        f"gains prepare: {path}: annotation 2 has an empty segmentation; give polygons or RLE, or remove the annotation"
    ]
    assert not (tmp_path / "out").exists()
