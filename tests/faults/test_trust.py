"""Ways to make a checkpoint run what it should not. Each must be refused before anything of it has happened."""

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gains
from gains.errors import InputError
from gains.models.build import build_plan, model_targets
from gains.models.checkpoint import load_network, seal
from gains.models.recipe import Recipe
from gains.models.weights import load_weights

MASK = {"_target_": "gains.models.parts.roi.mask_head.MaskHead", "channels_in": 4, "channels": 4, "num_classes": 2}
PLAN = {"_target_": "gains.models.mask_rcnn.MaskBranch", "head": MASK}

TARGETS = [
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "gains.files.os.system",
    "gains.files.os.replace",
    "gains.data.prepare.shutil.rmtree",
    "gains.models.checkpoint.torch.load",
    "gains.models.build.importlib.import_module",
    "gains.models.build.functools.partial",
    "gains.models.build.build_plan",
    "gains.models.weights.load_weights",
    "gains.tasks.predict.run",
    "gains.models.parts.roi.mask_head.MaskHead.__init__.__globals__",
    "gains.models.parts.roi.mask_head.__loader__.exec_module",
    "gains.models.parts.roi.mask_head.nn.Sequential",
    "gains.models.mask_rcnn.MaskHead",  # imported there, not defined there
    "gains.models.parts.roi.mask_head..MaskHead",
    "gains.models.parts.roi.mask_head.MaskHead ",
    "torch.nn.Sequential",
    "torch.nn.modules.module.Module.register_forward_hook",
    "torch.hub.load",
    "torchvision.ops.misc.warnings.warn",
    "torchvision.models.get_model",
    "hydra.utils.instantiate",
    "hydra.utils.call",
    "trap.go",
    "",
    "go",
]


