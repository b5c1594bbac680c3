"""JSON entry by entry: what Python's own parser makes of the whole, or refused like there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.formats import stream
from gains.formats.stream import top_level

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(path: Path) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in top_level(path)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream") / "file.json"


@settings(max_examples=200, deadline=None)
@given(
    content=st.dictionaries(st.text(), VALUES),
    chunk=st.sampled_from([1, 2, 3, 1000]),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]),
)
def test_the_same_as_parsed_whole(
    path: Path, content: dict[str, Any], chunk: int, ascii_only: bool, indent: int | None, encoding: str
) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=indent)
    path.write_bytes(text.encode(encoding, "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", chunk)
        assert read(path) == content


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_found_where_python_finds_it(path: Path, data: st.DataObject) -> None:
    text = json.dumps({"a": [1.5e10, 'x]\\"', [], {}, None, -7], "o": {"x": [1, 2]}, "e": [], "t": True})
    place = data.draw(st.integers(0, len(text) - 1))
    inserted = data.draw(st.sampled_from(["", ",", ":", '"', "[", "]", "{", "}", "1", " ", "x", "\\"]))
    damaged = text[:place] + inserted + text[place + data.draw(st.integers(0, 1)) :]
    path.write_text(damaged)
    try:
        expected = json.loads(damaged)
    except ValueError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", data.draw(st.sampled_from([1, 3, 1000])))
        if isinstance(expected, dict):
            assert read(path) == expected
        else:
            with pytest.raises(ValueError):  # noqa: PT011 - any
                read(path)


@pytest.mark.parametrize("text", ["", "[]", "{1: 2}", '{"a": 1} x', '{"a": [1], }', '{"images" 1}', "\x00"])
def test_what_is_no_object_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - any
        read(path)


def test_a_list_that_is_not_read_is_gone_past(path: Path) -> None:
    path.write_text(json.dumps({"a": list(range(50)), "b": 1}))
    assert [key for key, _ in top_level(path)] == ["a", "b"]


def test_damage_is_found_without_reading_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of gigabytes that is damaged at its start must not be held whole to say so."""
    monkeypatch.setattr(stream, "CHUNK", 100)
    path.write_text('{"a": [1, 2, {"b" 3}, ' + "4, " * 100_000)
    longest = 0
    more = stream._Reader.more

    def counted(self: stream._Reader) -> bool:
        nonlocal longest
        found = more(self)
        longest = max(longest, len(self.text))
        return found

    monkeypatch.setattr(stream._Reader, "more", counted)
    with pytest.raises(ValueError, match="delimiter"):
        read(path)
    assert longest < 1000
