"""Models that others can use at once: by name and version, or as a URL with its checksum."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

import gains
from gains.config import config_folder
from gains.download import fetch
from gains.errors import InputError
from gains.models.safetensors_file import SUFFIX

NAME = re.compile(r"([a-z][a-z0-9_]*)(?:@(\d+))?")
"""``nuclei``, or ``nuclei@1`` for one version of it."""

URL = re.compile(r"(https?://.+?)(?:@sha256:([0-9a-fA-F]*))?")
"""A URL, with the checksum of the file behind it."""


@dataclass(frozen=True)
class Released:
    """A model that can be asked for by name.

    Attributes:
        name: what it is called.
        version: from 1; the newest is meant where none is named.
        sha256: of the file, in hexadecimal.
        card: one line on what it was trained on, its licence, its figures and where it fails.
        file: name in ``gains/weights``, for one that comes with the package.
        url: of the file otherwise.
    """

    name: str
    version: int
    sha256: str
    card: str
    file: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def released_models() -> list[Released]:
    """The models that ``conf/models.yaml`` lists.

    Raises:
        InputError: if an entry of it is wrong.
    """
    path = config_folder() / "models.yaml"
    plain: Any = OmegaConf.to_container(OmegaConf.load(path))
    return [_entry(entry, f"{path.name}: entry {index}") for index, entry in enumerate(plain["models"], 1)]


def _entry(entry: Any, place: str) -> Released:
    try:
        model = Released(**entry)
    except TypeError as error:
        raise InputError(f"{place}: {error}") from None
    named = NAME.fullmatch(str(model.name)) is not None and "@" not in model.name
    if not named or type(model.version) is not int or model.version < 1:
        raise InputError(f"{place}: name is lower-case letters, digits and _, version a number from 1")
    if (model.file is None) == (model.url is None) or re.fullmatch("[0-9a-f]{64}", str(model.sha256)) is None:
        raise InputError(f"{place}: needs sha256 as 64 hexadecimal digits, and either file or url")
    return model


def find_released(text: str) -> Released | None:
    """The released model of a name, or of a name and version; None for anything else, such as a path."""
    match = NAME.fullmatch(text)
    if match is None:
        return None
    name, version = match[1], match[2]
    found = [model for model in released_models() if model.name == name and version in (None, str(model.version))]
    return max(found, key=lambda model: model.version, default=None)


def released(given: str) -> bool:
    """Whether a setting means a model made for use, not a run to go on with: by its name, URL or kind of file."""
    return find_released(given) is not None or URL.fullmatch(given) is not None or given.endswith(SUFFIX)


def locate(given: str | Path, setting: str = "checkpoint") -> Path:
    """The file that a setting means: a path itself, a released model's, or the download of a URL.

    Args:
        given: path, ``NAME``, ``NAME@VERSION``, ``URL`` or ``URL@sha256:CHECKSUM``.
        setting: its name, for messages.

    Returns:
        A path; that a file is there is only certain for downloads and released models.

    Raises:
        InputError: for a name that no model has, or a download that fails or is not what it should be.
    """
    text = str(given)
    address = URL.fullmatch(text)
    if address is not None:
        if address[2] is not None and len(address[2]) != 64:
            raise InputError(f"{setting}={text}: a sha256 has 64 hexadecimal digits, this has {len(address[2])}")
        return _download(address[1], address[2], setting)
    if Path(text).exists() or NAME.fullmatch(text) is None:
        return Path(text)
    model = find_released(text)
    if model is None:
        known = ", ".join(map(str, released_models()))
        have = f"released models are {known}" if known else "no trained model comes with this version"
        raise InputError(f"{setting}={text} does not exist, as a file or as a model: {have}; pass a path or URL")
    if model.url is not None:
        return _download(model.url, model.sha256, setting)
    return Path(gains.__file__).parent / "weights" / str(model.file)


def _download(url: str, sha256: str | None, setting: str) -> Path:
    """Where the download of a URL lies."""
    return Path(str(fetch(url, cache_folder(), sha256, f"{setting}=PATH")))


def cache_folder() -> Path:
    """Where downloaded models are kept: ``gains`` in ``$XDG_CACHE_HOME``, which is ``~/.cache`` if unset."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gains"
