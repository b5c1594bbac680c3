"""The parts of GAMM: the radial field against numpy, window sums against plain ones."""

import numpy as np
import pytest
import torch

from gains.gradient_anomaly.field import largest_magnitude, radial_gradient
from gains.gradient_anomaly.sums import Sheet


@pytest.mark.parametrize("size", [(1, 7), (2, 2), (3, 9), (12, 5)])
def test_radial_gradient_is_numpys(size: tuple[int, int]) -> None:
    centroid = torch.tensor([[0.3, 1.7], [size[0] - 1.0, 0.0]], dtype=torch.float64)
    y, x = np.mgrid[: size[0], : size[1]]
    for index, (cy, cx) in enumerate(centroid.tolist()):
        squared = (y - cy) ** 2 + (x - cx) ** 2
        expected = [np.gradient(squared, axis=axis) if size[axis] > 1 else 0 * squared for axis in (0, 1)]
        ours = torch.meshgrid(
            *(radial_gradient(torch.arange(n), centroid[index, axis], n) for axis, n in enumerate(size)), indexing="ij"
        )
        if min(size) > 1:
            np.testing.assert_allclose(torch.stack(ours), expected, atol=1e-12)
            assert largest_magnitude(centroid, size)[index].item() == pytest.approx(np.hypot(*expected).max())


@pytest.mark.parametrize("tapered", [False, True])
@pytest.mark.parametrize("window", range(1, 10))
def test_window_sums_on_a_sheet(window: int, tapered: bool) -> None:
    """Every window of every box, against a sum over its own pixels; the neighbours on the sheet must not leak in."""
    boxes = torch.tensor([[3, 5, 9, 8], [0, 0, 4, 170], [7, 7, 8, 8], [2, 4, 30, 20]])
    margin = window if tapered else window - 1
    sheet = Sheet(boxes, margin, torch.device("cpu"))
    weight = torch.ones(margin + 1, dtype=torch.float64)
    if tapered:
        weight[0] = weight[-1] = 0.5
    images, indices, values = [], [], []
    for instance, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        image = torch.zeros(200, 60, dtype=torch.float64)
        image[y0 + 15 : y1 + 15, x0 + 15 : x1 + 15] = torch.rand(y1 - y0, x1 - x0, dtype=torch.float64)
        y, x = image.nonzero().T
        images.append(image)
        indices.append(sheet.index(torch.full_like(y, instance), y - 15, x - 15))
        values.append(image[y, x])
    sums = sheet.window_sums(sheet.raster(torch.cat(indices), torch.cat(values)), window, tapered=tapered)
    for instance, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        y, x = torch.meshgrid(torch.arange(y0 - margin, y1), torch.arange(x0 - margin, x1), indexing="ij")
        windows = images[instance].unfold(0, margin + 1, 1).unfold(1, margin + 1, 1)[y + 15, x + 15]
        expected = torch.einsum("yxij,i,j->yx", windows, weight, weight)
        torch.testing.assert_close(
            sums[sheet.index(torch.full_like(y, instance).flatten(), y.flatten(), x.flatten())], expected.flatten()
        )
