"""A trained model applied to images of any size: read tiles, run the network, stitch."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gains.errors import InputError
from gains.images.intensity import Intensity, dim_note, is_dim, known_values, to_unit_rgb, value_range
from gains.images.notes import Notes
from gains.images.raster import ArrayRaster, Raster
from gains.images.scaling import IMAGENET_MEAN
from gains.masks import InstanceCrops, tighten
from gains.models.checkpoint import load_network, operate
from gains.models.recipe import Recipe
from gains.models.released import locate
from gains.operating_point import SETTINGS
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cleaning import Cleaning
from gains.prediction.pipeline import ahead
from gains.prediction.result import Prediction
from gains.prediction.stitching import Pieces, stitch
from gains.prediction.tiling import TileGrid
from gains.rle import Box

SAMPLE_PIXELS = 4_000_000
"""About how many pixels of an image its percentiles are taken from."""

MIN_TILE = 32

Key = TypeVar("Key")


class Predictor:
    """A model ready to segment images.

    An image with both sides up to ``tile`` goes through the network whole, as in training and ``gains eval``; a larger
    one in overlapping tiles of that size, so that its objects appear to the network as large as those it learned from.

    Args:
        network: the trained network.
        recipe: what its checkpoint says of it, its operating point included: of an image in one tile the network keeps
            up to ``max_detections``, of a larger one that many in each tile; instances with a score below
            ``score_threshold`` are left out of the result.
        device: where it runs.
        tile: side of a tile in pixels; None takes what the checkpoint was trained on.
        overlap: pixels that neighbouring tiles share; None takes a quarter of the tile. Instances smaller than this
            are seen whole by some tile, larger ones are joined from pieces.
        batch_size: tiles that go through the network together.
        intensity: which pixel values become 0 and 1 (see :mod:`gains.images.intensity`); None does as in training. In
            a tiled image percentiles are those of the whole.
        cleaning: what is done to the masks of an image at the end; nothing by default.

    Attributes:
        notes: what there was to say about images that went through.

    Raises:
        InputError: if the tile is not at least 32 pixels, or the overlap does not fit it.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        device: torch.device,
        tile: int | None = None,
        overlap: int | None = None,
        batch_size: int = 4,
        intensity: Intensity | None = None,
        cleaning: Cleaning | None = None,
    ) -> None:
        self.network = network.eval().to(device)
        self.recipe = recipe
        operate(network, recipe.operating_point)
        self.device = device
        self.tile = max(recipe.image_side, MIN_TILE) if tile is None else tile
        self.overlap = self.tile // 4 if overlap is None else overlap
        if self.tile < MIN_TILE or not 0 <= self.overlap < self.tile:
            raise InputError(
                f"tile={self.tile} overlap={self.overlap}: tile must be at least {MIN_TILE}, overlap less than it"
            )
        self.batch_size = batch_size
        self.intensity: Intensity = intensity or recipe.intensity
        self.cleaning = cleaning or Cleaning()
        self.notes = Notes()

    @property
    def categories(self) -> list[str]:
        """Category names; position + 1 is the label."""
        return self.recipe.categories

    def predict(self, image: npt.NDArray[Any]) -> Prediction:
        """Segment one image.

        Args:
            image: ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA of any integer or float type, as read from
                a file: scaling and tiling happen here. Floats lie in [0, 1] unless the intensity is ``percentile``.

        Raises:
            InputError: for another shape or type, or values that do not fit the intensity.
        """
        [(_, _, result)] = self.predict_many([(None, ArrayRaster(image))])
        if isinstance(result, InputError):
            raise result
        return result

    def predict_many(
        self,
        rasters: Iterable[tuple[Key, Raster]],
        on_progress: Callable[[Key, float], None] | None = None,
        room: int = 0,
    ) -> Generator[tuple[Key, Raster, Prediction | InputError], None, None]:
        """Segment images one after the other, tiles of several in one batch.

        Args:
            rasters: images with anything that identifies them.
            on_progress: called with an image's key and the share of it that was just done.
            room: how many tiles a thread reads ahead; 0 reads each when the network wants it. What comes out is the
                same.

        Yields:
            Each key with its image and its instances, or the error that its pixels led to, in the given order.
        """
        jobs: deque[_Job[Key]] = deque()
        batch: list[tuple[_Job[Key], int, Tensor]] = []
        with closing(ahead(self._all_tiles(rasters), room)) as tiles:
            for job, index, tile in tiles:
                if not jobs or jobs[-1] is not job:
                    jobs.append(job)
                if isinstance(tile, InputError):
                    job.error = tile
                    batch = [entry for entry in batch if entry[0] is not job]
                else:
                    batch.append((job, index, tile))
                if len(batch) == self.batch_size:
                    self._run(batch, on_progress)
                    batch = []
                while jobs and jobs[0].done:
                    yield self._result(jobs.popleft())
        if batch:
            self._run(batch, on_progress)
        while jobs:
            yield self._result(jobs.popleft())

    def _all_tiles(
        self, rasters: Iterable[tuple[Key, Raster]]
    ) -> "Iterator[tuple[_Job[Key], int, Tensor | InputError]]":
        """The tiles of all images; in place of the rest of one that cannot be read its error."""
        for key, raster in rasters:
            job = _Job(key, raster, TileGrid.covering(raster.size, self.tile, self.overlap))
            try:
                for index, tile in enumerate(self._tiles(job)):
                    yield job, index, tile
            except InputError as error:
                yield job, -1, error

    def _tiles(self, job: "_Job[Key]") -> Iterator[Tensor]:
        """The tiles ``(3, h, w)`` in [0, 1], padded at the right and bottom where the image is smaller."""
        limits = self._limits(job.raster)
        height, width = job.grid.tile
        brightest = 0.0
        for box in job.grid.boxes.tolist():
            pixels = self._read(job.raster, (box[0], box[1], box[2], box[3]))
            brightest = max(brightest, float(pixels.max()) if is_dim(1, pixels.dtype, self.intensity) else np.inf)
            values = torch.from_numpy(to_unit_rgb(pixels, limits)).permute(2, 0, 1)
            # What the network sees beyond an image of a training batch: the mean colour, its normalised zero.
            tile = torch.tensor(IMAGENET_MEAN)[:, None, None].repeat(1, height, width)
            tile[:, : values.shape[1], : values.shape[2]] = values
            yield tile
        if is_dim(brightest, np.dtype(np.uint16), self.intensity):
            self.notes.add(job.raster.name, dim_note())

    def _read(self, raster: Raster, box: Box) -> npt.NDArray[Any]:
        """Pixels of a box in a type whose range is known."""
        return known_values(raster.read(box), self.intensity, raster.name)

    def _limits(self, raster: Raster) -> tuple[float, float]:
        """The pixel values that become 0 and 1 in all of an image."""
        height, width = raster.size
        if self.intensity == "full_range":
            return value_range(self._read(raster, (0, 0, 1, 1)), "full_range")
        step = max(1, int(np.ceil(np.sqrt(height * width / SAMPLE_PIXELS))))
        samples = []
        for y in range(0, height, self.tile):
            for x in range(0, width, self.tile):
                pixels = self._read(raster, (x, y, min(x + self.tile, width), min(y + self.tile, height)))
                samples.append(pixels[::step, ::step].reshape(-1))
        return value_range(np.concatenate(samples), self.intensity)

    @torch.inference_mode()
    def _run(
        self, batch: "list[tuple[_Job[Key], int, Tensor]]", on_progress: Callable[[Key, float], None] | None
    ) -> None:
        """Put one batch through the network and keep what it finds with the image it belongs to."""
        try:
            found = self.network([tile.to(self.device, non_blocking=True) for _, _, tile in batch])
        except torch.OutOfMemoryError:
            raise InputError(
                f"the device has too little memory for {len(batch)} tiles of {self.tile} pixels at a time; "
                "use a smaller batch_size or tile"
            ) from None
        point = self.recipe.operating_point
        for (job, index, _), prediction in zip(batch, found, strict=True):
            job.add(index, prediction, max(point.min_score, point.score_threshold), point.max_detections)
            if on_progress is not None:
                on_progress(job.key, 1 / len(job.grid))

    def _result(self, job: "_Job[Key]") -> tuple[Key, Raster, Prediction | InputError]:
        if job.error is not None:
            return job.key, job.raster, job.error
        masks, scores, labels = stitch(job.pieces(), job.grid)
        found, remarks = self.cleaning(Prediction(masks, scores, labels, self.categories, job.capped))
        for remark in remarks:
            self.notes.add(job.raster.name, remark)
        return job.key, job.raster, found


