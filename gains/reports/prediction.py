"""``report.html`` of a folder of predictions: what was found, to look at."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from gains.prediction.records import Record
from gains.reports.html import (
    Picture,
    bullets,
    cards,
    gallery,
    histograms,
    number,
    section,
    settings_table,
    table,
    write_page,
)
from gains.reports.tally import median

MAX_PICTURES = 120
"""More would make a page that no browser likes to open; the tables name every image."""


@dataclass(frozen=True)
class Image:
    """What the table says of an image; its area is the median in pixels."""

    name: str
    width: int
    height: int
    count: int
    area: float
    score: float
    overlapping: int


@dataclass
class Category:
    """Instances of a category, counted."""

    areas: Counter[float] = field(default_factory=Counter)
    scores: Counter[float] = field(default_factory=Counter)
    overlapping: int = 0

    @property
    def count(self) -> int:
        """Number of instances."""
        return self.scores.total()


@dataclass
class Summary:
    """What a report tells of a folder of results: it grows with the images, and hardly with the instances.

    Attributes:
        images: a line each.
        categories: by name.
        capped: names of images in which the cap on instances bit.
        hidden: instances that a plain label image shows no pixel of.
        figures: of the gallery, of the first images.
    """

    images: list[Image] = field(default_factory=list)
    categories: dict[str, Category] = field(default_factory=dict)
    capped: list[str] = field(default_factory=list)
    hidden: int = 0
    figures: list[tuple[list[Picture], str, str]] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Count an image."""
        area, score = median(record.areas), median(record.scores)
        size = (record.width, record.height)
        self.images.append(Image(record.name, *size, record.count, area, score, record.overlapping))
        instances = zip(record.categories, record.areas, record.scores, record.overlaps, strict=True)
        for name, pixels, likely, overlaps in instances:
            category = self.categories.setdefault(name, Category())
            category.areas[pixels] += 1
            category.scores[likely] += 1
            category.overlapping += overlaps
        if record.capped_tiles:
            self.capped.append(record.name)
        self.hidden += record.hidden
        if len(self.figures) < MAX_PICTURES:
            told = f"{record.count} instances, {record.overlapping} overlapping"
            self.figures.append(([Picture(record.drawn, record.plain)], record.name, told))


def summarise(records: Iterable[Record]) -> Summary:
    """Count records, of which one is held at a time."""
    found = Summary()
    for record in records:
        found.add(record)
    return found


def write_prediction_report(
    path: Path,
    found: Summary,
    settings: Mapping[str, Any],
    failures: Sequence[str],
    remarks: Sequence[str] = (),
) -> None:
    """Write the report of ``gains predict``.

    Args:
        path: of the page.
        found: in all images in the folder of results.
        settings: that they were predicted with.
        failures: what is wrong with files that could not be.
        remarks: what the last call had to say about files.
    """
    pixel = settings.get("pixel_size_um")
    factor, unit = (pixel**2, "µm²") if pixel else (1, "pixels")
    by_category = dict(sorted(found.categories.items()))
    every = Category()
    for each in by_category.values():
        every.areas.update(each.areas)
        every.scores.update(each.scores)
        every.overlapping += each.overlapping
    counts = [image.count for image in found.images]
    summary = {
        "images": number(len(counts)),
        "instances": number(every.count),
        "instances per image, median": number(median(counts)),
        f"area, median ({unit})": number(factor * median(every.areas)),
        "score, median": number(median(every.scores)),
        "overlap another" + (" of their category" if len(by_category) > 1 else ""): _share(every),
    }
    parts = [cards(summary)]
    if len(by_category) > 1:
        header = ["category", "instances", f"median area ({unit})", "median score", "overlap another of it"]
        rows = [
            [name, each.count, factor * median(each.areas), median(each.scores), _share(each)]
            for name, each in by_category.items()
        ]
        parts.append(section("Categories", table(header, rows)))
    if failures:
        parts.append(section("Could not be predicted", bullets(failures, "failures")))
    notes = [*_notes(found), *remarks]
    if notes:
        parts.append(section("Notes", bullets(notes, "notes")))
    charts = _charts(by_category, factor, unit)
    charts["score"] = every.scores
    if len(counts) > 2:
        charts["instances per image"] = counts
    parts.append(section("Distributions", histograms(charts)))
    header = ["image", "width", "height", "instances", f"median area ({unit})", "median score", "overlapping"]
    rows = [list(astuple(replace(image, area=factor * image.area))) for image in found.images]
    parts += [section("Pictures", gallery(found.figures)), section("Images", table(header, rows))]
    parts.append(section("Settings", settings_table(settings)))
    write_page(path, "Predicted instances", f"{settings.get('model')} ({settings.get('checkpoint')})", parts)


def _charts(categories: Mapping[str, Category], factor: float, unit: str) -> dict[str, Any]:
    """Areas of each category times a factor, by the title of their histogram."""
    return {
        f"area ({unit})" + (f", {name}" if len(categories) > 1 else ""): {
            factor * pixels: times for pixels, times in each.areas.items()
        }
        for name, each in categories.items()
    }


def cap_notes(found: Summary) -> list[str]:
    """A sentence on images in which the cap on instances bit; none where it did not."""
    if not found.capped:
        return []
    return [
        f"In {len(found.capped)} image(s), such as {found.capped[0]}, the network found as many instances in a tile as "
        "it may; some may be missing. Raise max_detections, or give each tile fewer to find with a smaller tile."
    ]


def _notes(found: Summary) -> list[str]:
    notes = cap_notes(found)
    if found.hidden:
        notes.append(
            f"{found.hidden} instance(s) lie wholly under smaller ones: a plain label image shows no pixel of them, "
            "all other formats do."
        )
    if len(found.images) > MAX_PICTURES:
        notes.append(
            f"Pictures of the first {MAX_PICTURES} of {len(found.images)} images are shown; the table has all."
        )
    return notes


def _share(instances: Category) -> str:
    return f"{instances.overlapping / instances.count:.0%}" if instances.count else "-"
