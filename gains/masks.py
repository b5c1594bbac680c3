"""Instance masks held as crops: the one container in which masks and anomaly maps travel to the loss.

Four hundred nuclei on a 1024 x 1024 image are four hundred small boxes, not a (400, 1024, 1024) tensor. All crops of an
image lie end to end in one flat tensor, so that a batch costs one transfer to the device whatever N is, while the
boxes stay on the CPU, where slicing needs them (reading them never waits for a GPU).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.ops import roi_align

from gains.rle import RLE, decode_crop, encode_crop


@dataclass(frozen=True)
class InstanceCrops:
    """One raster per instance, each stored on its own box and constant outside it.

    Attributes:
        values: ``(T,)`` all crops flattened row by row, end to end; uint8 0/1 for masks, float32 for maps.
        boxes: ``(N, 4)`` int64 on the CPU, pixel boxes ``(x0, y0, x1, y1)`` with exclusive end, inside the image.
        size: image ``(height, width)`` in pixels.
        background: the value outside the box: 0 for masks, 1 for anomaly maps.
    """

    values: Tensor
    boxes: Tensor
    size: tuple[int, int]
    background: float = 0.0

    def __post_init__(self) -> None:
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        ends = torch.cumsum(sides[:, 0] * sides[:, 1], 0).tolist()
        if (ends[-1] if ends else 0) != len(self.values):
            raise ValueError(f"crops hold {len(self.values)} values but their boxes {ends[-1] if ends else 0} pixels")
        object.__setattr__(self, "_ends", [0, *ends])
        object.__setattr__(self, "_shapes", sides.flip(1).tolist())

    @classmethod
    def from_crops(
        cls, crops: Sequence[Tensor], boxes: Tensor, size: tuple[int, int], background: float = 0.0
    ) -> "InstanceCrops":
        """Join ``N`` crops ``(h, w)`` with their boxes ``(N, 4)``; no crop gives an empty uint8 container."""
        values = torch.cat([crop.reshape(-1) for crop in crops]) if crops else torch.zeros(0, dtype=torch.uint8)
        return cls(values, boxes.reshape(-1, 4).to("cpu", torch.int64), size, background)

    @classmethod
    def from_dense(cls, masks: Tensor) -> "InstanceCrops":
        """Crop full-size masks ``(N, H, W)``, bool or 0/1; an empty mask gets the box (0, 0, 0, 0)."""
        crops, boxes = [], []
        for mask in masks:
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            box = [0, 0, 0, 0]
            if len(rows):
                box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
            boxes.append(box)
            crops.append(mask[box[1] : box[3], box[0] : box[2]].to(torch.uint8))
        size = (int(masks.shape[1]), int(masks.shape[2]))
        return cls.from_crops(crops, torch.tensor(boxes, dtype=torch.int64), size)

    @classmethod
    def from_rle(cls, rles: Sequence[RLE], size: tuple[int, int]) -> "InstanceCrops":
        """Decode COCO RLEs onto their boxes.

        Raises:
            ValueError: if an RLE is of another image size, or its runs do not fill it.
        """
        crops, boxes = [], []
        for index, rle in enumerate(rles):
            if tuple(rle["size"]) != tuple(size):
                raise ValueError(f"mask {index} has size {tuple(rle['size'])}, its image {tuple(size)}")
            crop, box = decode_crop(rle)
            crops.append(torch.from_numpy(crop.view(np.uint8)))
            boxes.append(box)
        return cls.from_crops(crops, torch.tensor(boxes, dtype=torch.int64), size)

    @classmethod
    def from_label_layers(cls, layers: npt.NDArray[Any], count: int) -> "InstanceCrops":
        """The inverse of :meth:`label_layers`.

        Args:
            layers: ``(L, H, W)`` integers; pixel value k marks instance k-1, in one layer only.
            count: number of instances N; one whose label is gone (cropped away) comes back empty.
        """
        crops = [torch.zeros(0, 0, dtype=torch.uint8)] * count
        boxes = torch.zeros(count, 4, dtype=torch.int64)
        for layer in layers:
            for index, slices in enumerate(ndimage.find_objects(layer, max_label=count)):
                if slices is not None:
                    rows, columns = slices
                    crops[index] = torch.from_numpy((layer[slices] == index + 1).view(np.uint8))
                    boxes[index] = torch.tensor([columns.start, rows.start, columns.stop, rows.stop])
        return cls.from_crops(crops, boxes, (int(layers.shape[1]), int(layers.shape[2])))

    def __len__(self) -> int:
        return len(self.boxes)

    def crop(self, index: int) -> Tensor:
        """Crop ``(h, w)`` of one instance, a view."""
        ends: list[int] = self._ends  # type: ignore[attr-defined]
        height, width = self._shapes[index]  # type: ignore[attr-defined]
        return self.values[ends[index] : ends[index + 1]].view(height, width)

    def crops(self) -> list[Tensor]:
        """All crops ``(h, w)``, views."""
        return [self.crop(index) for index in range(len(self))]

    def select(self, indices: Sequence[int]) -> "InstanceCrops":
        """The instances of the given indices, in that order."""
        if list(indices) == list(range(len(self))):
            return self
        crops = [self.crop(index) for index in indices]
        boxes = self.boxes[torch.tensor(list(indices), dtype=torch.int64)]
        joined = InstanceCrops.from_crops(crops, boxes, self.size, self.background)
        return replace(joined, values=joined.values.to(self.values.dtype).to(self.values.device))

    def to(self, *args: Any, **kwargs: Any) -> "InstanceCrops":
        """Move (or cast) the values; the boxes stay on the CPU."""
        return replace(self, values=self.values.to(*args, **kwargs))

    def pin_memory(self) -> "InstanceCrops":
        """Page-locked values, for an asynchronous copy to a GPU (called by the DataLoader)."""
        return replace(self, values=self.values.pin_memory())

    def areas(self) -> Tensor:
        """Sum of each crop ``(N,)``, float64: for masks their area in pixels (background not counted)."""
        running = torch.cat([self.values.new_zeros(1, dtype=torch.float64), self.values.double().cumsum(0)])
        ends = torch.tensor(self._ends, device=running.device)  # type: ignore[attr-defined]
        return running[ends].diff()

    def dense(self) -> Tensor:
        """Full-size rasters ``(N, H, W)``: for drawing and for tests, never in training."""
        full = self.values.new_full((len(self), *self.size), self.background)
        for index, (x0, y0, x1, y1) in enumerate(self.boxes.tolist()):
            full[index, y0:y1, x0:x1] = self.crop(index)
        return full

    def to_rle(self) -> list[RLE]:
        """COCO RLE of each mask."""
        values = replace(self, values=self.values.cpu())
        return [
            encode_crop(values.crop(index).numpy(), (x0, y0, x1, y1), self.size)
            for index, (x0, y0, x1, y1) in enumerate(self.boxes.tolist())
        ]

    def label_layers(self) -> npt.NDArray[np.uint16]:
        """Label images ``(L, H, W)`` that hold all masks without loss, overlapping ones in different layers.

        Instance i has the pixel value i+1 in exactly one layer, the first in which it covers nobody. L is 1 where no
        masks overlap and stays small in practice, so that warping masks costs L planes instead of N.

        Raises:
            ValueError: with more than 65535 instances.
        """
        if len(self) > np.iinfo(np.uint16).max:
            raise ValueError(f"{len(self)} instances in one image; at most 65535 fit a label layer")
        layers: list[npt.NDArray[np.uint16]] = [np.zeros(self.size, np.uint16)]
        for index, (x0, y0, x1, y1) in enumerate(self.boxes.tolist()):
            mask = self.crop(index).numpy().astype(bool)
            for layer in layers:
                if not layer[y0:y1, x0:x1][mask].any():
                    break
            else:
                layer = np.zeros(self.size, np.uint16)
                layers.append(layer)
            layer[y0:y1, x0:x1][mask] = index + 1
        return np.stack(layers)

    def roi_align(self, rois: Tensor, instance: Tensor | Sequence[int], output_size: int) -> Tensor:
        """RoIAlign each RoI on the raster of its own instance, as if that were full-size.

        Bilinear sampling with an adaptive number of samples per bin and the half-pixel shift (``aligned=True``).

        Args:
            rois: ``(R, 4)`` float xyxy in image pixels, on the device of the values.
            instance: ``(R,)`` index of each RoI's instance. On a GPU, reading it is the one synchronisation here.
            output_size: side S of the result in cells.

        Returns:
            ``(R, S, S)`` float32.
        """
        indices = instance.tolist() if isinstance(instance, Tensor) else list(instance)
        pooled = self.values.new_zeros((len(rois), output_size, output_size), dtype=torch.float32)
        members: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            members.setdefault(index, []).append(row)
        rois = rois.float()
        # One transfer for all row numbers; each instance then takes its slice of them.
        order = torch.tensor([row for rows in members.values() for row in rows], device=rois.device, dtype=torch.int64)
        begin = 0
        for index, rows in members.items():
            chosen = order[begin : begin + len(rows)]
            begin += len(rows)
            if len(self.crop(index)) == 0:
                continue
            raster, offset = self._padded_crop(index)
            local = rois[chosen] - rois.new_tensor(offset)
            aligned = roi_align(raster[None, None], [local], output_size, aligned=True)
            pooled[chosen] = aligned[:, 0]
        if self.background:
            pooled += self.background * _inside_fraction(rois, output_size, self.size)
        return pooled

    def _padded_crop(self, index: int) -> tuple[Tensor, list[int]]:
        """Crop minus background, float32, with a 2 pixel margin of zeros wherever the image goes on, and its offset.

        RoIAlign repeats the edge value for samples up to one pixel outside its input. On the image's own edge that is
        what it would do with the full raster; elsewhere the margin lets it see the zeros that are really there.
        """
        height, width = self.size
        x0, y0, x1, y1 = self.boxes[index].tolist()
        left, top = min(x0, 2), min(y0, 2)
        right, bottom = min(width - x1, 2), min(height - y1, 2)
        crop = self.crop(index).float() - self.background
        raster = torch.nn.functional.pad(crop, (left, right, top, bottom))
        return raster, [x0 - left, y0 - top, x0 - left, y0 - top]


def equivalent_diameter(areas: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Diameter ``(N,)`` in pixels of the circle of each area ``(N,)`` in pixels."""
    diameters: npt.NDArray[np.float64] = 2 * np.sqrt(np.asarray(areas, dtype=np.float64) / np.pi)
    return diameters


