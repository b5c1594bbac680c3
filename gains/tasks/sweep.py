"""``gains sweep``: settings that give the best validation metric, searched by Optuna."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gains.errors import InputError
from gains.metrics.names import MAIN
from gains.reports.search import Trial, write_search

try:
    import optuna

    from gains.comparison.space import parse_space
    from gains.comparison.study import Search, importances, write_trials
except ModuleNotFoundError as missing:
    if missing.name != "optuna":
        raise
    optuna = None  # type: ignore[assignment]

OWN = ("space", "trials", "prune", "startup", "output", "storage")
"""Settings of this command; all others are handed to every training."""


def run(config: DictConfig) -> None:
    """Do trials until there are as many as asked for; print the best.

    Raises:
        InputError: if a setting is wrong, Optuna is not installed, or no trial finished.
    """
    if optuna is None:
        raise InputError("gains sweep needs Optuna: pip install 'gains[sweep]'")
    if config.trials < 1 or config.startup < 0:
        raise InputError(f"trials={config.trials} startup={config.startup}: at least 1 trial, and no negative startup")
    output = Path(config.output)
    space = parse_space([str(line) for line in config.space])
    settings = handed_on(HydraConfig.get().overrides.task, list(space))
    search = Search(
        space, settings, output, config.trials, config.prune, config.startup, config.storage, seed=config.seed
    )
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # heartbeats, since 2021
    optuna.logging.disable_propagation()
    study = search.open()
    try:
        search.run(study)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on")
        raise SystemExit(130) from None
    finally:
        write_trials(study, output / "trials.csv")
    report(study, output)


def handed_on(overrides: Sequence[str], searched: Sequence[str]) -> tuple[str, ...]:
    """The overrides that are meant for every training.

    Raises:
        InputError: for a setting that is searched.
    """
    names = [override.split("=", 1)[0].lstrip("+~") for override in overrides]
    for name in names:
        if name in searched:
            raise InputError(f"{name}=...: the search sets it; leave it out here, or out of space=[...]")
    return tuple(override for override, name in zip(overrides, names, strict=True) if name not in OWN)


def report(study: "optuna.Study", output: Path) -> None:
    """Print the best trial.

    Raises:
        InputError: if no trial finished.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.value is not None and trial.state.name == "COMPLETE"]
    counts = {state: sum(trial.state.name == state for trial in trials) for state in ("COMPLETE", "PRUNED", "FAIL")}
    print(f"{counts['COMPLETE']} trials finished, {counts['PRUNED']} pruned, {counts['FAIL']} failed")
    if not finished:
        raise InputError(f"no trial finished; {output / 'trials.csv'} says why")
    write_search(
        output / "report.html",
        [Trial(one.number, one.state.name.lower(), one.value, one.params) for one in trials],
        importances(study),
    )
    best = study.best_trial
    print(f"best       {best.value:.4f} validation {MAIN}, trial {best.number}, {best.user_attrs['folder']}")
    print(f"settings   {' '.join(f'{name}={value}' for name, value in best.params.items())}")
    print(f"all        {output / 'trials.csv'}, {output / 'report.html'}")
