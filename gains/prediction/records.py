"""What a folder of results remembers of every image: enough for the report, and the sign that the image is done."""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gains.drawing import Picture, draw_instances, enlarge, zoom_of
from gains.drawing.scale_bar import add_scale_bar
from gains.export.labels import hidden
from gains.export.overlay import view
from gains.files import replacing
from gains.images.raster import Raster
from gains.instances import Instances
from gains.overlaps import overlapping_pairs

FOLDER = ".records"
"""Hidden, so that no image of a folder of that name gets in its way."""
THUMBNAIL_SIDE = 640
"""Pixels: a report of many images is to open at once; what is looked at closely is the overlay."""
PICTURES = ', "plain": "'
"""Where the pictures begin in a file; quotes within a text have a backslash before them."""
CHUNK = 4096
QUALITY = 80
"""Of thumbnails, of 100."""


@dataclass(frozen=True)
class Record:
    """One image.

    Attributes:
        name: of its result files, without suffix.
        source: its file, below the folder that was searched.
        height: in pixels.
        width: in pixels.
        scores: of its instances.
        areas: of its instances, in pixels.
        categories: of its instances.
        overlaps: of its instances, whether each shares pixels with another of its category (a nucleus lies in its cell,
            which is no overlap to count).
        capped_tiles: see :class:`Instances`.
        hidden: how many of its instances a plain label image shows no pixel of.
        plain: the image, small, as WebP in base64.
        drawn: the same with its instances drawn on it.
    """

    name: str
    source: str
    height: int
    width: int
    scores: list[float]
    areas: list[int]
    categories: list[str]
    overlaps: list[bool]
    capped_tiles: int
    hidden: int
    plain: str
    drawn: str

    @property
    def count(self) -> int:
        """Number of instances."""
        return len(self.scores)

    @property
    def overlapping(self) -> int:
        """Number of instances that overlap another of their category."""
        return sum(self.overlaps)


def make_record(
    name: str, source: str, instances: Instances, image: Raster, pixel_size_um: float | None = None
) -> Record:
    """Summarise an image and draw it small, with scores and a scale bar."""
    picture, masks = view(instances.masks, image, THUMBNAIL_SIDE)
    first, second, _ = overlapping_pairs(instances.masks)
    alike = instances.labels[first] == instances.labels[second]
    overlaps = np.zeros(len(instances), dtype=bool)
    overlaps[first[alike]] = overlaps[second[alike]] = True
    drawn = draw_instances(picture, masks, texts=[f"{score:.2f}" for score in instances.scores])
    return Record(
        name=name,
        source=source,
        height=instances.size[0],
        width=instances.size[1],
        scores=[round(float(score), 4) for score in instances.scores],
        areas=instances.masks.areas().long().tolist(),
        categories=[instances.categories[label - 1] for label in instances.labels],
        overlaps=overlaps.tolist(),
        capped_tiles=instances.capped_tiles,
        hidden=len(hidden(instances)),
        plain=webp(enlarge(picture, zoom_of(picture))),
        drawn=webp(add_scale_bar(drawn, drawn.shape[1] / image.size[1], pixel_size_um)),
    )


def webp(picture: Picture) -> str:
    """An RGB picture as WebP in base64: half the size of a JPEG."""
    encoded = cv2.imencode(".webp", picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
    return base64.b64encode(encoded.tobytes()).decode("ascii")


def record_path(output: Path, name: str) -> Path:
    """Where the record of an image lies."""
    return output / FOLDER / f"{name}.json"


def write_record(output: Path, record: Record) -> None:
    """Write a record, after all other files of its image."""
    with replacing(record_path(output, record.name)) as temporary:
        temporary.write_text(json.dumps(asdict(record), allow_nan=False))


def read_records(output: Path, pictures: int) -> Iterator[Record]:
    """The records of a folder of results, by name; beyond the first ``pictures`` without theirs, to spare time."""
    for number, path in enumerate(sorted((output / FOLDER).rglob("*.json"))):
        yield Record(**(json.loads(path.read_text()) if number < pictures else _without_pictures(path)))


def _without_pictures(path: Path) -> dict[str, Any]:
    """What a record says before its pictures, which are most of it, and which come last."""
    text = ""
    with path.open() as file:
        while PICTURES not in text:
            more = file.read(max(CHUNK, len(text)))
            if not more:
                raise ValueError(f"{path} is no record")
            text += more
    return {**json.loads(text.partition(PICTURES)[0] + "}"), "plain": "", "drawn": ""}
