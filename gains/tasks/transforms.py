"""From configuration to the transforms of training images."""

from typing import Any

import albumentations as A
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gains.errors import InputError


def transforms(entries: Any) -> list[Any]:
    """Albumentations' transforms of a configuration.

    Raises:
        InputError: naming the first entry that is none.
    """
    if not OmegaConf.is_list(entries):
        raise InputError(f"augmentation.transforms={entries} must be a list; [] for none")
    for entry in entries:
        if not OmegaConf.is_dict(entry) or "_target_" not in entry:
            raise InputError(
                f"augmentation.transforms has {entry!r}; each must be a transform of Albumentations, such as "
                "{_target_: albumentations.HorizontalFlip, p: 0.5}"
            )
    made = list(instantiate(entries))
    for transform in made:
        if not isinstance(transform, A.BasicTransform | A.BaseCompose):
            raise InputError(f"augmentation.transforms: {type(transform).__name__} is no transform of Albumentations")
    return made
