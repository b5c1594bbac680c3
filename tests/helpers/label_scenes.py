"""Label images of many kinds, as people and programs make them."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Labels = npt.NDArray[np.int64]
KINDS = ("cells", "specks", "tissue", "islands", "filaments", "boxes", "nuclei in cells", "frayed")


@st.composite
def label_scenes(draw: st.DrawFn) -> Labels:
    """Objects of one kind, numbered in any order, resized by nearest neighbour or not."""
    kind = draw(st.sampled_from(KINDS))
    side = draw(st.sampled_from([40, 64, 101, 160]))
    count = draw(st.sampled_from([1, 2, 3, 4, 8, 20, 60]))
    if kind == "filaments":
        count = min(count, side // 4)  # of more, early ones are shreds between later ones
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    scene = drawn(kind, side, count, generator)
    numbers = draw(st.sampled_from(["ordered", "shuffled", "sparse"]))
    if numbers != "ordered":
        most = 2 * count + 1 if numbers == "shuffled" else 60_000
        scene = np.concatenate([[0], generator.permutation(most)[: 2 * count] + 1])[scene]
    zoom = draw(st.sampled_from([1.0, 1.0, 0.8, 1.6, 4.0]))
    places = (np.arange(max(1, int(side * zoom))) / zoom).astype(int)
    resized: Labels = scene[np.ix_(places, places)]
    return resized


def drawn(kind: str, side: int, count: int, generator: np.random.Generator) -> Labels:
    """Objects 1 to ``count`` (twice as many with nuclei), later ones on top."""
    y, x = np.mgrid[:side, :side]
    centres = generator.uniform(0, side, (count, 2))
    scene = np.zeros((side, side), np.int64)
    if kind in ("tissue", "islands"):
        distances = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1])
        scene = distances.argmin(-1) + 1
        return np.where(distances.min(-1) < side / 7, scene, 0) if kind == "islands" else scene
    smallest, largest = {"specks": (1, 2.5), "filaments": (side / 4, side)}.get(kind, (4, side / 6))
    for number, (row, column) in enumerate(centres, 1):
        radius, angle = generator.uniform(smallest, largest), generator.uniform(0, np.pi)
        along = (y - row) * np.cos(angle) + (x - column) * np.sin(angle)
        across = (x - column) * np.cos(angle) - (y - row) * np.sin(angle)
        if kind == "boxes":
            inside = (abs(y - row) < radius) & (abs(x - column) < generator.uniform(smallest, largest))
        else:
            width = generator.uniform(1, 2.5) if kind == "filaments" else radius * generator.uniform(0.4, 1)
            inside = np.hypot(along / radius, across / width) < 1
        scene[inside] = number
        if kind == "nuclei in cells":
            scene[np.hypot(along, across) < 0.4 * radius] = count + number
    if kind == "frayed":
        scene[generator.random(scene.shape) < 0.04] = 0
    return scene
