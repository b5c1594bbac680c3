"""``gains predict`` estimates the size of objects once, before the work is divided among units and workers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from gains.errors import InputError
from gains.images.files import open_rasters
from gains.images.notes import Notes
from gains.images.options import ReadOptions
from gains.images.raster import Raster
from gains.prediction.estimate import MOST_IMAGES, Estimate
from gains.prediction.folder import CLAIM
from gains.prediction.inputs import Source
from gains.prediction.predictor import Predictor

ENTRY = "estimated_diameter"
"""Of the settings that a folder of results holds."""


def settle_scale(
    config: DictConfig, predictor: Predictor, files: Sequence[Source], settings: Mapping[str, Any], notes: Notes
) -> None:
    """Estimate how large objects are, for predictor and workers, where nothing else tells the scale.

    A folder of results keeps the estimate that it was begun with.

    Args:
        config: of the call; gets the estimate, for workers.
        predictor: gets it too.
        files: images of the call, of which at most eight are looked at, spread over them.
        settings: that decide the results, without an estimate.
        notes: get what was chosen.
    """
    if predictor.scales.choose(predictor.scale):
        return
    kept = None if config.overwrite else earlier_estimate(Path(config.output), settings)
    estimate = kept or predictor.estimate(sample(files, config, predictor))
    predictor.estimated = estimate
    OmegaConf.update(config, "estimated", {"diameter": estimate.diameter, "text": estimate.text}, force_add=True)
    if estimate.text:
        notes.add("scale", estimate.text)


def earlier_estimate(output: Path, settings: Mapping[str, Any]) -> Estimate | None:
    """The estimate of an earlier call with the same settings into the same folder."""
    try:
        earlier = json.loads((output / CLAIM).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(earlier, dict) or ENTRY not in earlier:
        return None
    if any(earlier.get(name) != value for name, value in settings.items() if name not in ("tile", "overlap")):
        return None
    diameter = earlier[ENTRY]
    what = "as in training" if diameter is None else f"objects of about {diameter:g} pixels"
    return Estimate(diameter, f"{what}, as estimated when this folder was begun")


def sample(files: Sequence[Source], config: DictConfig, predictor: Predictor) -> list[Raster]:
    """The first images of at most eight files, spread over all; those that cannot be read are left out."""
    places = np.linspace(0, len(files) - 1, min(MOST_IMAGES, len(files))).round().astype(int).tolist()
    options = ReadOptions(config.channels, predictor.intensity, config.max_pixels)
    rasters = []
    for place in places:
        try:
            rasters += open_rasters(files[place].path, options)[:1]
        except InputError:
            continue
    return rasters
