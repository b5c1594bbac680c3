"""Pictures for people: instances on their image, anomaly maps, sheets of pictures.

Every function takes and returns uint8 arrays; work on instances touches their crops only. Nothing here keeps global
state, so pictures can be drawn from several threads.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont

from gains.files import replacing
from gains.masks import InstanceCrops
from gains.overlaps import overlapping_boxes, overlapping_pairs

Picture: TypeAlias = npt.NDArray[np.uint8]
"""RGB ``(H, W, 3)``."""

PALETTE = np.array(
    [
        [235, 50, 70], [20, 130, 220], [245, 150, 30], [45, 180, 75], [165, 70, 215],
        [0, 185, 185], [245, 90, 180], [200, 190, 20], [110, 95, 250], [150, 100, 50],
    ],
    dtype=np.uint8,
)  # fmt: skip
"""Colours of instances: apart in hue, and visible on black as on white."""

SHOWN_SIDE = 400  # smaller images are enlarged by a whole factor until their longer side is at least this
MOST_ENLARGED = 32  # but no further: smoothing outlines of an image of one pixel would take half a minute
NEAR = 4  # pixels between two boxes below which their instances get different colours
FILL, STRIPE_FILL = 0.28, 0.5  # opacity of an instance's area, and of its stripes where instances overlap
SMOOTHING = 0.6  # of enlarged outlines, standard deviation in pixels of the image
DASH = 5  # pixels of the picture
TEXT_HEIGHTS = (0.5, 0.25, 0.75)  # where a text may stand in its box
NESTED_SHARE = 0.9  # an instance this far inside another, such as a nucleus in its cell, is no overlap


def draw_instances(
    image: npt.NDArray[Any],
    crops: InstanceCrops,
    *,
    colours: npt.NDArray[np.int64] | None = None,
    wrong: npt.NDArray[np.bool_] | None = None,
    texts: Sequence[str] | None = None,
    zoom: int | None = None,
) -> Picture:
    """Draw instances as translucent areas with solid outlines; where they overlap, stripes of all their colours.

    An outline lies on the inner border of its instance.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, 3)``; not changed.
        crops: N masks on that image.
        colours: palette index of each ``(N,)``; None gives neighbours different ones.
        wrong: which ``(N,)`` are drawn without area, in black and white dashes that stand out on anything.
        texts: N texts, written in the middle of each instance that is large enough for it.
        zoom: whole factor by which the picture is larger than the image; None enlarges small images for legibility.

    Returns:
        RGB ``(zoom H, zoom W, 3)``.

    Raises:
        ValueError: if the image is not uint8 or not of the masks' size.
    """
    if image.shape[:2] != tuple(crops.size):
        raise ValueError(f"image is {image.shape[:2]}, its masks {tuple(crops.size)}")
    zoom = zoom or zoom_of(image)
    picture = enlarge(image, zoom)
    colours = assign_colours(crops) if colours is None else colours
    wrong = np.zeros(len(crops), dtype=bool) if wrong is None else wrong
    masks = [_enlarge_mask(crop.cpu().numpy(), zoom) for crop in crops.crops()]
    boxes = (crops.boxes * zoom).tolist()
    filled = np.flatnonzero(~wrong)
    areas, places = [masks[index] for index in filled], [boxes[index] for index in filled]
    _fill(picture, areas, places, PALETTE[colours[filled]], _nested(crops)[filled], zoom)
    for index in [*filled, *np.flatnonzero(wrong)]:
        if masks[index].size:
            _outline(picture, masks[index], boxes[index], None if wrong[index] else PALETTE[colours[index]])
    return picture if texts is None else _write(picture, boxes, texts)


def assign_colours(crops: InstanceCrops) -> npt.NDArray[np.int64]:
    """Palette index ``(N,)`` of each instance, by greedy colouring of the graph of near boxes.

    Instances with most neighbours choose first; each takes, of the colours its neighbours leave, the least used.
    """
    grown = crops.boxes.numpy() + np.array([-1, -1, 1, 1]) * (NEAR // 2)
    near: list[list[int]] = [[] for _ in range(len(crops))]
    for first, second in zip(*(ends.tolist() for ends in overlapping_boxes(grown)), strict=True):
        near[first].append(second)
        near[second].append(first)
    chosen = np.full(len(crops), -1, dtype=np.int64)
    used = np.zeros(len(PALETTE))
    for index in sorted(range(len(crops)), key=lambda i: -len(near[i])):
        taken = np.bincount(chosen[near[index]] + 1, minlength=len(PALETTE) + 1)[1:]
        # Where every colour is taken nearby, the one taken least often.
        chosen[index] = int(np.lexsort((used, taken))[0])
        used[chosen[index]] += 1
    return chosen


def anomaly_figure(
    image: npt.NDArray[Any],
    maps: InstanceCrops,
    title: str = "",
    caption: str = "gradient anomaly",
    reach: float | None = None,
) -> Picture:
    """Image beside its gradient anomaly maps, as a heat map with a colour bar.

    Args:
        image: uint8 ``(H, W)`` or ``(H, W, 3)``.
        maps: one float map per instance, with background 1 (where nothing is anomalous); the largest value shows.
        title: written above.
        caption: written below the maps.
        reach: value up to which the colours go at least, so that little above the background stays dark; None goes up
            to the largest value.
    """
    heat = np.full(maps.size, maps.background, dtype=np.float32)
    for crop, (x0, y0, x1, y1) in zip(maps.crops(), maps.boxes.tolist(), strict=True):
        np.maximum(heat[y0:y1, x0:x1], crop.float().cpu().numpy(), out=heat[y0:y1, x0:x1])
    zoom = zoom_of(image)
    low = float(maps.background)
    high = max(float(heat.max(initial=low)), low + 1e-6 if reach is None else reach)
    values = (np.kron(heat, np.ones((zoom, zoom), np.float32)) - low) / (high - low)
    shade = (colormaps["inferno"](values)[:, :, :3] * 255).astype(np.float32)
    # The cells stay faintly visible under the heat.
    dimmed = 0.25 * enlarge(image, zoom).mean(axis=2, keepdims=True) * (1 - shade.max(axis=2, keepdims=True) / 255)
    mixed = np.clip(shade + dimmed, 0, 255).astype(np.uint8)
    panels = [enlarge(image, zoom), np.concatenate([mixed, _colour_bar(len(mixed), low, high)], axis=1)]
    return contact_sheet(panels, columns=2, captions=["image", caption], title=title)


def contact_sheet(
    pictures: Sequence[Picture], columns: int, captions: Sequence[str] | None = None, title: str = ""
) -> Picture:
    """Pictures in rows and columns on white, with an optional line under each.

    Raises:
        ValueError: without pictures.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    gap, line = 8, 22
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(len(picture) for picture in row) + gap + (line if captions else 0) for row in rows]
    widths = [max(picture.shape[1] for picture in pictures[column::columns]) + gap for column in range(len(rows[0]))]
    top = gap + (line + 4 if title else 0)
    sheet = Image.new("RGB", (gap + sum(widths), top + sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        x, y = gap + sum(widths[: index % columns]), top + sum(heights[: index // columns])
        sheet.paste(Image.fromarray(picture), (x, y))
        if captions:
            pen.text((x, y + len(picture) + 3), captions[index], fill=(60, 60, 60), font=font_of(14))
    if title:
        pen.text((gap, gap), title, fill="black", font=font_of(16))
    return np.array(sheet)


def save_image(path: Path, picture: npt.NDArray[Any]) -> None:
    """Write a uint8 picture as PNG: whole, or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def zoom_of(image: npt.NDArray[Any]) -> int:
    """Whole factor by which an image is enlarged for legibility."""
    return min(MOST_ENLARGED, max(1, -(-SHOWN_SIDE // max(1, *map(int, image.shape[:2])))))


def enlarge(image: npt.NDArray[Any], zoom: int) -> Picture:
    """RGB copy ``(zoom H, zoom W, 3)`` of a uint8 image ``(H, W)`` or ``(H, W, 3)``.

    Raises:
        ValueError: if it is not uint8.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"a picture is drawn from uint8 pixels, not {image.dtype}")
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image[:, :, :3]
    if zoom == 1:
        return rgb.copy()
    return np.asarray(cv2.resize(rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _enlarge_mask(mask: npt.NDArray[np.uint8], zoom: int) -> npt.NDArray[np.uint8]:
    """Mask 0/1 at a larger scale, the steps of its outline smoothed away."""
    if zoom == 1 or not mask.size:
        return np.ascontiguousarray(mask)
    # Nothing lies around a tight box, but where the image ends nothing is known.
    values = cv2.resize(np.pad(mask, 1).astype(np.float32), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(values, (0, 0), SMOOTHING * zoom)[zoom:-zoom, zoom:-zoom]
    return (smooth > 0.5).astype(np.uint8)


def _nested(crops: InstanceCrops) -> npt.NDArray[np.bool_]:
    """Which instances ``(N,)`` lie as good as wholly inside a larger one."""
    nested, areas = np.zeros(len(crops), dtype=bool), crops.areas().numpy()
    for first, second, shared in zip(*overlapping_pairs(crops), strict=True):
        inner, outer = (first, second) if areas[first] < areas[second] else (second, first)
        nested[inner] |= shared >= NESTED_SHARE * areas[inner] and areas[inner] < 0.5 * areas[outer]
    return nested


def _fill(
    picture: Picture,
    masks: list[npt.NDArray[np.uint8]],
    boxes: list[list[int]],
    colours: npt.NDArray[np.uint8],
    nested: npt.NDArray[np.bool_],
    zoom: int,
) -> None:
    """Tint every instance in place; pixels of k instances get diagonal stripes of their k colours in turn."""
    count, before = (np.zeros(picture.shape[:2], dtype=np.uint8) for _ in range(2))
    for mask, (x0, y0, x1, y1), inner in zip(masks, boxes, nested, strict=True):
        count[y0:y1, x0:x1] += mask * (not inner)
    for mask, (x0, y0, x1, y1), colour, inner in zip(masks, boxes, colours, nested, strict=True):
        region, covered, rank = picture[y0:y1, x0:x1], count[y0:y1, x0:x1], before[y0:y1, x0:x1]
        shared = (mask > 0) & (covered > 1) & (not inner)
        _tint(region, (mask > 0) & ~shared, colour, FILL)
        if shared.any():
            stripe = np.add.outer(np.arange(y0, y1), np.arange(x0, x1)) // (2 + zoom)
            _tint(region, shared & (stripe % np.maximum(covered, 1) == rank), colour, STRIPE_FILL)
            rank += shared


def _outline(
    picture: Picture, mask: npt.NDArray[np.uint8], box: list[int], colour: npt.NDArray[np.uint8] | None
) -> None:
    """Colour a mask's inner border in place, or dash it in black and white.

    Wider in large pictures, but never so wide that it hides the instance.
    """
    width = max(1, round(min(max(picture.shape[:2]) / 400, min(mask.shape) / 12)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    border = mask > cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    x0, y0, x1, y1 = box
    if colour is not None:
        picture[y0:y1, x0:x1][border] = colour
        return
    # The border of a chequered plane alternates in whatever direction it runs.
    dash = np.add.outer(np.arange(y0, y1) // DASH, np.arange(x0, x1) // DASH) % 2
    picture[y0:y1, x0:x1][border] = (255 * dash[border])[:, None]


def _tint(region: Picture, where: npt.NDArray[np.bool_], colour: npt.NDArray[np.uint8], opacity: float) -> None:
    """Mix a colour into some pixels, in place."""
    region[where] = ((1 - opacity) * region[where] + opacity * colour).astype(np.uint8)


def _write(picture: Picture, boxes: list[list[int]], texts: Sequence[str]) -> Picture:
    """A text in each box that has room for it, in its middle or else where no other text is; small boxes first."""
    canvas = Image.fromarray(picture)
    pen, font = ImageDraw.Draw(canvas), font_of(12)
    taken: list[tuple[float, float, float, float]] = []
    for index in sorted(range(len(boxes)), key=lambda i: boxes[i][3] - boxes[i][1]):
        (x0, y0, x1, y1), text = boxes[index], texts[index]
        for height in TEXT_HEIGHTS if text else ():
            middle = ((x0 + x1) / 2, y0 + height * (y1 - y0))
            place = pen.textbbox(middle, text, font=font, anchor="mm", stroke_width=1)
            inside = x0 <= place[0] and place[2] <= x1 and y0 <= place[1] and place[3] <= y1
            if inside and not any(_meet(place, other) for other in taken):
                pen.text(middle, text, fill="white", font=font, anchor="mm", stroke_width=1, stroke_fill="black")
                taken.append(place)
                break
    return np.array(canvas)


def _meet(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two boxes xyxy share area."""
    return max(first[0], second[0]) < min(first[2], second[2]) and max(first[1], second[1]) < min(first[3], second[3])


def _colour_bar(height: int, low: float, high: float) -> Picture:
    """Colour bar ``(height, 72, 3)`` with five values written beside it."""
    shades = colormaps["inferno"](np.linspace(1, 0, height))[:, :3] * 255
    bar = np.full((height, 72, 3), 255, dtype=np.uint8)
    bar[:, 8:24] = shades[:, None].round()
    canvas = Image.fromarray(bar)
    pen, font = ImageDraw.Draw(canvas), font_of(12)
    for share in np.linspace(0, 1, 5):
        y = (1 - share) * (height - 14)
        pen.text((30, y), f"{low + share * (high - low):.2f}", fill="black", font=font)
    return np.array(canvas)


def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along: unlike Pillow's it has a µ."""
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
