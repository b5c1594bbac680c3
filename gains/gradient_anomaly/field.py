"""The radial field of an instance: squared distance to its centroid, and that field's gradient in closed form.

Method, section 1, step 1. The gradient is the finite difference that the published programs take over the whole image:
central inside, one-sided on the image's border rows and columns. Each component depends on one coordinate only, so a
value costs two multiplications wherever it is needed, and its largest magnitude over the image needs no image.
"""

import torch
from torch import Tensor

from gains.gradient_anomaly.sums import Points


def centroids(points: Points, count: int) -> Tensor:
    """Mean coordinates ``(N, 2)`` as (y, x), float64, of ``count`` instances; (0, 0) for one without a pixel.

    Args:
        points: pixels in the order of their instances.
        count: number of instances N.
    """
    number = torch.arange(count, dtype=torch.int32, device=points.y.device)
    end = torch.searchsorted(points.instance, number, right=True)
    # Sums of integers are exact: a centroid on a pixel row gives that row the gradient 0, not a rounding error whose
    # sign would decide between the angles pi and -pi.
    sums = [
        torch.nn.functional.pad(position.cumsum(0, dtype=torch.int64), (1, 0)).index_select(0, end)
        for position in (points.y, points.x)
    ]
    totals = torch.stack([*sums, end]).diff(prepend=end.new_zeros(3, 1))
    return (totals[:2] / totals[2].clamp(min=1).double()).T


def radial_gradient(position: Tensor, centre: Tensor, length: int) -> Tensor:
    """One component of the gradient, float64: along y from y coordinates, along x from x coordinates.

    Args:
        position: pixel coordinates, integer.
        centre: the centroid's coordinate, of a shape that broadcasts with ``position``.
        length: image height or width in pixels.
    """
    # With the squares of the distances of the next pixels p and q < p, (p - c)^2 - (q - c)^2 = (p - q) (p + q - 2c).
    following = (position + 1).clamp_(max=length - 1)
    neighbours = following.add_((position - 1).clamp_(min=0))
    # Converted first: arithmetic between integer and float tensors takes several times as long.
    return torch.sub(neighbours.double(), centre, alpha=2)


def magnitude(dy: Tensor, dx: Tensor) -> Tensor:
    """Length of gradient vectors."""
    return dy.square().addcmul_(dx, dx).sqrt_()


def direction(dy: Tensor, dx: Tensor) -> Tensor:
    """Angle ``atan2(dy, dx)`` of gradient vectors to within 2e-8, several times faster than float64 ``atan2``.

    A gradient of zero has the angle 0, and ``dy`` is never -0.
    """
    length = magnitude(dy, dx)
    cosine = (dx / length).masked_fill_(length == 0, 1)
    return cosine.acos_().copysign_(dy)


def largest_magnitude(centroid: Tensor, size: tuple[int, int]) -> Tensor:
    """Largest gradient magnitude ``(N,)`` over an image of ``size`` (height, width) for centroids ``(N, 2)``."""
    squares = []
    for axis, length in enumerate(size):
        # A component is linear between the border and its neighbour on the other side: the extremes are at the ends.
        ends = torch.tensor([0, min(1, length - 1), max(length - 2, 0), length - 1], device=centroid.device)
        squares.append(radial_gradient(ends, centroid[:, axis : axis + 1], length).square().amax(1))
    return (squares[0] + squares[1]).sqrt()
