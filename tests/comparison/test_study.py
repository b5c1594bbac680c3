"""Searches whose trials are a line of Python in place of training."""

import csv
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from gains.comparison import study as module  # noqa: E402
from gains.comparison.queue import Job  # noqa: E402
from gains.comparison.space import parse_space, settings_of  # noqa: E402
from gains.comparison.study import Search, ended, importances, write_trials  # noqa: E402
from gains.errors import InputError  # noqa: E402

SCRIPT = """
import sys, time
from pathlib import Path
folder, settings = Path(sys.argv[1]), dict(word.split("=") for word in sys.argv[2:])
x = float(settings["x"])
if settings.get("fail") == "yes" and x > 0.5:
    sys.exit("x is too large")
curve = (folder / "metrics.csv").open("w", buffering=1)
curve.write("step,val/segm_map\\n")
low = settings.get("hang") == "yes" and folder.name != "0000"
for step in (1, 2, 3):
    curve.write(f"{step},{-1000 if low else step - 10 * (x - 0.3) ** 2}\\n")
if low:
    time.sleep(600)
for name in ("config.yaml", "results.json", "statistics.npz"):
    (folder / name).write_text("")
"""


class Scripted(Job):
    """A run that executes the script above."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(self.folder), *self.overrides]


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Job", Scripted)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def search(output: Path, trials: int, *settings: str, startup: int = 3) -> Search:
    return Search(parse_space(["x=interval(0,1)"]), settings, output / "study", trials, startup=startup)


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_spaces_are_in_hydras_words() -> None:
    lines = [
        "a.b=tag(log,interval(0.001,0.1))",
        "n=int(interval(1,8))",
        "k=range(1,7,2)",
        "c=flip,strong",
        "d=choice(1,2)",
    ]
    assert parse_space(lines) == {
        "a.b": FloatDistribution(0.001, 0.1, log=True),
        "n": IntDistribution(1, 8),
        "k": CategoricalDistribution([1, 3, 5]),
        "c": CategoricalDistribution(["flip", "strong"]),
        "d": CategoricalDistribution([1, 2]),
    }


@pytest.mark.parametrize("line", ["x=3", "x=interval(2,1)", "x", "x=tag(log,interval(0,1))", "x=choice([1,2],[3])"])
def test_what_is_no_sweep_is_refused(line: str) -> None:
    with pytest.raises(InputError, match=r"is no sweep.*interval"):
        parse_space([line])


def test_the_best_validation_counts_and_a_second_call_goes_on(tmp_path: Path) -> None:
    first = search(tmp_path, 3)
    first.run(first.open())
    again = search(tmp_path, 8)
    study = again.open()
    again.run(study)
    again.run(study)
    assert len(study.trials) == 8
    for trial in study.trials:
        if trial.state == TrialState.COMPLETE:
            assert trial.value == pytest.approx(3 - 10 * (trial.params["x"] - 0.3) ** 2)
    write_trials(study, tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert max(float(row["value"]) for row in rows) == study.best_value


def test_what_is_suggested_is_what_the_space_allows() -> None:
    space = parse_space(["a=tag(log,interval(0.001,0.1))", "n=int(interval(1,8))", "c=choice(x,2)"])
    study = optuna.create_study()
    for _ in range(20):
        trial = study.ask()
        chosen = dict(word.split("=") for word in settings_of(trial, space))
        assert 0.001 <= float(chosen["a"]) <= 0.1
        assert chosen["n"] in {str(number) for number in range(1, 9)}
        assert chosen["c"] in {"x", "2"}
        assert trial.distributions == space


def test_the_setting_that_decides_is_the_most_important() -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + 0 * trial.suggest_float("y", 0, 1), n_trials=3)
    assert importances(study) == {}
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + 0 * trial.suggest_float("y", 0, 1), n_trials=57)
    shares = importances(study)
    assert shares["x"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_another_search_needs_another_folder(tmp_path: Path) -> None:
    search(tmp_path, 1).open()
    with pytest.raises(InputError, match="choose another output"):
        search(tmp_path, 1, "model=mask_rcnn").open()


def test_a_failed_trial_stops_nobody_and_keeps_why(tmp_path: Path) -> None:
    own = search(tmp_path, 10, "fail=yes", startup=100)
    study = own.open()
    own.run(study)
    assert len(study.trials) == 10
    assert {"COMPLETE", "FAIL"} == set(states(study))
    for trial in study.trials:
        assert (trial.state == TrialState.FAIL) == (trial.params["x"] > 0.5) == ("wrong" in trial.user_attrs)
        if trial.state == TrialState.FAIL:
            assert "x is too large" in trial.user_attrs["wrong"]


def test_a_hopeless_trial_is_ended_early(tmp_path: Path) -> None:
    own = search(tmp_path, 2, "hang=yes", startup=1)
    study = own.open()
    own.run(study)
    assert states(study) == ["COMPLETE", "PRUNED"]
    assert sorted(study.trials[0].intermediate_values) == [1, 2, 3]  # with which the second is compared
    assert [(own.output / "trials" / number / "results.json").is_file() for number in ("0000", "0001")] == [True, False]


def test_calls_share_a_study(tmp_path: Path) -> None:
    workers = []
    for _ in range(2):
        own = search(tmp_path, 8)
        workers.append(threading.Thread(target=own.run, args=(own.open(),)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    study = search(tmp_path, 8).open()
    assert 8 <= ended(study) <= 9  # the last two may have begun together
    folders = [trial.user_attrs["folder"] for trial in study.trials]
    assert len(set(folders)) == len(folders)


def test_the_trial_of_a_dead_worker_is_taken_up_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 1)
    own = search(tmp_path, 2)
    study = own.open()
    dead = study.ask(own.space)
    dead.set_user_attr("folder", "0000")
    study._storage.record_heartbeat(dead._trial_id)  # type: ignore[attr-defined]
    time.sleep(3.1)
    own.run(study)
    assert states(study)[0] == "FAIL"
    taken_up = [trial for trial in study.trials[1:] if trial.params == dead.params]
    assert [Path(trial.user_attrs["folder"]).name for trial in taken_up] == ["0000"]
    assert ended(study) == 2
