"""A huge image, block by block: what is done for each, here or on workers, and how its parts come together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from gains.images.files import open_rasters
from gains.images.intensity import dim_note
from gains.images.notes import Notes
from gains.images.raster import Raster
from gains.prediction.blocks import Block, Part, fold, merge, settle
from gains.prediction.folder import save_image
from gains.prediction.items import Item, Progress, Wanted, export_of
from gains.prediction.jobs import Job, Pass
from gains.prediction.kept import forget, keep_part, kept_part, part_path
from gains.prediction.predictor import Predictor
from gains.prediction.scale import View
from gains.prediction.stitching import best_first
from gains.prediction.tiles import value_limits
from gains.prediction.tiling import TileGrid


@dataclass(frozen=True)
class Huge:
    """An image of more tiles than a block.

    Attributes:
        item: its name, its file.
        index: of the image in the file.
        size: height and width in pixels.
        views: how it is cut, one for each pass.
    """

    item: Item
    index: int
    size: tuple[int, int]
    views: tuple[View, ...]

    @property
    def tiles(self) -> int:
        """How many there are in all passes."""
        return sum(len(view.grid(self.size)) for view in self.views)

    def share(self, block: Block) -> float:
        """Of its file, that a block is."""
        return len(block) / self.tiles / self.item.pages

    def open(self, predictor: Predictor, wanted: Wanted, notes: Notes | None = None) -> Raster:
        """The image."""
        return open_rasters(self.item.source.path, wanted.reading(predictor, notes or Notes()))[self.index]


@dataclass
class Tools:
    """What a process needs to do any step."""

    predictor: Predictor
    wanted: Wanted
    progress: Progress


class Caller(Protocol):
    """Calls a step with the tools of some process and further arguments: at once, or by promise."""

    def __call__(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """The result, or a promise of it, which may be an argument of another call."""


def predict_huge(call: Caller, huge: Huge, size: int) -> Any:
    """Predict and save an image in blocks of at most ``size`` tiles; returns what :func:`finish` does."""
    limits = call(limits_of, huge)
    parts = []
    for view in huge.views:
        grid = view.grid(huge.size)

        def look_at(block: Block, view: View = view) -> Any:
            return call(look, huge, view, block, limits)

        def unite(first: Any, second: Any, block: Block, grid: TileGrid = grid) -> Any:
            return call(pair, first, second, grid, block)

        parts.append(fold(Block.whole(grid), size, look_at, unite))
    return call(finish, huge, parts)


def watched(call: Caller, huge: Huge, progress: Progress) -> Caller:
    """Calls the steps of an image elsewhere; the bar moves with every promise of a block that is kept."""

    def submit(step: Callable[..., Any], *arguments: Any) -> Any:
        future = call(step, *arguments)
        if step is look:
            share = huge.share(arguments[2])
            future.add_done_callback(lambda _: progress.add(huge.item.source.path, share))
        return future

    return submit


def limits_of(tools: Tools, huge: Huge) -> tuple[float, float]:
    """The pixel values that become 0 and 1 in all of the image."""
    return value_limits(huge.open(tools.predictor, tools.wanted), tools.predictor.intensity)


def look(tools: Tools, huge: Huge, view: View, block: Block, limits: tuple[float, float]) -> Part:
    """What the network finds in a block, or had found in an earlier call that did not finish the image.

    Raises:
        InputError: if a part of the file is damaged.
    """
    predictor, notes = tools.predictor, Notes()
    predictor.notes = notes
    grid = view.grid(huge.size)
    raster, state = huge.open(predictor, tools.wanted), huge.item.source.path.stat()
    place = part_path(
        tools.wanted.output, huge.item.name, state.st_size, state.st_mtime_ns, huge.index, view, block, limits
    )
    kept = kept_part(place)
    if kept is not None:
        tools.progress.add(huge.item.source.path, huge.share(block))
        return kept
    job = Job(huge, raster, [Pass.of(huge.size, view, block.tiles(grid))], limits)
    share = huge.share(block)

    def on_progress(key: Huge, part: float) -> None:
        tools.progress.add(key.item.source.path, part * share)

    [done] = predictor.run([job], on_progress, tools.wanted.ahead)
    if done.error is not None:
        raise done.error
    [found] = done.passes
    part = settle(found.pieces(), grid, block, found.capped, notes.has(raster.name, dim_note()))
    keep_part(place, part)
    return part


def pair(tools: Tools, first: Part, second: Part, grid: TileGrid, block: Block) -> Part:
    """What was found in a block, from its halves."""
    return merge(first, second, grid, block)


def finish(tools: Tools, huge: Huge, parts: list[Part]) -> Notes:
    """Save what was found in the whole image; returns what there is to say about it."""
    predictor, notes = tools.predictor, Notes()
    predictor.notes = notes
    raster = huge.open(predictor, tools.wanted, notes)
    if all(part.dim for part in parts):
        notes.add(raster.name, dim_note())
    several, capped = [best_first(part.found) for part in parts], sum(part.capped for part in parts)
    found = predictor.conclude(raster, list(huge.views), several, capped)
    export = export_of(huge.item, raster, found, tools.wanted.pixel_size_um)
    save_image(tools.wanted.output, huge.item.name, huge.item.source.relative, export, raster, tools.wanted.formats)
    forget(tools.wanted.output, huge.item.name)
    return notes
