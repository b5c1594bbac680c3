"""Numbers of parameters at the published size, in millions, one category unless said otherwise."""

from collections.abc import Callable

import pytest

R101 = "model/size=r101"
ONE_LAYER = "model.network.layers=1"
ONE_GUIDE = "model.network.mask.chained_guidance=false"
NUCLEI = "target_label=1"
MASK_HEAD = 2.623  # four 3x3 convolutions of width 256, the transposed one, and one map

PUBLISHED = [
    ("mask_rcnn", 43.92, []),
    ("mask_rcnn_r101", 62.86, []),
    ("mask_scoring_rcnn", 60.18, []),
    ("mask_scoring_rcnn", 79.12, [R101]),
    ("pisa", 43.92, []),
    ("cascade_rcnn", 71.72, []),
    ("cascade_rcnn_b", 76.97, []),
    ("htc", 77.10, []),
    ("pointrend", 55.71, []),
    ("occlusion_rcnn", 46.55, []),
    ("donet", 73.36, []),
    ("donet", 63.92, [ONE_GUIDE]),
    ("donet", 119.92, [NUCLEI, "num_classes=2"]),
    ("condinst", 33.93, []),
    ("condinst", 52.87, [R101]),
    ("fastinst", 29.6, [ONE_LAYER]),
    ("fastinst", 34.1, []),
    ("fastinst", 53.0, [R101]),
    # Mask R-CNN, three 3x3 convolutions of width 256, and a second mask head.
    ("gains", 43.92 + 3 * 0.590 + MASK_HEAD, []),
    ("gains_r101", 62.86 + 3 * 0.590 + MASK_HEAD, []),
]


@pytest.mark.parametrize(("model", "millions", "overrides"), PUBLISHED, ids=lambda value: str(value))
def test_published_size(parameters: Callable[..., float], model: str, millions: float, overrides: list[str]) -> None:
    settings = {} if "num_classes=2" in overrides else {"num_classes": 1}
    assert parameters(model, *overrides, **settings) == pytest.approx(millions, rel=1e-3)


def test_what_a_method_adds(parameters: Callable[..., float]) -> None:
    """Exact differences in parameters: nothing, a mask head, and two residual 1x1 convolutions."""
    size = {
        name: 1e6 * parameters(name, num_classes=1)
        for name in ("mask_rcnn", "pisa", "occlusion_rcnn", "htc", "cascade_rcnn_b")
    }
    assert size["pisa"] == size["mask_rcnn"]
    assert size["occlusion_rcnn"] - size["mask_rcnn"] == pytest.approx(1e6 * MASK_HEAD, rel=1e-3)
    assert size["htc"] - size["cascade_rcnn_b"] == pytest.approx(2 * (256 * 256 + 256))
