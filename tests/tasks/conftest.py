from pathlib import Path
from typing import Any

import pytest

from helpers.predicting import write_images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path / "images"


@pytest.fixture
def settings(tmp_path: Path, images: Path, blob_checkpoint: Path) -> dict[str, Any]:
    return {"checkpoint": str(blob_checkpoint), "input": str(images), "output": str(tmp_path / "results")}
