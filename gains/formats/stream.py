"""A JSON file of lists, entry by entry: the whole of it never lies in memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

CHUNK = 1 << 20
"""Characters read at a time."""

MARGIN = 16
"""Before the end of a chunk, where what looks damaged may only be cut."""

BLANK = " \t\n\r"


def top_level(path: Path) -> Iterator[tuple[str, Any]]:
    """What a JSON object holds, in the order of the file, in any of the encodings that JSON may have.

    Yields:
        Each key with its value; of a list an iterator of its entries, which ends when the next key is asked for.

    Raises:
        ValueError: if it is no JSON object, or damaged; also from an iterator of entries.
        RecursionError: if something in it is too deep.
        OSError: if it cannot be read.
    """
    with _opened(path) as reader:
        for _ in reader.members("{", "}"):
            name = reader.value()
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is the name of a member, which must be text")
            reader.expect(":")
            if reader.peek() == "[":
                entries = reader.entries()
                yield name, entries
                for _ in entries:
                    pass
            else:
                yield name, reader.value()
        reader.end()


def entries(path: Path) -> Iterator[Any]:
    """What a JSON list holds, in the order of the file.

    Raises:
        ValueError: if it is no JSON list, or damaged.
        RecursionError: if something in it is too deep.
        OSError: if it cannot be read.
    """
    with _opened(path) as reader:
        yield from reader.entries()
        reader.end()


def first_character(path: Path) -> str:
    """The first character of a JSON file that is not blank, which tells what it holds; see :func:`entries`."""
    with _opened(path) as reader:
        return reader.peek()


@contextmanager
def _opened(path: Path) -> Iterator["_Reader"]:
    with path.open("rb") as start:
        encoding = json.detect_encoding(start.read(4))
    with path.open(encoding=encoding, errors="surrogatepass", newline="") as file:
        yield _Reader(file)


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

    def end(self) -> None:
        """See that nothing follows.

        Raises:
            ValueError: if something does.
        """
        if self.peek():
            raise ValueError("more follows after the end")

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

    def entries(self) -> Iterator[Any]:
        """What the list holds that begins here."""
        for _ in self.members("[", "]"):
            yield self.value()

    def value(self) -> Any:
        """The value that begins here, and go past it."""
        self.peek()
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.place)
            except json.JSONDecodeError as error:
                cut = error.pos + MARGIN > len(self.text) or error.msg.startswith("Unterminated string")
                if not cut or not self.more():
                    raise
                continue
            # A number at the end of the chunk may go on behind it, be it after "1." or "1e-".
            if end + 2 >= len(self.text) and self.more():
                continue
            self.place = end
            return found
