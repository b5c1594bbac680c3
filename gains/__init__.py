"""GAInS: instance segmentation of touching, overlapping and crossing biomedical objects."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gains.prediction.predictor import load_model as load_model

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def __getattr__(name: str) -> Any:
    """``gains.load_model``, imported when it is first used: ``import gains`` alone loads no torch."""
    if name == "load_model":
        from gains.prediction.predictor import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
