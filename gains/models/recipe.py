"""What a checkpoint holds beside weights: how the network is built, what it learned from, how it is to be used."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gains import __version__
from gains.errors import InputError
from gains.images.intensity import Intensity
from gains.models.build import Plan, check_plain
from gains.models.recipe_v1 import from_version_1
from gains.operating_point import OperatingPoint

VERSION = 2
"""Of the form in which a recipe is written. A file of another version is refused, but for version 1, which is read."""

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
    return Recipe(**known | {"operating_point": OperatingPoint(**point), "data": data and _read_data(data, source)})


def _read_data(plain: dict[str, Any], source: str) -> TrainingData:
    _check_entries(plain, {"annotations": (str,), "splits": (dict,)}, f"data of {source}")
    splits = plain["splits"]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in splits.values()):
        raise InputError(f"{source} has splits that are not lists of names")
    return TrainingData(plain["annotations"], splits)


def _check_entries(plain: dict[str, Any], kinds: Mapping[str, tuple[type, ...]], what: str) -> None:
    """Refuse missing, foreign and wrongly typed entries by name."""
    missing = [name for name in kinds if name not in plain]
    foreign = [name for name in plain if name not in kinds and name != "version"]
    wrong = [name for name, kind in kinds.items() if name in plain and not isinstance(plain[name], kind)]
    for problem, names in (("lacks", missing), ("has the unknown entry", foreign), ("has a wrong value for", wrong)):
        if names:
            raise InputError(f"{what} {problem} {', '.join(names)}; the file is damaged, or not written by gains train")
