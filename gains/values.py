"""Values of settings that cannot be right, found before data are read and torch is loaded."""

import math
from collections.abc import Mapping
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigTypeError

from gains.errors import InputError
from gains.settings import described

WHOLE: dict[str, tuple[int, int | None]] = {
    "seed": (0, 2**32 - 1),
    "batch_size": (1, None),
    "num_workers": (0, None),
    "max_detections": (1, None),
    "bootstrap_samples": (0, None),
    "samples": (0, None),
    "jobs": (1, None),
    "trials": (1, None),
    "startup": (0, None),
    "unit": (1, None),
    "block": (1, None),
    "tile": (1, None),
    "max_pixels": (1, None),
    "dask.workers": (1, None),
    "dask.cores": (1, None),
    "dask.gpus": (0, None),
    "devices": (-1, None),
    "dataset.seed": (0, 2**32 - 1),
    "dataset.num_folds": (2, None),
    "dataset.fold": (0, None),
    "dataset.max_detections": (1, None),
    "dataset.short_side": (1, None),
    "dataset.max_pixels": (1, None),
    "dataset.gamm.window": (1, None),
    "dataset.format.num_images": (1, None),
    "dataset.format.image_size": (32, None),
    "augmentation.long_side": (1, None),
    "augmentation.test_short_side": (1, None),
    "model.rois_per_image": (1, None),
    "model.schedule.warmup_steps": (0, None),
    "trainer.max_steps": (-1, None),
    "trainer.max_epochs": (-1, None),
    "trainer.min_steps": (0, None),
    "trainer.min_epochs": (0, None),
    "trainer.num_nodes": (1, None),
    "trainer.num_sanity_val_steps": (-1, None),
    "trainer.log_every_n_steps": (0, None),
    "trainer.accumulate_grad_batches": (1, None),
}
"""Whole numbers, from the lowest to the highest allowed."""
NUMBERS: dict[str, tuple[float, float]] = {
    "score_threshold": (0, 1),
    "min_score": (0, 1),
    "overlap": (0, math.inf),
    "min_area": (0, math.inf),
    "pixel_size_um": (0, math.inf),
    "trainer.gradient_clip_val": (0, math.inf),
    "trainer.limit_train_batches": (0, math.inf),
    "trainer.limit_val_batches": (0, math.inf),
    "model.optimizer.lr": (0, math.inf),
    "model.optimizer.weight_decay": (0, math.inf),
    "model.backbone_lr_factor": (0, math.inf),
    "callbacks.last.minutes": (0, math.inf),
}
"""Other numbers, likewise."""
LENGTHS = {
    "model.proposals.pre_nms": 2,
    "model.proposals.post_nms": 2,
    "model.anchor_sizes": 5,
    "dataset.ratios": 3,
    "augmentation.short_sides": None,
    "seeds": None,
}
"""Lists of numbers of zero or more: how many."""
OR_AUTO = ("model.anchor_sizes",)
"""Settings that the data may decide instead."""
ONE_OF = {
    "logger.mode": ("online", "offline", "disabled"),
    "tune_metric": ("aji", "f1_50"),
    "validate_on": ("val", "train"),
    "dataset.intensity": ("full_range", "percentile"),
    "dataset.gamm.variant": ("isbi", "chromosome", "nuclei"),
    "dataset.gamm.statistic": ("reference", "circular"),
}
"""Settings with a few possible values."""
NEEDED = ("dataset.root", "dataset.name", "output")
"""What null cannot stand for, except in ``gains predict``, which says it itself."""
OF_TRAINING = ("max_detections", "augmentation.test_short_side")
"""What null cannot stand for in ``gains train``, where a file refers to another setting."""
ALL_IN_ONE = ("experiment", "debug", "sweep")
"""Groups whose options set values of other groups."""
FRACTIONS = ("trainer.val_check_interval", "trainer.check_val_every_n_epoch")
"""Checked by :mod:`gains.training.schedule`."""


