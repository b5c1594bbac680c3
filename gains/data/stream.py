"""A JSON file of lists, entry by entry: the whole of it never lies in memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from gains.errors import InputError

CHUNK = 1 << 20
"""Characters read at a time."""

BLANK = " \t\n\r"


def top_level(path: Path) -> Iterator[tuple[str, Any]]:
    """What a JSON object holds, in the order of the file.

    Yields:
        Each key with its value; of a list, the key with each entry.

    Raises:
        InputError: if it is no JSON object, or damaged.
    """
    with path.open(encoding="utf-8") as file:
        reader = _Reader(file)
        try:
            for _ in reader.members("{", "}"):
                name = reader.value()
                reader.expect(":")
                if reader.peek() == "[":
                    for _ in reader.members("[", "]"):
                        yield name, reader.value()
                else:
                    yield name, reader.value()
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is damaged, or not written by gains prepare: {error}") from None


class _Reader:
    """The text of a file from where it was read to, a chunk at a time."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.text = ""
        self.place = 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on: as much as is left over again, so that a long value is not decoded many times."""
        chunk = self.file.read(max(CHUNK, len(self.text) - self.place))
        if not chunk:
            return False
        self.text = self.text[self.place :] + chunk
        self.place = 0
        return True

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in BLANK:
                self.place += 1
            if self.place < len(self.text):
                return self.text[self.place]
            if not self.more():
                return ""

    def expect(self, wanted: str) -> None:
        """Go past a character.

        Raises:
            ValueError: if another comes.
        """
        found = self.peek()
        if found != wanted:
            raise ValueError(f"{wanted!r} expected, not {found!r}")
        self.place += 1

    def members(self, opening: str, closing: str) -> Iterator[None]:
        """Stop before each member of an object or list, and go past its end."""
        self.expect(opening)
        if self.peek() == closing:
            self.place += 1
            return
        while True:
            yield
            if self.peek() == closing:
                self.place += 1
                return
            self.expect(",")

    def value(self) -> Any:
        """The value that begins here, and go past it."""
        self.peek()
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.place)
            except json.JSONDecodeError:
                if not self.more():
                    raise
                continue
            # A number at the end of the chunk may go on behind it, be it after "1." or "1e-".
            if end + 2 >= len(self.text) and self.more():
                continue
            self.place = end
            return found
