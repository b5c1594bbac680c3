"""Docstrings as the documentation site shows them: their cross references and examples in Markdown.

An extension of griffe, which mkdocstrings reads the package with; mkdocs.yml names it.
"""

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":\w+:`~?([^`]+)`")
EXAMPLE = re.compile(r"(?:^>>>.*\n?(?:^(?![ \t]*$).*\n?)*)", re.MULTILINE)


def markdown(text: str) -> str:
    """A docstring with ``:func:`name``` as code and lines from ``>>>`` to the next empty one as a block of code.

    Args:
        text: the docstring without its indentation.
    """
    text = ROLE.sub(r"`\1`", text)
    return EXAMPLE.sub(lambda found: f"```python\n{_code(found[0])}\n```\n", text)


def _code(example: str) -> str:
    """Statements as typed, without prompts and hints to doctest; what they print as a comment."""
    lines = []
    for line in example.splitlines():
        typed = line.startswith((">>> ", "... "))
        lines.append(line[4:].split("  # doctest:")[0] if typed else f"# {line}")
    return "\n".join(lines)


class SiteDocstrings(Extension):  # type: ignore[misc]  # not looked into: the extra may not be there
    """Rewrites each docstring when it has been read."""

    def on_instance(self, *, obj: Object, **kwargs: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