@dataclass
class _Job(Generic[Key]):
    """One image on its way through the network."""

    key: Key
    raster: Raster
    grid: TileGrid
    error: InputError | None = None
    capped: int = 0
    finished: int = 0
    found: list[tuple[InstanceCrops, npt.NDArray[np.float64], npt.NDArray[np.int64], int]] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether nothing of it is left to run."""
        return self.error is not None or self.finished == len(self.grid)

    def add(self, index: int, prediction: dict[str, Any], min_score: float, most: int) -> None:
        """Keep what was found in one tile, in image coordinates."""
        self.finished += 1
        x0, y0, x1, y1 = self.grid.boxes[index].tolist()
        scores = prediction["scores"].double().cpu().numpy()
        labels = prediction["labels"].cpu().numpy()
        kept = np.flatnonzero(scores >= min_score)
        self.capped += int(len(kept) == len(scores) >= most)
        masks, solid = tighten(prediction["masks"].paste().select(kept.tolist()), (0, 0, x1 - x0, y1 - y0))
        kept = kept[solid]
        shifted = masks.boxes + torch.tensor([x0, y0, x0, y0])
        self.found.append(
            (InstanceCrops(masks.values, shifted, self.grid.size), scores[kept], labels[kept].astype(np.int64), index)
        )

    def pieces(self) -> Pieces:
        """All that was found."""
        masks = InstanceCrops(
            torch.cat([found.values for found, _, _, _ in self.found]),
            torch.cat([found.boxes for found, _, _, _ in self.found]),
            self.grid.size,
        )
        tile = np.repeat([index for _, _, _, index in self.found], [len(found) for found, _, _, _ in self.found])
        scores = np.concatenate([scores for _, scores, _, _ in self.found])
        labels = np.concatenate([labels for _, _, labels, _ in self.found])
        return Pieces(masks, scores, labels, tile.astype(np.int64))


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name.

    Args:
        name: ``cpu``, ``gpu`` (the first CUDA device) or ``auto`` (that, if there is one).

    Raises:
        InputError: for another name, or ``gpu`` without one.
    """
    if name == "mps":
        raise InputError("accelerator=mps: Apple's GPU lacks operations that the models need; use accelerator=cpu")
    if name not in ("auto", "cpu", "gpu", "cuda"):
        raise InputError(f"accelerator={name} is unknown; use auto, cpu or gpu")
    if name in ("gpu", "cuda") and not torch.cuda.is_available():
        raise InputError("accelerator=gpu: this machine has no usable CUDA device; use accelerator=cpu")
    return torch.device("cpu" if name == "cpu" or not torch.cuda.is_available() else "cuda")


