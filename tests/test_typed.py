import os
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gains.config import compose, config_folder
from gains.errors import InputError
from gains.typed import LISTS, NAMES, PATHS, as_typed, quoted
from helpers.commands import gains

PARSER = OverridesParser.create()


def values(word: str, several: bool = False) -> list[str]:
    """What Hydra makes of a word, one value for each run."""
    override = PARSER.parse_override(quoted(word, several))
    found: Iterable[object] = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    resolved = [OmegaConf.create({"x": value.text if hasattr(value, "text") else value}).x for value in found]
    return [str(value) for value in resolved]


@given(st.text(st.characters(exclude_characters="\0\n\r\\$'\"", codec="utf-8"), min_size=1))
def test_any_path_reaches_the_program_as_typed(path: str) -> None:
    if path.strip() not in ("", "null"):
        assert values(f"dataset.root={path}") == [path]


@pytest.mark.parametrize(
    "path",
    [
        *("Müller's Zellen", "a'b\"c", "costs $5", "a${x", "${ x y }", "D:\\data\\new", "\\\\server\\share\\", "b\\'c"),
        *("=", "[a]", "{a: b}", "007", "1e5", "nan", "true", "~", "#1", "https://somewhere/a(1).zip?x=1&y=[2]"),
    ],
)
def test_quotes_dollars_and_backslashes_too(path: str) -> None:
    assert values(f"checkpoint={path}") == [path]
    assert compose("predict", quoted(f"checkpoint={path}")).checkpoint == path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("'a, (b)'", "a, (b)"),
        ('"a = b"', "a = b"),
        ("'it\\'s'", "it's"),
        (" 'a b' ", "a b"),
        pytest.param("a\\ b\\(1\\)\\=\\,", "a b(1)=,", marks=pytest.mark.skipif(os.name == "nt", reason="separators")),
    ],
)
def test_what_is_quoted_already_goes_on_working(typed: str, meant: str) -> None:
    assert values(f"output={typed}") == [meant]


def test_null_and_settings_of_other_settings_keep_their_meaning() -> None:
    config = compose("train", *as_typed("train", ["dataset.source=null", "dataset.root=sets (new)/${dataset.name}"]))
    assert config.dataset.source is None
    assert config.dataset.root == "sets (new)/overlapping_cells"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("a b,c=d (1)", ["a b", "c=d (1)"]),
        ("'a, b',c", ["a, b", "c"]),
        ("007,2024", ["007", "2024"]),
        ("choice(x,y)", ["x", "y"]),
    ],
)
def test_between_several_runs_a_comma_separates(typed: str, meant: list[str]) -> None:
    assert values(f"dataset.root={typed}", several=True) == meant


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("runs=[a b, c (1),'d, e']", ["a b", "c (1)", "d, e"]),
        ("runs=old/runs", ["old/runs"]),
        ("seeds=4,5", [4, 5]),
        ("seeds=[4, 5]", [4, 5]),
        ("models=gains", ["gains"]),
    ],
)
def test_lists_need_no_brackets(word: str, meant: list[object]) -> None:
    assert list(compose("compare", quoted(word))[word.split("=")[0]]) == meant


@pytest.mark.parametrize("value", ["[a]", "{a: b}"])
def test_a_list_is_no_name(value: str) -> None:
    with pytest.raises(InputError, match="must be one name"):
        quoted(f"dataset.name={value}")
    assert values("dataset.name=2024") == ["2024"]


def test_every_setting_named_here_exists() -> None:
    text = [yaml.safe_load(path.read_text()) or {} for path in config_folder().rglob("*.yaml")]
    found = {".".join(names) for content in text for names in nested(content)}
    for name in PATHS | NAMES | LISTS:
        assert name in found or name.split(".", 1)[-1] in found, name


def nested(content: dict[str, object]) -> Iterable[tuple[str, ...]]:
    for name, value in content.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *rest) for rest in nested(value))


def test_commands_work_on_such_paths(tmp_path: Path) -> None:
    place = "Zellen (10x), {a}/tag=2 #1 [neu] 漢"
    generated = ["dataset.format.num_images=6", "dataset.format.image_size=64", f"dataset.root={place}/2024"]
    gains(tmp_path, "prepare", *generated)
    assert (tmp_path / place / "2024" / "annotations.json").is_file()
    truth = f"{place}/2024/annotations.json"
    gains(tmp_path, "score", f"ground_truth={truth}", f"predictions={truth}", "output=007", "bootstrap_samples=0")
    assert (tmp_path / "007" / "results.json").is_file()
