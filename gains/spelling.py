"""What is mistyped on a command line, in one line that names what was probably meant; without importing torch."""

import ast
import contextlib
import difflib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from gains.config import compose, config_folder
from gains.errors import InputError
from gains.typed import PATHS

OURS = frozenset(["self", "logger", "callbacks", "plugins", "default_root_dir"])
"""Arguments of Lightning's trainer that this program fills in."""
COULD_NOT = re.compile(r"Could not (?:override|delete from config\.|delete|append to config\.)[^']*'(?P<name>[^']+)'")
AMBIGUOUS = re.compile(r"Ambiguous value for argument '(?P<word>.*)'")


def meant(word: str, known: Sequence[str]) -> str:
    """``; did you mean X?`` where something known is like a word, else a full stop."""
    known = [name for name in known if name != word]
    inside = [name for name in known if name.rpartition(".")[2] == word.rpartition(".")[2]]
    very = difflib.get_close_matches(word, known, n=1, cutoff=0.9)
    close = very or sorted(inside, key=len)[:3] or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not close:  # a few letters of a long name: only its last part tells
        ends = {name.rpartition(".")[2]: name for name in reversed(known)}
        close = [ends[end] for end in difflib.get_close_matches(word.rpartition(".")[2], list(ends), n=1, cutoff=0.75)]
    return f"; did you mean {' or '.join(close)}?" if close else "."


def trainer_arguments() -> list[str]:
    """Arguments of Lightning's trainer, read off its source: importing it would import torch."""
    package = importlib.util.find_spec("pytorch_lightning")
    assert package is not None
    assert package.origin is not None
    tree = ast.parse((Path(package.origin).parent / "trainer" / "trainer.py").read_text(encoding="utf-8"))
    (trainer,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Trainer")
    (init,) = (node for node in trainer.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    names = {argument.arg for argument in [*init.args.args, *init.args.kwonlyargs]}
    return sorted(names - OURS)


def check_trainer(words: Sequence[str]) -> None:
    """Look for arguments that Lightning's trainer does not have.

    Raises:
        InputError: naming the first one, and what was probably meant.
    """
    typed = [word.lstrip("+").partition("=")[0] for word in words if "=" in word]
    names = [name.removeprefix("trainer.").split(".")[0] for name in typed if name.startswith("trainer.")]
    if names:
        check_trainer_names(names)


def check_trainer_names(names: Iterable[str]) -> None:
    """Look for settings that are no arguments of Lightning's trainer, or are filled in by this program.

    Raises:
        InputError: naming the first one, and what was probably meant.
    """
    known = trainer_arguments()
    for name in names:
        if name in OURS:
            raise InputError(f"trainer.{name} is set by this program; there are {', '.join(known)}")
        if name not in known:
            raise InputError(
                f"trainer.{name} is no setting of the trainer{meant(name, known)} There are {', '.join(known)}"
            )


def misread(error: BaseException, command: str, words: Sequence[str]) -> str:
    """One line for what Hydra could not make a configuration of.

    Args:
        error: of Hydra or OmegaConf.
        command: that was to be configured.
        words: its settings.
    """
    text = str(error).strip()
    if isinstance(error, OSError) and error.filename is not None:
        return f"hydra.run.dir: {error.filename} cannot be made: {error.strerror}"
    if text.startswith("Unknown plugin class"):
        chosen = next((word for word in words if word.startswith("hydra/launcher=")), "hydra/launcher")
        return f"{chosen} needs a package that is not installed; docs/scaling.md names its extra"
    if "Config group override must be" in text:
        none = [word.split("=")[0] for word in words if word.endswith("=null") and "." not in word]
        return f"{' and '.join(none) or 'a group'} must be one of its options, not null"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice} is unknown{meant(choice, error.options)} There are {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"{error.override!r} is no setting: settings are typed as key=value"
        return (
            f"{error.override} cannot be read ({error.message.splitlines()[0]}); a value with special characters "
            "is quoted once more: \"key='value'\""
        )
    if match := AMBIGUOUS.search(text):
        return f"{match['word']} has several values; -m makes a run of each, brackets a list: [one, another]"
    if match := COULD_NOT.search(text):
        name = match["name"].split("@")[0]
        if "already" in text:
            return f"+{name}: there is such a setting; without + it is set"
        return f"{name} is no setting of gains {command}{meant(name, known_settings(command, words, name))}"
    cause = str(error.__cause__).strip().splitlines() if error.__cause__ else []
    return ": ".join([*text.splitlines()[:1], *cause[:1]])


def known_settings(command: str, words: Sequence[str], wrong: str) -> list[str]:
    """Names of all settings and groups of a command, as the other words choose them."""
    others = [word for word in words if "=" in word and not word.startswith("-") and wrong not in word]
    options = [word for word in others if "." not in word.partition("=")[0]]
    for tried in (others, options, []):  # where more than one is wrong, or there are several runs
        with contextlib.suppress(InputError):
            config = compose(command, *tried)
            break
    tree = OmegaConf.to_container(config, resolve=False)
    folders = [
        str(path.relative_to(config_folder())) for path in config_folder().rglob("*/") if path != config_folder()
    ]
    return [*names(tree), *folders, *sorted(name for name in PATHS if name.startswith("hydra."))]


def names(tree: Any, above: str = "") -> Iterator[str]:
    """Dotted names of all that a tree of dicts holds."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            name = f"{above}{key}"
            yield name
            yield from names(value, f"{name}.")
