"""GAInS: instance segmentation of touching, overlapping and crossing biomedical objects."""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gains.config import compose as compose
    from gains.models.build import build_network as build_network
    from gains.prediction.predictor import load_model as load_model

__version__ = "0.1.0"

# albumentations asks the internet for a newer version when it is imported, which takes seconds where there is none.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
__all__ = ["__version__", "build_network", "compose", "load_model"]

LAZY = {"build_network": "gains.models.build", "compose": "gains.config", "load_model": "gains.prediction.predictor"}


def __getattr__(name: str) -> Any:
    """The public functions, imported when they are first used: ``import gains`` alone loads no torch."""
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