def plans() -> list[tuple[str, Any]]:
    """Plans that hide a call of ``trap.go`` in ways in which other loaders would make it."""
    call: Any = {"_target_": "trap.go"}
    itself: dict[str, Any] = dict(PLAN)
    itself["head"] = itself
    deep: Any = call
    for _ in range(200):
        deep = [deep]
    wide: Any = [1]
    for _ in range(40):
        wide = [wide, wide]
    return [
        ("argument", PLAN | {"head": call}),
        ("list", PLAN | {"head": MASK | {"channels": [call]}}),
        ("tuple", PLAN | {"head": (call,)}),
        ("tuple in a list", PLAN | {"head": [(call,)]}),
        ("set", PLAN | {"head": {"trap.go"}}),
        ("ordered", PLAN | {"head": OrderedDict(MASK)}),
        ("ordered call", PLAN | {"head": OrderedDict(call)}),
        ("tensor", PLAN | {"head": torch.zeros(3)}),
        ("size", PLAN | {"head": torch.zeros(3).shape}),
        ("bytes", PLAN | {"head": b"trap.go"}),
        ("complex", PLAN | {"head": MASK | {"channels": 4j}}),
        ("number as key", PLAN | {"head": MASK | {5: call}}),
        ("tuple as key", PLAN | {"head": MASK | {("_target_",): "trap.go"}}),
        ("target that is a list", PLAN | {"head": {"_target_": ["trap", "go"]}}),
        ("target that is a number", PLAN | {"head": {"_target_": 5}}),
        ("target that is none", PLAN | {"head": {"_target_": None}}),
        ("partial", PLAN | {"head": call | {"_partial_": True}}),
        ("nested partials", PLAN | {"head": MASK | {"_partial_": True, "channels": call | {"_partial_": True}}}),
        ("partial that is a call", PLAN | {"head": MASK | {"_partial_": call}}),
        ("partial that is a number", PLAN | {"head": MASK | {"_partial_": 1}}),
        ("args", PLAN | {"head": MASK | {"_args_": [call]}}),
        ("call", PLAN | {"_call_": call}),
        ("convert", PLAN | {"_convert_": "object"}),
        ("recursive", PLAN | {"_recursive_": False, "head": call}),
        ("dunder", PLAN | {"__class__": call}),
        ("create", PLAN | {"head": "${oc.create:{_target_: trap.go}}"}),
        ("environment", PLAN | {"head": MASK | {"channels": "${oc.env:HOME}"}}),
        ("decode", PLAN | {"head": MASK | {"channels": "${oc.decode:'4'}"}}),
        ("reference", PLAN | {"head": MASK | {"channels": "${head.channels_in}"}}),
        ("reference in a target", PLAN | {"head": {"_target_": "${oc.env:TRAP}"}}),
        ("itself", itself),
        ("deep", PLAN | {"head": deep}),
        ("wide", PLAN | {"head": wide}),
        ("no network", {"sizes": [1, 2]}),
        ("no tree", [PLAN]),
    ]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a mark when it is imported or called."""
    mark = tmp_path / "mark"
    (tmp_path / "trap.py").write_text(f"open({str(mark)!r}, 'w')\ndef go(*_, **__):\n    open({str(mark)!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TRAP", "trap.go")
    yield mark
    sys.modules.pop("trap", None)


def attack(folder: Path, plan: Any) -> Path:
    recipe = Recipe(PLAN, ["cell"], 64)
    state = {f"network.{name}": value for name, value in build_plan(PLAN).state_dict().items()}
    torch.save({"state_dict": state, "gains": seal(recipe, state) | {"network": plan}}, folder / "evil.ckpt")
    return folder / "evil.ckpt"


@pytest.mark.parametrize("target", TARGETS)
def test_no_target_but_parts_of_models(tmp_path: Path, trap: Path, target: str) -> None:
    with pytest.raises(InputError, match=r"evil\.ckpt names .*, which is no part of a model here"):
        load_network(attack(tmp_path, PLAN | {"extra": {"_target_": target}}))
    assert not trap.exists()


@pytest.mark.parametrize(("name", "plan"), plans(), ids=[name for name, _ in plans()])
def test_no_way_in(tmp_path: Path, trap: Path, name: str, plan: Any) -> None:
    path = attack(tmp_path, plan)
    with pytest.raises(InputError, match=r"evil\.ckpt"):
        load_network(path)
    with pytest.raises(InputError, match=r"evil\.ckpt"):
        gains.load_model(path, "cpu")
    assert not trap.exists()


@pytest.mark.parametrize("place", ["operating_point", "categories", "data", "intensity"])
def test_no_way_in_elsewhere_in_the_recipe(tmp_path: Path, trap: Path, place: str) -> None:
    content = torch.load(attack(tmp_path, PLAN), weights_only=True)
    content["gains"][place] = {"_target_": "trap.go"}
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil\.ckpt"):
        load_network(tmp_path / "evil.ckpt")
    assert not trap.exists()


class Unpickled:
    def __reduce__(self) -> Any:
        return subprocess.run, (["touch", "mark"],)


@pytest.mark.parametrize("part", ["gains", "state_dict", "optimizer_states"])
def test_no_object_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = attack(tmp_path, PLAN)
    torch.save(torch.load(path, weights_only=True) | {part: Unpickled()}, path)
    with pytest.raises(InputError, match=r"evil\.ckpt cannot be read"):
        load_network(path)
    with pytest.raises(InputError, match=r"evil\.ckpt cannot be read"):
        load_weights(build_plan(PLAN), str(path), "resnet18")
    assert not (tmp_path / "mark").exists()


def test_weights_alone_build_nothing(tmp_path: Path, trap: Path) -> None:
    """As a start for training, a checkpoint's plan is not even looked at."""
    network = build_plan(PLAN)
    load_weights(network, str(attack(tmp_path, PLAN | {"head": {"_target_": "trap.go"}})), "resnet18")
    assert not trap.exists()


def test_a_trusted_package_is_trusted_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(
        "import os\nfrom torch import nn\nclass Net(nn.Linear):\n    pass\ndef number():\n    return 3\n"
    )
    (tmp_path / "minefield.py").write_text("from torch import nn\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    plan = {"_target_": "mine.parts.Net", "in_features": {"_target_": "mine.parts.number"}, "out_features": 2}
    with pytest.raises(InputError, match=r"names 'mine.parts.Net'.*trust=\[PACKAGE\]"):
        build_plan(plan)
    for trust in (["mine"], "mine", ["mine.parts"], ["other", "mine"]):
        assert build_plan(plan, trust).in_features == 3
    for target in ("minefield.Net", "os.system", "torch.nn.Linear"):
        with pytest.raises(InputError, match="no part of a model here"):
            build_plan({**plan, "_target_": target}, ["mine"])
    for target in ("mine.parts.os.system", "mine.parts.nn.Linear", "mine.parts.Net.forward", "mine.parts.none"):
        with pytest.raises(InputError, match=r"cannot be imported|no class or function of that name"):
            build_plan({**plan, "_target_": target}, ["mine"])
    for name in [name for name in sys.modules if name.startswith("mine")]:
        del sys.modules[name]


def test_every_part_that_the_configurations_name_is_defined_where_it_is_named() -> None:
    targets = model_targets()
    assert len(targets) > 20
    for target in targets:
        module, _, name = target.rpartition(".")
        __import__(module)
        found = getattr(sys.modules[module], name)
        assert (found.__module__, found.__qualname__) == (module, name)
