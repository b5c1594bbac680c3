"""A scene of a few instances that overlap and hold each other."""

import numpy as np
import torch

from gains.masks import InstanceCrops
from gains.prediction.result import Prediction


def nested() -> Prediction:
    """A cell with a worse-scored nucleus in it, and a cell beside it that overlaps the first."""
    masks = np.zeros((3, 40, 60), bool)
    masks[0, 5:35, 5:30] = True
    masks[1, 15:20, 10:16] = True
    masks[2, 5:35, 26:50] = True
    crops = InstanceCrops.from_dense(torch.from_numpy(masks))
    return Prediction(crops, np.array([0.9, 0.8, 0.7]), np.array([1, 2, 1]), ["cell", "nucleus"])