def load_model(
    checkpoint: str | Path, accelerator: str = "auto", trust: Sequence[str] = (), **settings: Any
) -> Predictor:
    """Load a trained model to segment images with.

    >>> model = load_model("best.ckpt")  # doctest: +SKIP
    >>> instances = model.predict(image)  # doctest: +SKIP

    Args:
        checkpoint: file that ``gains train`` wrote, name of a released model, or URL (see
            :func:`gains.models.released.locate`).
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        trust: packages of your own whose parts the model names.
        settings: ``tile``, ``overlap``, ``batch_size`` and ``intensity`` of :class:`Predictor`, and what the operating
            point is to be instead of the stored one: ``min_score``, ``score_threshold``, ``nms``, ``nms_iou``,
            ``nms_across_categories`` and ``max_detections`` (see :class:`gains.operating_point.OperatingPoint`); and
            ``largest_part``, ``fill_holes`` and ``min_area`` (see :class:`gains.prediction.cleaning.Cleaning`).

    Raises:
        InputError: if the file is no checkpoint, or a setting does not fit.
    """
    device = pick_device(accelerator)
    point = {name: settings.pop(name) for name in SETTINGS if name in settings}
    cleaning = Cleaning(**{name: settings.pop(name) for name in CLEANING if name in settings})
    network, recipe = load_network(locate(checkpoint), point, trust)
    return Predictor(network, recipe, device, cleaning=cleaning, **settings)
