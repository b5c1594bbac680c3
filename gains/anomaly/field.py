"""The radial field of an instance: squared distance to its centroid, and that field's gradient in closed form.

Method, section 1, step 1. The gradient is the finite difference that the published programs take over the whole image:
central inside, one-sided on the image's border rows and columns. Each component depends on one coordinate only, so a
value costs two multiplications wherever it is needed, and its largest magnitude over the image needs no image.
"""

import torch
from torch import Tensor

from gains.anomaly.sums import Points


def centroids(points: Points, count: int) -> Tensor:
    """Mean coordinates ``(N, 2)`` as (y, x), float64, of ``count`` instances; (0, 0) for one without a pixel."""
    ones = torch.ones_like(points.y)
    columns = [
        torch.zeros(count, dtype=torch.int64, device=ones.device).index_add_(0, points.instance, values.long())
        for values in (points.y, points.x, ones)
    ]
    # Sums of integers are exact: a centroid on a pixel row gives that row the gradient 0, not a rounding error whose
    # sign would decide between the angles pi and -pi.
    return torch.stack(columns[:2], 1).double() / columns[2].clamp(min=1)[:, None]


def radial_gradient(position: Tensor, centre: Tensor, length: int) -> Tensor:
    """One component of the gradient, float64: along y from y coordinates, along x from x coordinates.

    Args:
        position: pixel coordinates, integer.
        centre: the centroid's coordinate, of a shape that broadcasts with ``position``.
        length: image height or width in pixels.
    """
    gradient = (position - centre).mul_(2).add_(position == 0)
    return gradient.sub_((position == length - 1).to(gradient.dtype))


def largest_magnitude(centroid: Tensor, size: tuple[int, int]) -> Tensor:
    """Largest gradient magnitude ``(N,)`` over an image of ``size`` (height, width) for centroids ``(N, 2)``."""
    squares = []
    for axis, length in enumerate(size):
        # A component is linear between the border and its neighbour on the other side: the extremes are at the ends.
        ends = torch.tensor([0, min(1, length - 1), max(length - 2, 0), length - 1], device=centroid.device)
        squares.append(radial_gradient(ends, centroid[:, axis : axis + 1], length).square().amax(1))
    return (squares[0] + squares[1]).sqrt()
