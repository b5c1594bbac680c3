"""What reading files has to tell: not wrong, but nothing that a user should have to guess."""


class Notes:
    """Remarks about files; many files that lead to the same remark make one line."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, None]] = {}

    def add(self, name: str, text: str) -> None:
        """Keep a remark ``text`` about the file ``name``; said twice of one file it counts once."""
        self._names.setdefault(text, {})[name] = None

    def join(self, other: "Notes") -> None:
        """Take over the remarks of others."""
        for text, names in other._names.items():
            for name in names:
                self.add(name, text)

    def has(self, name: str, text: str) -> bool:
        """Whether this was remarked about a file."""
        return name in self._names.get(text, {})

    def of(self, name: str) -> list[str]:
        """All that was remarked about a file."""
        return [text for text, names in self._names.items() if name in names]

    def lines(self) -> list[str]:
        """One line per remark: the first file it is about, how many more there are, and what is to say."""
        lines = []
        for text, names in self._names.items():
            first, *others = names
            lines.append(f"{first}{f' (and {len(others)} more)' if others else ''}: {text}")
        return lines
