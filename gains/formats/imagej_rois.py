"""ROIs of ImageJ and Fiji: which pixels they fill there, by the rules of its own filling."""

import io
import re
import zipfile
import zlib
from pathlib import PurePosixPath

import numpy as np
import roifile
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

from gains.errors import InputError
from gains.formats.archives import is_junk
from gains.formats.faults import Faults
from gains.formats.polygons import Drawn, ellipse, ring

OWN_NAME = re.compile(r"\d+_(?P<category>.+)_\d\.\d+")
"""Of ROIs that this program writes."""
POLYGONS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
NO_AREA = "no area; remove it, or make it one in ImageJ (Edit > Selection)"


def read_rois(data: bytes, where: str) -> list[Drawn]:
    """Objects of an archive of ImageJ ROIs; of names that this program gave, the category is kept.

    Raises:
        InputError: with all ROIs that are no areas or damaged, or if the archive holds other files only.
    """
    found, faults = [], Faults(where)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [name for name in archive.namelist() if not is_junk(name)]
            rois = [name for name in entries if name.lower().endswith(".roi")]
            for name in rois:
                with faults.collected():
                    found.append(read_roi(archive.read(name), f"{where}:{name}"))
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{where} is not a readable zip archive: {error}") from None
    if entries and not rois:
        raise InputError(f"{where} has no ROI in it, but {entries[0]}; save ROIs from ImageJ's ROI Manager")
    faults.check()
    return found


def read_roi(data: bytes, where: str) -> Drawn:
    """The object of one ROI.

    Raises:
        InputError: if it is no area, an area whose pixels only ImageJ knows, or damaged.
    """
    try:
        roi = roifile.ImagejRoi.frombytes(data)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{where} is no readable ROI: {error}") from None
    _check_kind(roi, where)
    try:
        outlines = _outlines(roi)
    except Exception as error:
        raise InputError(f"{where} is no readable ROI: {error}") from None
    if outlines is None:
        middle = ((roi.left + roi.right) / 2, (roi.top + roi.bottom) / 2)
        rings = [ellipse(middle, ((roi.right - roi.left) / 2, (roi.bottom - roi.top) / 2), where)]
    else:
        rings = [ring(each, where) for each in outlines]
    called = roi.name or PurePosixPath(where.rpartition(":")[2]).stem
    named = OWN_NAME.fullmatch(called)
    return Drawn(named["category"] if named else "", [rings], plane=_plane(roi), imagej=True)


def _check_kind(roi: roifile.ImagejRoi, where: str) -> None:
    """Refuse what is no area, and areas that are more than their corners say."""
    if roi.multi_coordinates is not None:
        path = roi.multi_coordinates.tolist()
        place = 0
        while place < len(path) and path[place] in STEPS:
            place += STEPS[path[place]]
        if place < len(path) and path[place] in (2, 3):
            raise InputError(f"{where} is a composite with curves; make its parts polygons (Edit > Selection) first")
        return
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        raise InputError(f"{where} is a {roi.subtype.name}, {NO_AREA}")
    if roi.roitype not in (*POLYGONS, ROI_TYPE.RECT, ROI_TYPE.OVAL):
        raise InputError(f"{where} is a {roi.roitype.name}, {NO_AREA}")
    if roi.roitype == ROI_TYPE.RECT and roi.rounded_rect_arc_size > 0:
        raise InputError(f"{where} is a rectangle with round corners; make it a polygon (Edit > Selection) first")
    if roi.roitype in POLYGONS and roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise InputError(f"{where} is fitted by a spline; Edit > Selection > Interpolate makes it a polygon")


STEPS = {0.0: 3, 1.0: 3, 4.0: 1}
"""Values that each operation of a composite path takes: move, line and close."""


def _outlines(roi: roifile.ImagejRoi) -> list[np.ndarray] | None:
    """Corners of each ring; None for an oval. A rectangle fills whole pixels, also where it was drawn between them."""
    if roi.multi_coordinates is not None:
        return [np.asarray(part) for part in roi.coordinates(multi=True)]
    if roi.roitype == ROI_TYPE.RECT:
        return [np.array([[roi.left, roi.top], [roi.right, roi.top], [roi.right, roi.bottom], [roi.left, roi.bottom]])]
    return None if roi.roitype == ROI_TYPE.OVAL else [np.asarray(roi.coordinates())]


def _plane(roi: roifile.ImagejRoi) -> tuple[int, int] | None:
    """Slice and time point from 1 in a hyperstack, the number of the page in a plain stack; None for all planes."""
    if roi.z_position > 0 or roi.t_position > 0:
        return roi.z_position, roi.t_position
    return (roi.position, 0) if roi.position > 0 else None
