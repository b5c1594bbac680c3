"""A sheet of images with their annotations drawn, to be looked at before training."""

from pathlib import Path

import cv2
import numpy as np

from gains.data.dataset import Annotations, InstanceDataset, to_network_range
from gains.drawing import Picture, contact_sheet, draw_instances, save_image
from gains.images.scaling import fitted_size
from gains.masks import InstanceCrops

SHEET = "annotations.png"
"""Name of the sheet in a prepared folder."""

COUNT, COLUMNS = 12, 4
SHOWN = 400  # pixels of the longest side of each picture


def write_sheet(path: Path, annotations: Annotations) -> None:
    """Draw images spread over a data set, brightened to their percentiles, with the outlines of all their instances."""
    names = sorted(annotations.images)
    chosen = [names[index] for index in np.unique(np.linspace(0, len(names) - 1, COUNT).round().astype(int))]
    dataset = InstanceDataset(annotations, chosen, intensity="percentile")
    pictures = [draw_annotated(dataset, index) for index in range(len(chosen))]
    captions = [f"{name[:30]}: {len(annotations.rows(name))}" for name in chosen]
    save_image(path, contact_sheet(pictures, COLUMNS, captions, f"{len(chosen)} of {len(names)} images, as annotated"))


def draw_annotated(dataset: InstanceDataset, index: int) -> Picture:
    """One image with its instances, shrunk to at most :data:`SHOWN` pixels."""
    image = to_network_range(dataset.pixels(index), dataset.intensity)
    rles, _, _ = dataset.ground_truth(index)
    masks = InstanceCrops.from_rle(rles, (image.shape[0], image.shape[1]))
    pixels = (image * 255).round().astype(np.uint8)
    if max(masks.size) > SHOWN:
        height, width = fitted_size(masks.size, SHOWN, SHOWN)
        layers = masks.label_layers()
        small = [cv2.resize(layer, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for layer in layers]
        masks = InstanceCrops.from_label_layers(np.stack(small), len(masks))
        masks = masks.select(np.flatnonzero((masks.areas() > 0).numpy()).tolist())
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return draw_instances(pixels, masks)
