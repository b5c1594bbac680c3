"""``gains compare``: train what is missing of methods x data sets x seeds, then one table with intervals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig
from tqdm import tqdm

from gains.comparison.collect import Key, claim, collect, is_finished, keep_run
from gains.comparison.named import dataset_overrides, model_overrides
from gains.comparison.queue import Job, run_all
from gains.comparison.tables import Comparison, markdown, sentences
from gains.errors import InputError
from gains.locks import PATIENCE, alone_in
from gains.reports.comparison import write_comparison

OWN = ("models", "datasets", "seeds", "folds", "baseline", "metric", "output", "keep", "runs", "jobs", "samples")
"""Settings of this command; all others are handed to every training."""
NOT_TO_BE_GIVEN = {"model": "models", "dataset": "datasets", "seed": "seeds", "dataset.fold": "folds"}


def run(config: DictConfig) -> None:
    """Train, collect, compare; exits with status 1 if a run failed, after the table of the others.

    Raises:
        InputError: if a setting is wrong, or no run is finished.
    """
    output = Path(config.output)
    failures: list[str] = []
    roots = [Path(path) for path in listed(config.runs)]
    if not roots:
        settings = handed_on(HydraConfig.get().overrides.task)
        jobs = plan(config, output, settings)
        with alone_in(output, "output", PATIENCE, inherited=True):
            for place in (output, *([Path(config.keep)] if config.keep else [])):
                claim(place, settings)
            failures = train(jobs, config)
        roots = [output / "runs", *([Path(config.keep)] if config.keep else [])]
    comparison = Comparison.of(
        collect([root for root in roots if root.is_dir()] or roots),
        config.baseline,
        config.metric,
        config.samples,
        seed=0,
    )
    found = write_comparison(output, comparison, failures)
    print("\n".join(map(markdown, found)))
    print("\n".join([*sentences(comparison), *failures]))
    if config.baseline not in comparison.models:
        names = ", ".join(comparison.models)
        print(f"baseline={config.baseline} is not among {names}: no differences; choose one with \"baseline='NAME'\"")
    print(f"tables     {output / 'comparison.md'} (.csv, .tex)\npage       {output / 'comparison.html'}")
    if failures:
        raise SystemExit(1)


def listed(value: Any) -> list[str]:
    """One name or a list of them."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, ListConfig) else [str(value)]


def handed_on(overrides: Sequence[str]) -> list[str]:
    """The overrides that are meant for every training.

    Raises:
        InputError: for a setting that the study sets itself, run by run.
    """
    settings = []
    for override in overrides:
        name = override.split("=", 1)[0].lstrip("+~")
        if name in NOT_TO_BE_GIVEN:
            raise InputError(f"{name}=...: a comparison sets it run by run; give {NOT_TO_BE_GIVEN[name]}=[...]")
        if name not in OWN:
            settings.append(override)
    return settings


def plan(config: DictConfig, output: Path, settings: Sequence[str]) -> list[Job]:
    """All runs of the study, the seeds of one data set and method apart, so that an early stop leaves whole tables.

    Raises:
        InputError: if nothing is asked for, or the baseline is not among the methods.
    """
    models, datasets = listed(config.models), listed(config.datasets)
    seeds, folds = [int(seed) for seed in listed(config.seeds)], [int(fold) for fold in listed(config.folds)] or [-1]
    if not (models and datasets and seeds):
        raise InputError("models=[...], datasets=[...] and seeds=[...] must each name at least one")
    if config.baseline not in [Path(model).name for model in models]:
        raise InputError(f"baseline={config.baseline} is not among models=[{','.join(models)}]")
    jobs = []
    for seed in seeds:
        for dataset in datasets:
            for fold in folds:
                for model in models:
                    key = Key(Path(dataset).name, Path(model).name, seed, fold)
                    chosen = [*dataset_overrides(dataset), *model_overrides(model), f"seed={seed}"]
                    chosen += [f"dataset.fold={fold}"] if fold >= 0 else []
                    jobs.append(Job(key, output / "runs" / key.name, (*chosen, *settings)))
    return jobs


def train(jobs: Sequence[Job], config: DictConfig) -> list[str]:
    """Do the runs that are not finished; returns what went wrong with those that failed."""
    keep = Path(config.keep) if config.keep else None
    missing = [job for job in jobs if not is_finished(job.folder) and not (keep and is_finished(keep / job.key.name))]
    failures: list[str] = []
    if len(missing) < len(jobs):
        print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are finished")
    with tqdm(total=len(missing), unit="run", disable=not missing) as bar:

        def ended(job: Job, wrong: str | None, seconds: float) -> None:
            if wrong is not None:
                failures.append(f"{job.key.name} failed: {wrong}")
            elif keep is not None:
                keep_run(job.folder, keep / job.key.name)
            bar.write(f"{job.key.name}: {'failed' if wrong else 'finished'} after {seconds:.0f} s")
            bar.update()

        run_all(missing, config.jobs, ended)
    return failures
