"""The Hydra configuration: where its files are, and how a program composes it without the command line."""

from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig

from gains.errors import InputError


def config_folder() -> Path:
    """Folder of the configuration: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "conf"


def compose(command: str, *overrides: str) -> DictConfig:
    """The configuration that a command would run with.

    >>> compose("train", "model=htc", "num_classes=2").model.name
    'htc'

    Args:
        command: ``prepare``, ``train``, ``eval``, ``predict`` or ``score``.
        overrides: as on the command line, such as ``model/size=r50``.

    Raises:
        InputError: if an override names no setting or option.
    """
    try:
        with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
            return hydra.compose(command, overrides=list(overrides))
    except HydraException as error:
        raise InputError(f"{command} {' '.join(overrides)}: {error}") from error
