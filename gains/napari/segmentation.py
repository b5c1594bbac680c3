"""One run of a model on one plane, as the widget asks for it: it reports its progress and can be stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from gains.errors import InputError
from gains.images.raster import ArrayRaster
from gains.prediction.predictor import load_model
from gains.prediction.result import Prediction


class Stopped(Exception):
    """Somebody pressed the button."""


@dataclass(frozen=True)
class Segmentation:
    """What to do.

    Attributes:
        checkpoint: file, name of a released model, or URL.
        image: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` of any type.
        name: what errors call it.
        settings: of :func:`gains.prediction.predictor.load_model`.
    """

    checkpoint: str
    image: npt.NDArray[Any]
    name: str
    settings: dict[str, Any]

    def __call__(self, on_progress: Callable[[float], None]) -> tuple[Prediction, list[str]]:
        """Run it.

        Args:
            on_progress: called with the share that is done, from 0 to 1, after each batch of tiles; what it raises
                ends the run.

        Returns:
            The instances, and what there is to say about the image.

        Raises:
            InputError: if the model or a setting does not fit.
        """
        predictor = load_model(self.checkpoint, **self.settings)
        done = 0.0

        def add(_: str, share: float) -> None:
            nonlocal done
            done += share
            on_progress(min(done, 1.0))

        on_progress(0.0)
        [(_, _, found)] = predictor.predict_many([(self.name, ArrayRaster(self.image, self.name))], add)
        if isinstance(found, InputError):
            raise found
        return found, predictor.notes.lines()
