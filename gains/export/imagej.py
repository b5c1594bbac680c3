"""ImageJ ROI zip: opens in Fiji's ROI Manager by drag and drop."""

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import roifile

from gains.export.export import Export
from gains.export.outlines import rings
from gains.files import replacing

MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
"""Operations of ImageJ's composite path, those of java.awt.geom.PathIterator."""


MOST_CORNERS = 65535
"""A plain polygon counts its corners with 16 bits, a composite path with 32."""
FARTHEST = 32767
"""Pixels: the coordinates of a plain polygon are 16-bit integers, those of a composite path floats."""


def write_imagej(path: Path, export: Export) -> None:
    """One ROI per instance, named ``id_category_score``; no instance, no ROI in the zip.

    An instance of one piece without holes is a polygon, another a composite ROI; either encloses its pixels exactly.
    ROIs of a plane of a stack carry its position.
    """
    instances = export.instances
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, shape in enumerate(export.outlines):
            category = instances.categories[instances.labels[index] - 1]
            name = f"{index + 1:05d}_{category}_{instances.scores[index]:.3f}"
            # A slash would make a folder inside the archive, which ImageJ does not read.
            name = name.replace("/", "-")
            roi = _roi(rings(shape), name)
            _place(roi, export)
            archive.writestr(f"{name}.roi", roi.tobytes())


def _place(roi: roifile.ImagejRoi, export: Export) -> None:
    """Say on which plane of its stack a ROI lies: by axis in a hyperstack, by number in a plain stack."""
    position = export.position
    if len(position) > 1:
        # 0 is every channel: a ROI belongs to all that show the same plane.
        roi.c_position, roi.z_position, roi.t_position = 0, position.get("Z", 0) + 1, position.get("T", 0) + 1
    elif export.page is not None:
        roi.position = export.page


def _roi(outlines: list[npt.NDArray[np.float64]], name: str) -> roifile.ImagejRoi:
    points = np.concatenate(outlines)
    left, top = (int(start) for start in points.min(axis=0))
    right, bottom = (int(end) for end in points.max(axis=0))
    if len(outlines) == 1 and len(points) <= MOST_CORNERS and max(right, bottom) <= FARTHEST:
        roi = roifile.ImagejRoi.frompoints(points[:-1].astype(np.int32), name=name)
        roi.roitype = roifile.ROI_TYPE.POLYGON
    else:
        roi = roifile.ImagejRoi()
        roi.roitype, roi.name = roifile.ROI_TYPE.RECT, name
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in outlines]).astype(np.float32)
        roi.shape_roi_size = len(roi.multi_coordinates)
    # The bounding box of pixel edges ends on the last one, not a pixel behind it. Of a composite path it is not read.
    roi.left, roi.top, roi.right, roi.bottom = (min(side, FARTHEST) for side in (left, top, right, bottom))
    return roi


def _path(ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    steps = np.concatenate([np.full((len(ring) - 1, 1), LINE), ring[:-1]], axis=1)
    steps[0, 0] = MOVE
    return np.concatenate([steps.ravel(), [CLOSE]])
