"""A search by Optuna: every trial is a training run in a process of its own, watched through its validations.

A process of its own means that a trial which fails or is killed takes nothing else with it, and that one which is
pruned is asked to end as by Ctrl-C. A trial whose worker died is taken up by another in the same folder, from its last
checkpoint.
"""

import csv
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from gains.comparison.collect import CURVES, Key, curve
from gains.comparison.queue import Job, failure, start
from gains.comparison.space import settings_of
from gains.errors import InputError
from gains.files import replacing

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 30
"""A worker that has not been heard of for twice as long is dead."""
WRONG = "wrong"
"""Attribute of a trial: why it failed."""


class TrialFailed(Exception):
    """A training run that ended without a result."""


@dataclass(frozen=True)
class Search:
    """What is searched, and where it goes.

    Attributes:
        space: settings and what each may be.
        settings: of every trial, as overrides.
        output: folder.
        trials: how many by all workers together; finished, pruned and failed ones count.
        prune: whether hopeless trials are ended.
        startup: trials before sampler and pruner begin.
        storage: URL of a database; None for sqlite in the folder.
        seed: of the sampler, to which each worker adds its process number: those of one study must not draw alike.
    """

    space: dict[str, BaseDistribution]
    settings: tuple[str, ...]
    output: Path
    trials: int
    prune: bool = True
    startup: int = 5
    storage: str | None = None
    seed: int = 1

    def open(self) -> optuna.Study:
        """The study, made or gone on with.

        Raises:
            InputError: if the storage cannot be used, or holds a search of other settings.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        url = self.storage or f"sqlite:///{(self.output / 'study.db').resolve()}"
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None,
                heartbeat_interval=HEARTBEAT_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=3),
            )
            study = optuna.create_study(
                storage=storage,
                study_name=self.output.name,
                load_if_exists=True,
                direction="maximize",
                sampler=TPESampler(n_startup_trials=self.startup, seed=self.seed + os.getpid()),
                pruner=MedianPruner(n_startup_trials=self.startup, n_warmup_steps=1) if self.prune else NopPruner(),
            )
        except Exception as error:  # whatever a database may raise
            raise InputError(f"storage {url} cannot be used: {str(error).splitlines()[0]}") from error
        wanted = {"settings": sorted(self.settings), "space": {name: repr(one) for name, one in self.space.items()}}
        held = study.user_attrs.get("search", wanted)
        if held != wanted:
            raise InputError(
                f"output={self.output} holds a search of {held}, asked for is {wanted}; choose another output"
            )
        study.set_user_attr("search", wanted)
        return study

    def run(self, study: optuna.Study) -> None:
        """Do trials until there are enough; another call may be doing some too."""
        if ended(study) < self.trials:
            study.optimize(self.objective, callbacks=[self._stop_when_enough], catch=(TrialFailed,))

    def _stop_when_enough(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if ended(study) >= self.trials:
            study.stop()

    def objective(self, trial: optuna.Trial) -> float:
        """The best validation metric of one run.

        Raises:
            optuna.TrialPruned: if the run was ended early.
            TrialFailed: if it ended without a result; the trial keeps why.
        """
        frozen = trial.study.trials[trial.number]
        number = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
        number = trial.number if number is None else number
        chosen = settings_of(trial, self.space)
        job = Job(Key("", "", number), self.output / "trials" / f"{number:04d}", (*self.settings, *chosen))
        trial.set_user_attr("folder", str(job.folder))
        if self._watch(job, trial):
            raise optuna.TrialPruned
        values = [value for _, value in curve(job.folder / CURVES)]
        check(trial, None if values else f"no validation took place ({job.folder})")
        return max(values)

    def _watch(self, job: Job, trial: optuna.Trial) -> bool:
        """Run a job, reporting its validations; whether it was pruned."""
        process = start(job, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        reported, running = -1, True
        try:
            while running:
                time.sleep(POLL_SECONDS)
                running = process.poll() is None  # asked first: what came just before the end is read too
                for step, value in curve(job.folder / CURVES):
                    if step > reported:
                        trial.report(value, step)
                        reported = step
                        if running and trial.should_prune():
                            return True
        finally:
            end(process)
        check(trial, failure(job, process.returncode))
        return False


def check(trial: optuna.Trial, wrong: str | None) -> None:
    """End a trial for which something is wrong; it keeps what.

    Raises:
        TrialFailed: if something is.
    """
    if wrong is not None:
        trial.set_user_attr(WRONG, wrong)
        raise TrialFailed(wrong)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a run to end, if it has not: it saves its last checkpoint first."""
    if process.poll() is None:
        process.terminate()
        process.wait()


def ended(study: optuna.Study) -> int:
    """How many trials need not be done again: not those whose worker died."""
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(trial.state in done or WRONG in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each setting decides whether a trial is a good one (PED-ANOVA), the shares adding up to 1.

    Empty with fewer than four finished trials, of which nothing can be said.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < 4:
        return {}
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def write_trials(study: optuna.Study, path: Path) -> None:
    """A table of all trials: number, state, best validation, what was chosen, folder, and why one failed."""
    trials = study.get_trials(deepcopy=False)
    names = sorted({name for trial in trials for name in trial.params})
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "value", *names, "folder", WRONG])
        for trial in trials:
            attributes: dict[str, Any] = trial.user_attrs
            value = trial.value if trial.value is not None else max(trial.intermediate_values.values(), default="")
            chosen = [trial.params.get(name, "") for name in names]
            kept = [attributes.get("folder", ""), attributes.get(WRONG, "")]
            writer.writerow([trial.number, trial.state.name.lower(), value, *chosen, *kept])
