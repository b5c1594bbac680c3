"""How large a pixel is, where the file of a microscope says so."""

import math
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

SMALLEST, LARGEST = 0.01, 20.0
"""In micrometres: beyond, a size is that of a printer's dot (72 or 300 dpi), or of nothing."""

MOST_UNEQUAL = 1.1
"""Pixels are square up to this ratio of their sides."""

MICROMETRES = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", r"\u00b5m"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("å", "angstrom"), 1e-4),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    **dict.fromkeys(("inch", "in"), 25400.0),
}
"""In units as OME-TIFF and ImageJ write them, in small letters."""


def tiff_pixel_size(file: Any, series: Any) -> float | None:
    """Side of the pixels of an image in micrometres, as OME-XML or ImageJ's metadata say.

    Args:
        file: of tifffile.
        series: one of the file's.

    Returns:
        None where the file does not say, pixels are not square, or the size is no microscope's.
    """
    return square_side(lambda: _ome(file, series) if file.is_ome else _imagej(file, series) if file.is_imagej else None)


def ngff_pixel_size(scales: Mapping[str, Any], axes: str) -> float | None:
    """The same of an OME-Zarr image at full resolution: its transformations, in the units of its axes.

    Args:
        scales: its entry of ``multiscales``.
        axes: a letter for each axis.
    """
    return square_side(lambda: (_ngff_side(scales, axes.index("X")), _ngff_side(scales, axes.index("Y"))))


def czi_pixel_size(metadata: Callable[[], str]) -> float | None:
    """The same of a CZI file, from what gives its metadata as XML; lengths in it are in metres."""

    def sides() -> tuple[float, float]:
        items = ElementTree.fromstring(metadata()).findall(".//Scaling/Items/Distance")
        metres = {item.attrib.get("Id"): item.findtext("Value") for item in items}
        return 1e6 * float(metres["X"] or ""), 1e6 * float(metres["Y"] or "")

    return square_side(sides)


def square_side(sides: Callable[[], tuple[float, float] | None]) -> float | None:
    """The side of a pixel, if its two sides in micrometres are such as a microscope has.

    Args:
        sides: gives them; None, or any error, says nothing.
    """
    try:
        found = sides()
    # Metadata are text that anyone may have written, read by readers that raise whatever that leads to.
    except Exception:
        return None
    if found is None or not all(SMALLEST <= side <= LARGEST for side in found):
        return None
    return math.sqrt(found[0] * found[1]) if max(found) <= MOST_UNEQUAL * min(found) else None


def _ome(file: Any, series: Any) -> tuple[float, float] | None:
    """Of the image that a series is; where images and series do not match, what all images agree on."""
    pixels = [entry for entry in ElementTree.fromstring(file.ome_metadata).iter() if entry.tag.endswith("}Pixels")]
    found = [(_ome_side(entry, "X"), _ome_side(entry, "Y")) for entry in pixels]
    place = next((index for index, each in enumerate(file.series) if each is series), -1)
    if len(found) == len(file.series) and place >= 0:
        return found[place]
    return found[0] if len({*found}) == 1 else None


def _ome_side(pixels: ElementTree.Element, axis: str) -> float:
    unit = pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")
    return float(pixels.attrib[f"PhysicalSize{axis}"]) * MICROMETRES[unit.lower()]


def _imagej(file: Any, series: Any) -> tuple[float, float]:
    """ImageJ writes pixels per unit as the resolution of the TIFF page."""
    unit = MICROMETRES[str(file.imagej_metadata["unit"]).lower()]
    tags = series.keyframe.tags
    wide, high = (tags[name].value for name in ("XResolution", "YResolution"))
    return unit * wide[1] / wide[0], unit * high[1] / high[0]


def _ngff_side(scales: Mapping[str, Any], place: int) -> float:
    """Along one axis: the scale of the level times that of all levels."""
    unit = MICROMETRES[scales["axes"][place]["unit"].lower()]
    all_levels = scales.get("coordinateTransformations") or []
    steps = [*scales["datasets"][0]["coordinateTransformations"], *all_levels]
    factors = [float(step["scale"][place]) for step in steps if step["type"] == "scale"]
    if not factors:
        raise KeyError("scale")
    return unit * math.prod(factors)
