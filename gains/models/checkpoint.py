"""A checkpoint on its own: plain data, enough to build its network again and predict."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gains.errors import InputError
from gains.files import replacing
from gains.models.build import build_plan
from gains.models.packing import unpack
from gains.models.recipe import Recipe, read_recipe
from gains.models.safetensors_file import SUFFIX, read_safetensors
from gains.operating_point import OperatingPoint

PREFIX = "network."
"""Of the names of weights in a checkpoint: the network is a part of the module that trained it."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that ``gains train`` or ``scripts/release.py`` wrote, whole and checked.

    Attributes:
        recipe: how the network is built and used.
        weights: tensors by the names of the network's own state.
        content: all of the file, as plain data and tensors.
    """

    recipe: Recipe
    weights: dict[str, Tensor]
    content: dict[str, Any]


def checksum(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, types and shapes, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def seal(recipe: Recipe, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a checkpoint holds under ``gains``: the recipe with the checksum of the weights that are saved with it."""
    return replace(recipe, checksum=checksum(state)).to_plain()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint as plain data; nothing in it is run.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint of this application, or its weights are not
            finite.
    """
    path = Path(path)
    source = f"checkpoint={path}"
    if not path.is_file():
        raise InputError(f"{source} does not exist; pass a file such as outputs/train/.../checkpoints/best.ckpt")
    content = _read(path, source)
    if not isinstance(content, dict) or "gains" not in content or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{source} was not written by gains train")
    state = content["state_dict"]
    strange = [str(name) for name, value in state.items() if not isinstance(value, Tensor) or type(name) is not str]
    strange += [name for name in state if type(name) is str and not name.startswith(PREFIX)]
    if strange:
        raise InputError(f"{source} holds {strange[0]!r}, which is no weight of a network; it is not loaded")
    recipe = read_recipe(content["gains"], source)
    if recipe.checksum is not None and recipe.checksum != checksum(state):
        raise InputError(f"{source} is damaged: its weights are not those that were saved. Copy it again")
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(
            f"{source} has {len(broken)} tensors that are not finite (first: {broken[0]}): its training diverged; "
            "use an earlier checkpoint, or train with a lower learning rate"
        )
    weights = {name.removeprefix(PREFIX): value for name, value in unpack(state).items()}
    return Checkpoint(recipe, weights, content)


def _read(path: Path, source: str) -> Any:
    """The contents of a file of torch.save, every part of which is as it was written, or of a safetensors file."""
    if path.suffix == SUFFIX:
        weights, recipe = read_safetensors(path, source)
        return {"state_dict": weights} | ({} if recipe is None else {"gains": recipe})
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise InputError(f"{source} cannot be read: it is damaged ({damaged} is not as it was written)")
        return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    # A damaged file can fail with any error of the two readers.
    except Exception as error:
        raise InputError(f"{source} cannot be read: it is damaged or not a checkpoint ({error})") from error


def load_network(
    path: str | Path, settings: Mapping[str, Any] | None = None, trust: Sequence[str] = ()
) -> tuple[nn.Module, Recipe]:
    """Build the network of a checkpoint and fill in its weights, ready to predict.

    Args:
        path: checkpoint file.
        settings: values of the operating point to be set anew (:meth:`gains.operating_point.OperatingPoint.override`).
        trust: packages of the user's own whose parts the network may name (see :func:`gains.models.build.build_plan`).

    Returns:
        The network in eval mode on the CPU, at its operating point, and its recipe.

    Raises:
        InputError: see :func:`read_checkpoint`; also if it names other code than the parts of models.
    """
    checkpoint = read_checkpoint(path)
    recipe = checkpoint.recipe.at(settings or {})
    network = build_plan(recipe.network, trust, f"checkpoint={path}")
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise InputError(f"checkpoint={path}: its weights do not fit its network: {error}") from error
    operate(network, recipe.operating_point)
    return network.eval(), recipe


def operate(network: nn.Module, point: OperatingPoint) -> None:
    """Set the operating point of a network: what it keeps at inference."""
    network.operating_point = point  # type: ignore[assignment]


def store_operating_point(path: Path, point: OperatingPoint) -> None:
    """Replace the operating point that a checkpoint holds.

    Raises:
        InputError: see :func:`read_checkpoint`, :func:`gains.files.replacing`.
    """
    checkpoint = read_checkpoint(path)
    content = checkpoint.content | {"gains": replace(checkpoint.recipe, operating_point=point).to_plain()}
    with replacing(path) as temporary:
        torch.save(content, temporary)
