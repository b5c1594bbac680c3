from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gains.models.checkpoint import seal
from gains.prediction.predictor import Predictor
from helpers.blob_finder import BlobFinder, blob_predictor, blob_recipe


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
    return blob_predictor


@pytest.fixture
def blob_checkpoint(tmp_path: Path) -> Path:
    """A checkpoint file of the blob finder, which loads with ``trust=["helpers"]``."""
    path = tmp_path / "blobs.ckpt"
    state = {f"network.{name}": value for name, value in BlobFinder().state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(blob_recipe(), state)}, path)
    return path