def check_values(command: str, config: DictConfig, choices: Mapping[str, str | None]) -> None:
    """Compare values with what the configuration files have in their place, and with what is allowed.

    Args:
        command: whose configuration this is.
        config: all of it.
        choices: option of every group.

    Raises:
        InputError: naming the first setting that is of another kind than its default, or out of range.
    """
    for name, default in defaults(command, choices).items():
        value = value_of(config, name)
        if value is None and not nullable(name, default) and given(config, name):
            raise InputError(f"{name}=null: it must be {wanted(name, default)}")
        if value is not None and name not in FRACTIONS and not alike(value, default) and not by_data(name, value):
            raise InputError(f"{name}={shown(value)} must be {wanted(name, default)}")
    for name in (*LENGTHS, *WHOLE, *NUMBERS, *ONE_OF):
        value = value_of(config, name)
        if value is not None and not allowed(name, value) and not by_data(name, value):
            raise InputError(f"{name}={shown(value)} must be {wanted(name)}")
    for name in OF_TRAINING if command == "train" else ():
        if given(config, name) and value_of(config, name) is None:
            raise InputError(f"{name}=null: it must be {wanted(name)}")
    for name in NEEDED:
        above = OmegaConf.select(config, name.rpartition(".")[0]) if "." in name else config
        if command != "predict" and above is not None and above.get(name.rpartition(".")[2], "") is None:
            raise InputError(f"{name}=null: it must be a path or name")


def defaults(command: str, choices: Mapping[str, str | None]) -> dict[str, Any]:
    """Values of the files that were composed, by setting; those that refer to other settings are left out."""
    found = {name: value for name, (value, _) in described(command).items()}
    for group, option in choices.items():
        if group.startswith("hydra") or not option or option == "null":
            continue
        above = group.split("/")[0]
        prefix = "" if above in ALL_IN_ONE else f"{above}."
        found |= {f"{prefix}{name}": value for name, (value, _) in described(f"{group}/{option}").items()}
    return {name: plain(value) for name, value in found.items() if "${" not in value and "???" not in value}


def plain(value: str) -> Any:
    """A value of a YAML file; ``1e-4`` is a number, as to OmegaConf. A text that goes on in the next line stays."""
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    try:
        return float(read) if isinstance(read, str) else read
    except ValueError:
        return read


def alike(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of a default: yes or no, a number, a list, or a text."""
    listed = OmegaConf.is_list(value) or OmegaConf.is_dict(value)
    if default is None:
        return True
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return listed == isinstance(default, list | dict)


def given(config: DictConfig, name: str) -> bool:
    """Whether there is a setting of this name, and not one within the items of a list."""
    above, _, last = name.rpartition(".")
    try:
        group = OmegaConf.select(config, above) if above else config
    except ConfigTypeError:
        return False
    return OmegaConf.is_dict(group) and last in group


def nullable(name: str, default: Any) -> bool:
    """Whether null means something: no limit to the trainer, no callback, and wherever a file says null or a name."""
    if name in WHOLE:
        return default is None
    return not isinstance(default, bool | int | float | list) or name.startswith(("trainer.", "callbacks.", "logger."))


def value_of(config: DictConfig, name: str) -> Any:
    """What a setting is; None where there is none of this name, as within the items of a list."""
    try:
        return OmegaConf.select(config, name, throw_on_missing=False)
    except ConfigTypeError:
        return None


def allowed(name: str, value: Any) -> bool:
    """Whether a value is in the range of its setting, or one of its few."""
    if name in ONE_OF:
        return value in ONE_OF[name]
    if name in LENGTHS:
        items = list(value) if OmegaConf.is_list(value) else []
        numbers = [item for item in items if isinstance(item, int | float) and item >= 0]
        return len(numbers) == len(items) == (LENGTHS[name] or max(1, len(items)))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = WHOLE.get(name) or NUMBERS[name]
    return low <= value and (high is None or value <= high) and (name in NUMBERS or isinstance(value, int))


def by_data(name: str, value: Any) -> bool:
    """Whether a setting is left to the data."""
    return name in OR_AUTO and bool(value == "auto")


def wanted(name: str, default: Any = None) -> str:
    """What a setting takes, in words."""
    if name in WHOLE or name in NUMBERS:
        low, high = WHOLE.get(name) or NUMBERS[name]
        kind = "a whole number" if name in WHOLE else "a number"
        return f"{kind} of at least {low}" if high in (None, math.inf) else f"{kind} from {low} to {high}"
    if name in ONE_OF:
        return f"one of {', '.join(ONE_OF[name])}"
    if name in LENGTHS:
        return f"{'auto or ' * (name in OR_AUTO)}a list of {LENGTHS[name] or 'one or more'} numbers"
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int | float):
        return f"a number, such as {default:g}"
    if isinstance(default, list):
        return f"a list, such as {str(default).replace(chr(39), '')}"
    return f"one name, such as {default}"


def shown(value: Any) -> str:
    """A value as it is typed."""
    return str(value).replace("'", "") if OmegaConf.is_config(value) else str(value)
