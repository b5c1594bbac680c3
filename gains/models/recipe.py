"""What a checkpoint holds beside weights: how the network is built, what it learned from, how it is to be used."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gains import __version__
from gains.errors import InputError
from gains.images.intensity import Intensity
from gains.models.build import Plan, check_plain
from gains.models.recipe_v1 import from_version_1
from gains.operating_point import OperatingPoint

VERSION = 3
"""Of the form in which a recipe is written. Files of versions 1 and 2 are read too; they hold no sizes of objects."""

MAX_ENTRIES = 1_000_000
"""Of a recipe: the name of every image of a data set is one."""


@dataclass(frozen=True)
class TrainingData:
    """What a network was trained on, so that it is never evaluated on it unnoticed.

    Attributes:
        annotations: SHA-256 of the prepared ``annotations.json``.
        splits: names of the images of ``train``, ``val`` and ``test``.
    """

    annotations: str
    splits: dict[str, list[str]]


@dataclass(frozen=True)
class LearnedSizes:
    """How large the objects were that a network learned from: diameters of circles of the same area.

    Attributes:
        source: by category, the 5, 50 and 95 % quantiles in pixels of the images; categories without objects are not
            named.
        network: likewise, in pixels of what the network sees.
        pixel_size_um: side of a pixel of these images in micrometres; None where that is not known.
        target: the category that a typical object is of; None for the first.
    """

    source: dict[str, list[float]]
    network: dict[str, list[float]]
    pixel_size_um: float | None = None
    target: str | None = None

    @property
    def typical(self) -> str | None:
        """The category by which scales are told: the target, else the first that has objects; None if none has."""
        return self.target if self.target in self.network else next(iter(self.network), None)


@dataclass(frozen=True)
class Recipe:
    """All that is needed to build a network again and to predict with it.

    Attributes:
        network: resolved ``_target_`` tree (:mod:`gains.models.build`).
        categories: names; position + 1 is the label.
        image_side: longest side in pixels of the images it learned from: how much prediction shows it at a time.
        intensity: how pixel values become [0, 1].
        model: name of the model, for people.
        operating_point: which of its detections are kept, and which count.
        data: what it was trained on; None where that is not known.
        gains: version of the application that wrote it.
        checksum: of the weights that belong to it (:func:`gains.models.checkpoint.checksum`); None before they are
            written, and in files of version 1.
        sizes: of the objects it learned from; None where they are not known, as in files of versions 1 and 2.
    """

    network: Plan
    categories: list[str]
    image_side: int
    intensity: Intensity = "full_range"
    model: str = "network"
    operating_point: OperatingPoint = field(default_factory=OperatingPoint)
    data: TrainingData | None = None
    gains: str = __version__
    checksum: str | None = None
    sizes: LearnedSizes | None = None

    def at(self, settings: Mapping[str, Any]) -> "Recipe":
        """The same recipe at another operating point (see :meth:`OperatingPoint.override`)."""
        return replace(self, operating_point=self.operating_point.override(settings))

    def to_plain(self) -> dict[str, Any]:
        """The recipe as plain data, as a checkpoint holds it."""
        return {"version": VERSION, **asdict(self)}


KINDS: dict[str, tuple[type, ...]] = {
    "network": (dict,),
    "categories": (list,),
    "image_side": (int,),
    "intensity": (str,),
    "model": (str,),
    "operating_point": (dict,),
    "data": (dict, type(None)),
    "gains": (str,),
    "checksum": (str, type(None)),
    "sizes": (dict, type(None)),
}


def read_recipe(plain: Any, source: str) -> Recipe:
    """The recipe that plain data describes.

    Args:
        plain: of a checkpoint.
        source: the file, for messages.

    Raises:
        InputError: if it is not plain data, of an unknown version, or lacks an entry or has one too many.
    """
    check_plain(plain, source, MAX_ENTRIES)
    if not isinstance(plain, dict):
        raise InputError(f"{source} has a {type(plain).__name__} where its recipe should be")
    if not isinstance(plain.get("version"), int):
        plain = from_version_1(plain, source)
    if plain["version"] == 2 and "sizes" not in plain:
        plain = plain | {"version": VERSION, "sizes": None}
    if plain["version"] != VERSION:
        raise InputError(
            f"{source} is of version {plain['version']}, this is for version {VERSION}: use a newer version of gains"
        )
    _check_entries(plain, KINDS, f"the recipe of {source}")
    point, data = plain["operating_point"], plain["data"]
    _check_entries(point, {entry.name: (object,) for entry in fields(OperatingPoint)}, f"operating_point of {source}")
    categories = plain["categories"]
    if not categories or not all(isinstance(name, str) for name in categories) or len({*categories}) < len(categories):
        raise InputError(f"{source} has the categories {categories}; they must be different names")
    if plain["intensity"] not in ("full_range", "percentile"):
        raise InputError(f"{source} has the intensity {plain['intensity']!r}; it must be full_range or percentile")
    if plain["image_side"] < 1:
        raise InputError(f"{source} has the image_side {plain['image_side']}; it must be 1 or more")
    known = {name: value for name, value in plain.items() if name != "version"}
    read = {
        "operating_point": OperatingPoint(**point),
        "data": data and _read_data(data, source),
        "sizes": None if plain["sizes"] is None else _read_sizes(plain["sizes"], categories, source),
    }
    return Recipe(**known | read)


def _read_data(plain: dict[str, Any], source: str) -> TrainingData:
    _check_entries(plain, {"annotations": (str,), "splits": (dict,)}, f"data of {source}")
    splits = plain["splits"]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in splits.values()):
        raise InputError(f"{source} has splits that are not lists of names")
    return TrainingData(plain["annotations"], splits)


def _read_sizes(plain: dict[str, Any], categories: list[str], source: str) -> LearnedSizes:
    plain = {"target": None} | plain  # which checkpoints had no word for at first
    kinds = {
        "source": (dict,),
        "network": (dict,),
        "pixel_size_um": (float, type(None)),
        "target": (str, type(None)),
    }
    _check_entries(plain, kinds, f"sizes of {source}")
    parts = (plain["source"], plain["network"])
    for part in parts:
        if part.keys() != parts[0].keys() or not all(
            name in categories and _are_quantiles(values) for name, values in part.items()
        ):
            raise InputError(f"{source} has sizes that are not three rising diameters for each of its categories")
    pixel = plain["pixel_size_um"]
    if pixel is not None and not 0 < pixel < math.inf:
        raise InputError(f"{source} has the pixel_size_um {pixel}; it must be above 0")
    return LearnedSizes(**plain)


def _are_quantiles(values: Any) -> bool:
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(value, float) for value in values):
        return False
    return bool(0 < values[0] <= values[1] <= values[2] < math.inf)


def _check_entries(plain: dict[str, Any], kinds: Mapping[str, tuple[type, ...]], what: str) -> None:
    """Refuse missing, foreign and wrongly typed entries by name."""
    missing = [name for name in kinds if name not in plain]
    foreign = [name for name in plain if name not in kinds and name != "version"]
    wrong = [name for name, kind in kinds.items() if name in plain and not isinstance(plain[name], kind)]
    for problem, names in (("lacks", missing), ("has the unknown entry", foreign), ("has a wrong value for", wrong)):
        if names:
            raise InputError(f"{what} {problem} {', '.join(names)}; the file is damaged, or not written by gains train")
