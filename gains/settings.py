"""What ``gains COMMAND --help`` prints: settings with default and description, read off the configuration."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from gains.config import config_folder

LINE = re.compile(r"(?P<indent> *)(?P<name>\w+):(?: +(?P<value>.*?))??(?: +# (?P<meaning>.*))?$")
"""One setting of a YAML file. A group of settings has no value."""
NOT_SHOWN = ("defaults", "hydra")
COLUMN = 48


def command_help(command: str, overrides: Sequence[str] = ()) -> str:
    """The settings of a command, its groups and their options.

    Args:
        command: a file of the configuration folder without its ``.yaml``.
        overrides: as typed; an option named in there (``model=htc``) is the one whose settings are shown.
    """
    typed = dict(word.split("=", 1) for word in overrides if "=" in word)
    text = [heading(config_folder() / f"{command}.yaml"), "", *settings(command, "")]
    for group, chosen in groups(command):
        options = sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))
        if not options:
            continue
        chosen = typed.get(group, chosen)
        text += ["", f"{group}={chosen or 'null'}   of {', '.join(options)}"]
        if chosen in options:
            text += settings(f"{group}/{chosen}", "" if group in ("experiment", "debug", "sweep") else f"{group}.")
    closing = "key=value sets any of these. --cfg job prints the whole configuration as a run would get it."
    return "\n".join([*text, "", closing])


def heading(path: Path) -> str:
    """The comment that a file begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[0].removeprefix("# ") if lines and lines[0].startswith("#") else ""


def defaults(name: str) -> list[Any]:
    """The defaults list of a file of the configuration."""
    content = yaml.safe_load((config_folder() / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    return list(content.get("defaults", []))


def groups(command: str) -> list[tuple[str, str | None]]:
    """Groups of a command with the option that each takes by default, those of a command beneath it included."""
    found: list[tuple[str, str | None]] = []
    for entry in defaults(command):
        if isinstance(entry, str) and entry != "_self_":
            found += groups(entry)
        elif isinstance(entry, dict):
            found += [(group, option) for group, option in entry.items() if not group.startswith("override ")]
    return found


def settings(name: str, prefix: str) -> list[str]:
    """One line for every setting of a file and of those it builds on; what a file says replaces what is below it.

    Args:
        name: of the file in the configuration folder, without ``.yaml``.
        prefix: of the settings' names.
    """
    return [
        f"  {f'{prefix}{setting}={value}':{COLUMN}} {meaning}".rstrip()
        for setting, (value, meaning) in described(name).items()
    ]


def described(name: str) -> dict[str, tuple[str, str]]:
    """Settings of a file and of those beneath it: value and description of each by name."""
    found: dict[str, tuple[str, str]] = {}
    folder = name.rpartition("/")[0]
    for entry in defaults(name):
        if isinstance(entry, str) and entry != "_self_":
            found |= described(f"{folder}/{entry}" if folder else entry)
    for setting, value, meaning in lines(config_folder() / f"{name}.yaml"):
        found[setting] = (value, meaning or found.get(setting, ("", ""))[1])
    return found


def lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, value and description of what a YAML file sets; how objects are made (``_target_``) is left out."""
    above: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        match = LINE.fullmatch(line)
        if match is None:
            continue
        indent = len(match["indent"])
        above = [(depth, name) for depth, name in above if depth < indent]
        names = [name for _, name in above] + [match["name"]]
        if not match["value"]:
            above.append((indent, match["name"]))
        elif names[0] in NOT_SHOWN or names[-1].startswith("_"):
            continue
        elif match["value"].startswith("{"):  # a group of settings in one line
            for name, value in yaml.safe_load(match["value"]).items():
                yield ".".join([*names, name]), str(value), ""
        else:
            yield ".".join(names), match["value"], match["meaning"] or ""
