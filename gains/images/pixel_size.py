"""How large a pixel is, where a TIFF file of a microscope says so."""

import math
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


def pixel_size_um(file: Any, series: Any) -> float | None:
    """Side of the pixels of an image in micrometres, as OME-XML or ImageJ's metadata say.

    Args:
        file: of tifffile.
        series: one of the file's.

    Returns:
        None where the file does not say, pixels are not square, or the size is no microscope's.
    """
    try:
        sides = _ome(file, series) if file.is_ome else _imagej(file, series) if file.is_imagej else None
    # Metadata are text that anyone may have written: what cannot be read says nothing.
    except (ElementTree.ParseError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError, OverflowError):
        return None
    if sides is None or not all(SMALLEST <= side <= LARGEST for side in sides):
        return None
    return math.sqrt(sides[0] * sides[1]) if max(sides) <= MOST_UNEQUAL * min(sides) else None


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
