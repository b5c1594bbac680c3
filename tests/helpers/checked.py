"""What a library may or may not give, given or the test fails."""

from collections.abc import Iterable
from pathlib import Path

import roifile
import tifffile
import torch
from torch import Tensor


def gradient_of(tensor: Tensor) -> Tensor:
    """Its gradient, which something must have reached."""
    assert tensor.grad is not None
    return tensor.grad


def sum_of(losses: Iterable[Tensor]) -> Tensor:
    """The sum of losses, of which there is at least one."""
    return torch.stack(list(losses)).sum()


def rois_of(path: Path) -> list[roifile.ImagejRoi]:
    """All ROIs of an archive."""
    found = roifile.roiread(path)
    assert isinstance(found, list)
    return found


def first_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    """The first page of a TIFF file, with its tags."""
    page = file.pages[0]
    assert isinstance(page, tifffile.TiffPage)
    return page
