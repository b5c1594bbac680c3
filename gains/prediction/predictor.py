"""A trained model applied to images of any size: read tiles, run the network, stitch."""

import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from gains.errors import InputError
from gains.images.intensity import Intensity
from gains.images.notes import Notes
from gains.images.raster import ArrayRaster, Raster
from gains.models.checkpoint import load_network, operate
from gains.models.recipe import Recipe
from gains.models.released import locate
from gains.operating_point import SETTINGS
from gains.prediction.cleaning import SETTINGS as CLEANING
from gains.prediction.cleaning import Cleaning
from gains.prediction.estimate import MOST_IMAGES, UNKNOWN, Estimate, FirstPass
from gains.prediction.jobs import Job, Key, Pass, together
from gains.prediction.looks import Looker
from gains.prediction.pipeline import ahead
from gains.prediction.remarks import size_remarks
from gains.prediction.result import Prediction
from gains.prediction.scale import SETTINGS as SCALE
from gains.prediction.scale import Scales, ScaleSettings, Training, View
from gains.prediction.stitching import Found, stitched
from gains.prediction.tiles import network_tiles

Entry = tuple[Job[Key], Pass, int, Tensor]
"""One tile on its way: its image, the pass over it, which tile it is, its pixels."""


class Predictor:
    """A model ready to segment images.

    An image with both sides up to the tile goes through the network whole, as in training and ``gains eval``; a larger
    one in overlapping tiles of that size. Where ``scale`` says how large objects are, tiles have the size at which they
    appear to the network as large as those it learned from (:mod:`gains.prediction.scale`); results are in pixels of
    the image, whatever the scale.

    Args:
        network: the trained network.
        recipe: what its checkpoint says of it, its operating point included: of an image in one tile the network keeps
            up to ``max_detections``, of a larger one that many in each tile; instances with a score below
            ``score_threshold`` are left out of the result.
        device: where it runs.
        tile: side of a tile in pixels; None takes what the scale leads to, or else what the checkpoint was trained on.
        overlap: pixels that neighbouring tiles share; None takes what large objects of training need. Instances smaller
            than this are seen whole by some tile, larger ones are joined from pieces.
        batch_size: tiles that go through the network together.
        intensity: which pixel values become 0 and 1 (see :mod:`gains.images.intensity`); None does as in training. In
            a tiled image percentiles are those of the whole.
        cleaning: what is done to the masks of an image at the end; nothing by default.
        scale: what is known about the size of objects in the images; nothing by default.

    Attributes:
        notes: what there was to say about images that went through.
        estimated: size of objects that is taken where nothing else decides; None estimates it in every call.

    Raises:
        InputError: if the tile is not at least 32 pixels, the overlap does not fit it, or the scale cannot be had.
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
        scale: ScaleSettings | None = None,
    ) -> None:
        self.network = network.eval().to(device)
        self.recipe = recipe
        operate(network, recipe.operating_point)
        self.device = device
        self.scales = Scales(Training.of(network, recipe), tile, overlap)
        self.scale = scale or ScaleSettings()
        self.scales.choose(self.scale)
        self.estimated: Estimate | None = None
        self.batch_size = batch_size
        self.intensity: Intensity = intensity or recipe.intensity
        self.cleaning = cleaning or Cleaning()
        self.notes = Notes()

    @property
    def categories(self) -> list[str]:
        """Category names; position + 1 is the label."""
        return self.recipe.categories

    @property
    def tile(self) -> int:
        """Side in pixels of the tiles of an image whose file says nothing about its pixels."""
        return self.view.side

    @property
    def overlap(self) -> int:
        """Pixels that these share."""
        return self.view.overlap

    @property
    def view(self) -> View:
        """How such an image is cut, at the first scale."""
        return self._views(None, self.estimated)[0]

    def predict(self, image: npt.NDArray[Any], **scale: Any) -> Prediction:
        """Segment one image.

        Args:
            image: ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA of any integer or float type, as read from
                a file: scaling and tiling happen here. Floats lie in [0, 1] unless the intensity is ``percentile``.
            scale: ``scale``, ``object_diameter``, ``pixel_size_um`` or ``scales`` of this image, where they are not
                those of the model (:class:`gains.prediction.scale.ScaleSettings`).

        Warns:
            UserWarning: what there is to say about the image, such as objects that tiles cut, or sizes that the model
                does not know; once, and in ``notes`` as well.

        Raises:
            InputError: for another shape or type, values that do not fit the intensity, or a scale that cannot be had.
        """
        usual, raster = self.scale, ArrayRaster(image)
        self.scale = usual.override(scale)
        told = self.notes.of(raster.name)
        try:
            [(_, _, result)] = self.predict_many([(None, raster)])
        finally:
            self.scale = usual
        for text in self.notes.of(raster.name):
            if text not in told:
                warnings.warn(text, stacklevel=2)
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
        estimate, rasters = self._first_look(rasters)
        jobs = (self.job(key, raster, estimate) for key, raster in rasters)
        with closing(self.run(jobs, on_progress, room)) as done:
            for job in done:
                yield job.key, job.raster, job.error or self._result(job)

    def job(self, key: Key, raster: Raster, estimate: Estimate | None) -> Job[Key]:
        """One image with the passes over it, or the error that its scale leads to."""
        job = Job(key, raster)
        try:
            job.passes = [Pass.of(raster.size, view) for view in self._views(raster.pixel_size_um, estimate)]
        except InputError as error:
            job.error = error
        return job

    def run(
        self, images: Iterable[Job[Key]], on_progress: Callable[[Key, float], None] | None = None, room: int = 0
    ) -> Generator[Job[Key], None, None]:
        """Put the tiles of all passes over images through the network; each image comes back when it is done."""
        jobs: deque[Job[Key]] = deque()
        batch: list[Entry[Key]] = []
        with closing(ahead(self._all_tiles(images), room)) as tiles:
            for job, each, index, tile in tiles:
                if not jobs or jobs[-1] is not job:
                    jobs.append(job)
                if each is None or isinstance(tile, InputError):
                    job.error = tile if isinstance(tile, InputError) else None
                    batch = [entry for entry in batch if entry[0] is not job]
                else:
                    batch.append((job, each, index, tile))
                if len(batch) == self.batch_size:
                    self._run(batch, on_progress)
                    batch = []
                while jobs and jobs[0].done:
                    yield jobs.popleft()
        if batch:
            self._run(batch, on_progress)
        yield from jobs

    def _first_look(self, rasters: Iterable[tuple[Key, Raster]]) -> tuple[Estimate, Iterable[tuple[Key, Raster]]]:
        """The estimate of one call, which is said, and all of its images again."""
        if self.estimated is not None:
            return self.estimated, rasters
        rest = iter(rasters)
        first = list(islice(rest, MOST_IMAGES))
        estimate = self.estimate([raster for _, raster in first])
        if estimate.text:
            self.notes.add("scale", estimate.text)
        return estimate, chain(first, rest)

    def _all_tiles(
        self, jobs: Iterable[Job[Key]]
    ) -> "Iterator[tuple[Job[Key], Pass | None, int, Tensor | InputError]]":
        """The tiles of all images; in place of the rest of one that cannot be read its error."""
        for job in jobs:
            if job.error is not None:
                yield job, None, -1, job.error
            try:
                for each in job.passes:
                    boxes, side = each.grid.boxes[each.tiles], each.grid.tile
                    tiles = network_tiles(job.raster, boxes, side, self.intensity, self.notes, job.limits)
                    for index, tile in zip(each.tiles.tolist(), tiles, strict=True):
                        yield job, each, index, tile
            except InputError as error:
                yield job, None, -1, error

    def estimate(self, rasters: Sequence[Raster]) -> Estimate:
        """How large objects are in some images, by a first pass (:mod:`gains.prediction.estimate`).

        Args:
            rasters: the images; of more than eight the first are looked at. Those whose scale something else tells are
                not.
        """
        rasters = [raster for raster in rasters if self._undecided(raster)]
        training, label = self.scales.training, self.typical
        if not rasters or training.network_side is None:
            return Estimate(None, "")
        if training.diameters is None or label is None:
            return Estimate(None, UNKNOWN)
        looker = Looker(self.network, self._detect, self.recipe, training, label, self.intensity, self.batch_size)
        return FirstPass(looker, rasters, training)()

    @property
    def typical(self) -> int | None:
        """Label of the category whose size tells the scale; None where the checkpoint knows no sizes."""
        sizes = self.recipe.sizes
        return None if sizes is None or sizes.typical is None else self.categories.index(sizes.typical) + 1

    def _undecided(self, raster: Raster) -> bool:
        """Whether only an estimate can tell the scale of an image; errors are left to the prediction of it."""
        try:
            return not self.scales.choose(self.scale, raster.pixel_size_um)
        except InputError:
            return False

    def _views(self, pixel_size_um: float | None, estimate: Estimate | None) -> list[View]:
        """How an image is cut, at each scale that it is looked at."""
        views = self.scales.choose(self.scale, pixel_size_um)
        if views:
            return views
        known = estimate is not None and estimate.diameter
        return [self.scales.fitting(known) if known else self.scales.as_trained]

    def _run(self, batch: list[Entry[Key]], on_progress: Callable[[Key, float], None] | None) -> None:
        """Put one batch through the network and keep what it finds with the image it belongs to."""
        point = self.recipe.operating_point
        found = self._detect([tile for *_, tile in batch])
        for (job, each, index, _), prediction in zip(batch, found, strict=True):
            each.add(index, prediction, max(point.min_score, point.score_threshold), point.max_detections)
            if on_progress is not None:
                on_progress(job.key, 1 / job.tiles)

    @torch.inference_mode()
    def _detect(self, tiles: list[Tensor]) -> list[dict[str, Any]]:
        """What the network finds in each tile."""
        try:
            found: list[dict[str, Any]] = self.network([tile.to(self.device, non_blocking=True) for tile in tiles])
        except torch.OutOfMemoryError:
            side = max(max(tile.shape) for tile in tiles)
            raise InputError(
                f"the device has too little memory for {len(tiles)} tiles of {side} pixels at a time; "
                "use a smaller batch_size or tile"
            ) from None
        return found

    def _result(self, job: Job[Key]) -> Prediction:
        found = [stitched(each.pieces(), each.grid) for each in job.passes]
        capped = sum(each.capped for each in job.passes)
        return self.conclude(job.raster, [each.view for each in job.passes], found, capped)

    def conclude(self, raster: Raster, views: list[View], several: list[Found], capped: int) -> Prediction:
        """What the passes over an image come to: the view and the stitched instances of each, and capped tiles."""
        united = together(several, self.recipe.operating_point)
        found = Prediction(united.masks, united.scores, united.labels, self.categories, capped)
        remarks = size_remarks(found, united.cut, self.typical, views, self.scales.training)
        found, cleaned = self.cleaning(found)
        for remark in [*remarks, *cleaned]:
            self.notes.add(raster.name, remark)
        return found


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
            ``largest_part``, ``fill_holes`` and ``min_area`` (see :class:`gains.prediction.cleaning.Cleaning`); and
            ``scale``, ``object_diameter``, ``pixel_size_um`` and ``scales`` (see
            :class:`gains.prediction.scale.ScaleSettings`).

    Raises:
        InputError: if the file is no checkpoint, or a setting does not fit.
    """
    device = pick_device(accelerator)
    point = {name: settings.pop(name) for name in SETTINGS if name in settings}
    cleaning = Cleaning(**{name: settings.pop(name) for name in CLEANING if name in settings})
    scale = ScaleSettings(**{name: settings.pop(name) for name in SCALE if name in settings})
    network, recipe = load_network(locate(checkpoint), point, trust)
    return Predictor(network, recipe, device, cleaning=cleaning, scale=scale, **settings)