def tighten(masks: InstanceCrops, region: tuple[int, int, int, int]) -> tuple[InstanceCrops, npt.NDArray[np.int64]]:
    """Cut masks to a region and to their own tight boxes; empty ones are dropped.

    Args:
        masks: of the larger image.
        region: ``(x0, y0, x1, y1)`` of that image; boxes of the result count from its corner.

    Returns:
        The remaining masks, and their indices ``(N,)`` among the given ones.
    """
    left, top, right, bottom = region
    crops, boxes, kept = [], [], []
    for index, (x0, y0, _, _) in enumerate(masks.boxes.tolist()):
        crop = masks.crop(index).numpy()[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)]
        rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
        if len(rows) == 0:
            continue
        x, y = max(x0, left) - left, max(y0, top) - top
        tight = crop[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        crops.append(torch.from_numpy(np.ascontiguousarray(tight)))
        boxes.append([x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1])
        kept.append(index)
    box_array = torch.from_numpy(np.array(boxes, dtype=np.int64).reshape(-1, 4))
    return InstanceCrops.from_crops(crops, box_array, (bottom - top, right - left)), np.array(kept, dtype=np.int64)


def _inside_fraction(rois: Tensor, output_size: int, size: tuple[int, int]) -> Tensor:
    """RoIAlign of an all-ones image ``(R, S, S)``: the share of each bin's samples that RoIAlign counts as inside."""

    def axis(start: Tensor, end: Tensor, limit: int) -> Tensor:
        length = end - start
        samples = torch.ceil(length / output_size).clamp(min=1)
        # RoIs clipped to the image, the usual case, have every sample inside; others are few enough to count plainly.
        most = int(samples.max()) if len(samples) else 1
        step = torch.arange(most, device=rois.device)
        bins = torch.arange(output_size, device=rois.device)
        within = (step[None, None] + 0.5) / samples[:, None, None]
        position = start[:, None, None] - 0.5 + (bins[None, :, None] + within) * (length / output_size)[:, None, None]
        used = step[None, None] < samples[:, None, None]
        inside = (position >= -1) & (position <= limit) & used
        return inside.sum(-1) / samples[:, None]

    height, width = size
    rows = axis(rois[:, 1], rois[:, 3], height)
    columns = axis(rois[:, 0], rois[:, 2], width)
    return rows[:, :, None] * columns[:, None, :]
