from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import gains.models.checkpoint
from gains.prediction.predictor import Predictor
from helpers.blob_finder import blob_module


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with oracles and real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared with oracles and real images beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def predictor() -> Callable[..., Predictor]:
    """Makes a predictor around the blob finder."""

    def make(categories: int = 2, **settings: Any) -> Predictor:
        return Predictor(blob_module(categories), torch.device("cpu"), **settings)

    return make


@pytest.fixture
def blob_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint file of the blob finder, whose class is vouched for."""
    monkeypatch.setattr(gains.models.checkpoint, "TRUSTED", (*gains.models.checkpoint.TRUSTED, "helpers.blob_finder."))
    path = tmp_path / "blobs.ckpt"
    module = blob_module()
    torch.save({"state_dict": module.state_dict(), "gains": module.recipe}, path)
    return path
