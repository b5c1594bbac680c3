"""From configuration to network: a model's ``_target_`` tree is its architecture, and here it is built.

A tree may come from somebody else's checkpoint. It is plain data, and it can name the parts of the models that the
configurations describe and nothing else: nothing is looked up, resolved or imported before that is certain.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from gains.config import compose, config_folder
from gains.errors import InputError

Plan = dict[str, Any]
"""A ``_target_`` tree as plain data: how a network is built, and all that a checkpoint needs to build it again."""

MAX_ENTRIES, MAX_DEPTH = 10_000, 50
"""More entries, and deeper nested, than those of any model."""


def network_plan(config: DictConfig) -> Plan:
    """The plan of a composed configuration's model, everything in it resolved."""
    plan = OmegaConf.to_container(config.model.network, resolve=True)
    assert isinstance(plan, dict)
    return {str(name): value for name, value in plan.items()}


def build_network(
    model: str | DictConfig,
    *overrides: str,
    num_classes: int = 1,
    target_label: int | None = None,
    trust: Sequence[str] = (),
) -> nn.Module:
    """An untrained network, as ``gains train`` would start from without pretrained weights.

    >>> network = build_network("gains", "model/size=r18", num_classes=2)

    Args:
        model: name of a model (``model=NAME`` of the command line), or a composed configuration with all else in it.
        overrides: as on the command line.
        num_classes: K, without background.
        target_label: label from 1 of the category that the method treats apart (DoNet's cells); None where it has none.
        trust: see :func:`build_plan`.

    Raises:
        InputError: if the model or an override is unknown.
    """
    if not isinstance(model, DictConfig):
        label = "null" if target_label is None else target_label
        given = (f"model={model}", f"num_classes={num_classes}", f"target_label={label}")
        model = compose("train", *given, *overrides)
    return build_plan(network_plan(model), trust)


def build_plan(plan: Plan, trust: Sequence[str] = (), source: str = "model.network") -> nn.Module:
    """The untrained network of a plan.

    Args:
        plan: the ``_target_`` tree.
        trust: packages of the user's own, beside the parts that the model configurations name, whose classes and
            functions a plan may name; they are imported, and run.
        source: where the plan comes from, for messages.

    Raises:
        InputError: if the plan holds anything but plain data, names something else, or a part refuses its arguments.
    """
    check_plain(plan, source, MAX_ENTRIES)
    packages = [trust] if isinstance(trust, str) else list(trust)
    for node in _nodes(plan):
        _check_node(node, packages, source)
    network = _build(plan, source)
    if not isinstance(network, nn.Module):
        raise InputError(f"{source} builds a {type(network).__name__}, not a network")
    return network


@functools.cache
def model_targets() -> frozenset[str]:
    """Every part that the configurations of models name in their networks."""
    files = (config_folder() / "model").rglob("*.yaml")
    trees = [OmegaConf.to_container(OmegaConf.load(file)) for file in sorted(files)]
    nodes = [node for tree in trees if isinstance(tree, dict) for node in _nodes(tree.get("network"))]
    return frozenset(node["_target_"] for node in nodes if isinstance(node, dict) and "_target_" in node)


def check_plain(data: Any, source: str, most: int) -> None:
    """Refuse anything but dict with string keys, list, str, int, float, bool and None, nested in each other.

    Args:
        data: to be checked.
        source: where it comes from, for messages.
        most: number of entries above which it is refused; what refers to itself has no end.

    Raises:
        InputError: naming what else there is.
    """
    waiting, seen = [(data, "", 0)], 0
    while waiting:
        node, place, depth = waiting.pop()
        seen += 1
        if seen > most or depth > MAX_DEPTH:
            raise InputError(f"{source} has more than {most} entries, or refers to itself; it is not loaded")
        if type(node) is dict:
            odd = [key for key in node if type(key) is not str]
            if odd:
                raise InputError(f"{source} has the key {odd[0]!r}{_at(place)}, which is no string; it is not loaded")
            waiting += [(value, f"{place}.{key}".lstrip("."), depth + 1) for key, value in node.items()]
        elif type(node) is list:
            waiting += [(value, f"{place}[{index}]", depth + 1) for index, value in enumerate(node)]
        elif node is not None and type(node) not in (str, int, float, bool):
            kind = type(node).__name__
            raise InputError(f"{source} has a {kind}{_at(place)}, which is no plain data; it is not loaded")


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _nodes(tree: Any) -> Iterator[Any]:
    """Every entry of a tree of plain data, itself included."""
    yield tree
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(value)


def _check_node(node: Any, trust: Sequence[str], source: str) -> None:
    """Refuse what names neither a part of a model here nor one of a trusted package, and what would be resolved."""
    if isinstance(node, str) and "${" in node:
        raise InputError(f"{source} has the reference {node!r}, and nothing in it is resolved; it is not loaded")
    if not isinstance(node, dict):
        return
    odd = [key for key in node if key.startswith("_") and key not in ("_target_", "_partial_")]
    if odd or ("_partial_" in node and ("_target_" not in node or type(node["_partial_"]) is not bool)):
        raise InputError(f"{source} has the key {(odd or ['_partial_'])[0]!r}, which means nothing there")
    target = node.get("_target_")
    own = isinstance(target, str) and target.startswith(tuple(f"{package}." for package in trust))
    known = own or (isinstance(target, str) and target in model_targets())
    if "_target_" in node and not known:
        raise InputError(
            f"{source} names {target!r}, which is no part of a model here; it is not loaded. "
            "If it is your own package and you know the file: trust=[PACKAGE]"
        )


def _find(target: str, source: str) -> Callable[..., Any]:
    """The class or function of a name, if it is defined where it is named."""
    module_name, _, name = target.rpartition(".")
    try:
        found = vars(importlib.import_module(module_name)).get(name) if module_name else None
    except ImportError as error:
        raise InputError(f"{source} names {target!r}, which cannot be imported: {error}") from error
    if not isinstance(found, (type, FunctionType)) or (found.__module__, found.__qualname__) != (module_name, name):
        raise InputError(f"{source} names {target!r}, but no class or function of that name is defined there")
    return found


def _may_be_null(part: Callable[..., Any], name: str) -> bool:
    """Whether a part takes None for an argument, by its default or its type; where neither says, it is tried."""
    parameter = inspect.signature(part).parameters.get(name)
    if parameter is None or parameter.default is None or parameter.annotation is parameter.empty:
        return True
    return "None" in str(parameter.annotation)


def _build(node: Any, source: str) -> Any:
    """What a checked tree describes, its arguments first, in their order."""
    if isinstance(node, list):
        return [_build(value, source) for value in node]
    if not isinstance(node, dict):
        return node
    arguments = {key: _build(value, source) for key, value in node.items() if key not in ("_target_", "_partial_")}
    if "_target_" not in node:
        return arguments
    part = _find(node["_target_"], source)
    for name in [name for name, value in arguments.items() if value is None]:
        if not _may_be_null(part, name):
            raise InputError(f"{source}: {node['_target_']} needs {name}, which is null")
    if node.get("_partial_"):
        return functools.partial(part, **arguments)
    try:
        return part(**arguments)
    except (TypeError, ValueError, AttributeError, RuntimeError, AssertionError, LookupError, ArithmeticError) as error:
        raise InputError(f"{source}: {node['_target_']} refuses its settings: {error}") from error
