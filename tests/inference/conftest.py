from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from blob_finder import blob_module

import gains.checkpoint
from gains.inference.predictor import Predictor


@pytest.fixture
def predictor() -> Callable[..., Predictor]:
    """Makes a predictor around the blob finder."""

    def make(categories: int = 2, **settings: Any) -> Predictor:
        return Predictor(blob_module(categories), torch.device("cpu"), **settings)

    return make


@pytest.fixture
def blob_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint file of the blob finder, whose class is vouched for."""
    monkeypatch.setattr(gains.checkpoint, "TRUSTED", (*gains.checkpoint.TRUSTED, "blob_finder."))
    path = tmp_path / "blobs.ckpt"
    module = blob_module()
    torch.save({"state_dict": module.state_dict(), "gains": module.recipe}, path)
    return path
