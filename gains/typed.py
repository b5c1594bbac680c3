"""Words of a command line before Hydra reads them: paths and names count as typed, quoted once for the shell alone.

Hydra's grammar gives a meaning to spaces, brackets, commas, ``=``, ``{`` and digits. In a path they are letters like
any other, so that values of the settings below are quoted for Hydra here, unless whoever typed them has done so.
"""

import os
import re
from collections.abc import Iterator, Sequence

from gains.errors import InputError
from gains.settings import groups

PATHS = frozenset(
    [
        *("checkpoint", "input", "output", "ground_truth", "predictions", "compare", "validation_ground_truth"),
        *("validation_predictions", "downloads", "keep", "runs", "datasets", "storage", "model.weights", "cluster"),
        *(f"dataset.{name}" for name in ("root", "source", "images", "groups", "sha256")),
        *("dask.ca", "dask.cert", "dask.key", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"),
    ]
)
"""Settings that are paths, or such lists of them as ``[one, another]``; of those that only some commands have too."""
LISTS = frozenset(
    [
        *("runs", "models", "datasets", "seeds", "folds", "formats", "channels", "trust"),
        *("dataset.categories", "dataset.channels", "augmentation.short_sides"),
    ]
)
"""Settings that are lists: a single value, or several with commas between them, need no brackets."""
NAMES = frozenset(["category", "dataset.name", "dataset.target_category", "dataset.format.category", "logger.project"])
"""Settings that are a name of the user's choice."""
KEY = re.compile(r"(\+{0,2})([\w./@:-]+)=(.*)", re.DOTALL)
QUOTED = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\s*""", re.DOTALL)
ESCAPE = re.compile(r"\\([()\[\]{}:=,\s])")
INTERPOLATION = re.compile(r"(?<!\\)\$\{(?!\s*[A-Za-z_][\w.]*(:[^{}]*)?\s*\})")
"""``${`` that does not begin the name of a setting, such as ``${dataset.name}``, or a resolver's: two characters."""
SWEEP = re.compile(r"\s*(choice|range|interval|glob|sort|shuffle|tag)\s*\(.*\)\s*", re.DOTALL)
SEPARATE = re.compile(r"""((?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^,])+)""", re.DOTALL)


def as_typed(command: str, words: Sequence[str]) -> list[str]:
    """A command line on which paths and names are quoted for Hydra, and any argument of the trainer may be named.

    Args:
        command: whose settings these are.
        words: after the command. With ``-m`` among them a comma separates the values of different runs.

    Raises:
        InputError: for a list where a name is meant.
    """
    several = bool({"-m", "--multirun"} & set(words)) or "hydra.mode=MULTIRUN" in words
    return with_trainer_arguments(command, [quoted(word, several) for word in words])


def with_trainer_arguments(command: str, words: Sequence[str]) -> list[str]:
    """A command line on which ``trainer.X=`` may name arguments of Lightning's trainer that no file sets."""
    if "trainer" not in dict(groups(command)):
        return list(words)
    return [re.sub(r"^\+*(?=trainer\.[^=]*=)", "++", word) for word in words]


def quoted(word: str, several: bool = False) -> str:
    """One word; of ``several`` runs its values are separated by commas."""
    match = KEY.fullmatch(word)
    if match is None or match[2] not in PATHS | NAMES | LISTS or match[3].strip() in ("", "null"):
        return word
    plus, name, value = match.groups()
    if several and SWEEP.fullmatch(value):
        return word
    return f"{plus}{name}={','.join(one(name, part) for part in (parts(value) if several else [value]))}"


def one(name: str, value: str) -> str:
    """One value of a setting."""
    bare = value.strip()
    if name in LISTS and not QUOTED.fullmatch(bare) and bare != "null":
        bare = bare[1:-1] if bare[0] == "[" and bare[-1] == "]" else bare
        return f"[{','.join(quote(part.strip()) if name in PATHS else part for part in parts(bare))}]"
    if name in NAMES and value.lstrip()[:1] in ("[", "{"):
        raise InputError(f"{name}={value} is a list; it must be one name")
    return value if bare == "null" else quote(value)


def parts(value: str) -> Iterator[str]:
    """What stands between commas that are within neither quotes nor brackets."""
    yield from (match[0] for match in SEPARATE.finditer(value))


def quote(value: str) -> str:
    """A value in quotes of Hydra's, unless it has some: it then means what was typed.

    Spaces and brackets that are escaped by a backslash, Hydra's other way, lose it, except on Windows.
    """
    if QUOTED.fullmatch(value):
        return value.strip()
    if os.name != "nt":
        value = ESCAPE.sub(r"\1", value)
    value = INTERPOLATION.sub(lambda match: f"\\{match[0]}", value)
    value = re.sub(r"(\\*)(')", r"\1\1\\\2", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", value) + "'"
