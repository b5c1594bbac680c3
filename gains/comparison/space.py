"""Search spaces in Hydra's words for sweeps, such as ``model.optimizer.lr=tag(log, interval(0.001, 0.05))``."""

from collections.abc import Sequence

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, QuotedString, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from gains.errors import InputError


def parse_space(lines: Sequence[str]) -> dict[str, BaseDistribution]:
    """Settings and what each may be, by name.

    Args:
        lines: overrides whose values are sweeps: ``interval(a, b)``, both ends included, of floats or in ``int(...)``
            of whole numbers; ``range(a, b, step)``, b excluded; ``choice(...)`` or values with commas.
            ``tag(log, ...)`` searches an interval by its logarithm.

    Raises:
        InputError: if there is none, or one is no sweep.
    """
    parser = OverridesParser.create()
    space: dict[str, BaseDistribution] = {}
    for line in lines:
        try:
            override = parser.parse_override(line)
            space[override.key_or_group] = _distribution(override.value())
        except (HydraException, ValueError, TypeError) as error:
            raise InputError(
                f"space: {line} is no sweep ({str(error).splitlines()[0]}); "
                "write such as model.optimizer.lr=tag(log, interval(0.001, 0.05)) or batch_size=choice(2, 4)"
            ) from error
    if not space:
        raise InputError("space=[...] names no setting to search")
    return space


def _distribution(sweep: object) -> BaseDistribution:
    if isinstance(sweep, IntervalSweep) and sweep.start is not None and sweep.end is not None:
        log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return IntDistribution(sweep.start, sweep.end, log=log)
        return FloatDistribution(float(sweep.start), float(sweep.end), log=log)
    if isinstance(sweep, RangeSweep):
        return CategoricalDistribution(list(sweep.range()))
    if isinstance(sweep, ChoiceSweep):
        return CategoricalDistribution([_plain(value) for value in sweep.list])
    raise ValueError("one value, not several")


def _plain(value: object) -> str | int | float | bool:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"{value} is neither text nor a number")


def settings_of(trial: optuna.Trial, space: dict[str, BaseDistribution]) -> tuple[str, ...]:
    """One choice of all settings, as overrides."""
    return tuple(f"{name}={_suggested(trial, name, distribution)}" for name, distribution in space.items())


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> str | int | float | bool | None:
    """What a trial is to take for one setting."""
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    raise TypeError(f"{distribution} is not what parse_space gives")
