"""The commands and links of README.md and docs/, as a reader would copy them."""

import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
COMMAND = re.compile(
    r"(?:^|\s)(?:gains|gains\.cli)\s+(?P<name>[a-z]+)\b(?P<rest>(?:'[^']*'|\"[^\"]*\"|(?!\s#)[^;&|\n'\"])*)"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


class Command(NamedTuple):
    """``gains NAME WORDS`` on a page."""

    page: str
    name: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: gains {self.name} {' '.join(self.words)}"


def shell(page: Path) -> str:
    """What stands in the page's blocks of shell, lines that go on joined."""
    blocks = [text for language, text in FENCED.findall(page.read_text()) if language in ("", "bash", "sh")]
    return "\n".join(blocks).replace("\\\n", " ")


def spans(page: Path) -> list[str]:
    """Code within the page's sentences, each on one line."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCED.sub("", page.read_text()))]


def commands() -> list[Command]:
    """Every ``gains ...`` of all pages, its settings and whether there are several runs (``-m``)."""
    found: dict[Command, None] = {}
    for page in PAGES:
        for text in (*shell(page).splitlines(), *spans(page)):
            for match in COMMAND.finditer(text):
                words = tuple(word for word in shlex.split(match["rest"]) if "=" in word or word == "-m")
                found[Command(page.relative_to(ROOT).as_posix(), match["name"], words)] = None
    return list(found)


def jobs(words: Sequence[str]) -> Iterator[list[str]]:
    """The words of each run of a sweep; those of the only run where nothing is swept."""
    parsed = OverridesParser.create().parse_overrides([word for word in words if word != "-m"])
    choices = [
        [f"{override.get_key_element()}={choice}" for choice in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [override.input_line or ""]
        for override in parsed
    ]
    yield from map(list, itertools.product(*choices))


def links(page: Path) -> list[str]:
    """Where the page's links and pictures lead to, those to other sites left out."""
    targets: list[str] = LINK.findall(FENCED.sub("", page.read_text()))
    return [target for target in targets if not target.startswith(("https://", "http://"))]
