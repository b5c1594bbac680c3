"""Completion of commands and settings in a shell: the first word is ours, the others are Hydra's to complete."""

import os
from collections.abc import Sequence

OPTIONS = ("--help", "--version")
FLAGS = ("-sc", "--shell-completion")


def asked(words: Sequence[str]) -> bool:
    """Whether a command line, without the program's name, is a shell's question or the request for its script."""
    return len(words) > 1 and words[0] in FLAGS


def prepare(words: Sequence[str], commands: Sequence[str]) -> str | None:
    """Make Hydra see a command line that begins with the first setting.

    Args:
        words: of the program's own command line, for which :func:`asked` is true. The line that is to be completed is
            in ``COMP_LINE`` of the environment, where Hydra's scripts put it.
        commands: of the program.

    Returns:
        The command whose settings Hydra is to complete; None where it was the command, whose completions are printed.
    """
    if not words[1].startswith("query="):
        return commands[0]  # any: Hydra prints the script, which is the same for all
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.lstrip().partition(" ")
    command, space, settings = rest.lstrip().partition(" ")
    if space and command in commands:
        os.environ["COMP_LINE"] = f"{program} {settings}"
        return command
    if not space:
        print(" ".join(word for word in [*commands, *OPTIONS] if word.startswith(command)))
    return None
