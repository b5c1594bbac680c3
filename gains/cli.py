"""The command line: ``gains prepare|train|eval|predict|compare|sweep|score|models`` followed by Hydra overrides."""

import importlib
import os
import secrets
import sys
from contextlib import nullcontext
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gains import __version__, completion
from gains.config import config_folder
from gains.ending import in_order, no_longer_than
from gains.errors import InputError, RunFailed
from gains.renamed import refuse_renamed
from gains.settings import command_help
from gains.spelling import check_trainer, meant, misread
from gains.typed import as_typed
from gains.values import check_values

COMMANDS = {
    "prepare": "turn a data set as distributed into images, annotations.json and splits.json",
    "train": "train a model, evaluate its best checkpoint, draw what it finds",
    "eval": "evaluate a checkpoint on a split of a prepared data set",
    "predict": "segment images with a checkpoint",
    "compare": "train methods on data sets over seeds, or collect runs, into one table with intervals",
    "sweep": "search settings for the best validation metric",
    "score": "compare any tool's predictions with a ground truth",
    "models": "list the trained models that checkpoint= takes by name",
}


def usage() -> str:
    """What ``gains --help`` prints."""
    lines = [f"  gains {command:8} {meaning}" for command, meaning in COMMANDS.items()]
    return (
        "usage: gains COMMAND [key=value ...] [-m]\n\n"
        + "\n".join(lines)
        + (
            "\n\ngains COMMAND --help lists the command's settings; gains --version;\n"
            'eval "$(gains -sc install=bash)" makes Tab complete commands and settings.\n'
        )
    )


def main(command: str | None = None) -> None:
    """Run one command; without an argument its name is the first word of the command line."""
    typed = list(sys.argv)
    if command is None:
        if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
            print(usage())
            return
        if sys.argv[1] == "--version":
            print(f"gains {__version__}")
            return
        if completion.asked(sys.argv[1:]):
            completed = completion.prepare(sys.argv[1:], list(COMMANDS))
            if completed is not None:
                configure_and_run(completed, typed)
            return
        command = sys.argv.pop(1)
    if command not in COMMANDS:
        print(f"gains: {command!r} is no command{meant(command, list(COMMANDS))}\n\n{usage()}", file=sys.stderr)
        raise SystemExit(2)
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(command_help(command, sys.argv[1:]))
        return
    try:
        refuse_renamed(command, sys.argv[1:])
        check_trainer(sys.argv[1:])
        sys.argv[1:] = as_typed(command, sys.argv[1:])
    except InputError as error:
        refuse(command, str(error))
    several = {"TORCHELASTIC_USE_AGENT_STORE", "SLURM_PROCID"}  # of torchrun and srun
    if command == "train" and not several.isdisjoint(os.environ) and not {"-m", "--multirun"} & set(sys.argv):
        # Importing this imports torch.
        sys.argv += importlib.import_module("gains.tasks.processes").folder_overrides(typed)
    os.environ["GAINS_RUN"] = secrets.token_hex(3)  # a part of the name of run folders; DDP processes are told theirs
    configure_and_run(command, typed)


def configure_and_run(command: str, typed: list[str]) -> None:
    """Let Hydra read the command line, and do what it says, once or with ``-m`` several times.

    Args:
        command: one of ``COMMANDS``.
        typed: the whole command line as it was typed.
    """
    begun = []
    process = os.getpid()

    def job(config: DictConfig) -> float | None:
        begun.append(config)
        # Hydra has read the command line; Lightning starts further DDP processes from it, command word included.
        sys.argv[:] = typed
        with no_longer_than(process):
            return run(command, config)

    words = sys.argv[1:]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # it then leaves errors to us
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command)(job)()
    except KeyboardInterrupt:  # while others work
        print(f"gains {command}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except RunFailed as error:
        print(f"gains {command}: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except (HydraException, OmegaConfBaseException, RuntimeError, ValueError, OSError) as error:
        if begun or os.environ.get("GAINS_DEBUG") == "1":
            raise
        refuse(command, misread(error, command, words))


def run(command: str, config: DictConfig) -> float | None:
    """One run of a command, with what a user can cause told in one line."""
    # Tasks are imported only now: they load torch, which takes seconds.
    try:
        check_values(command, config, HydraConfig.get().runtime.choices)
        with in_order(command) if nobody_waits(command) else nullcontext():
            result: float | None = importlib.import_module(f"gains.tasks.{command}").run(config)
    except KeyboardInterrupt:
        print(f"gains {command}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        failures = importlib.import_module("gains.tasks.failures")
        folders = importlib.import_module("gains.tasks.folders")
        reason = failures.explain(error)
        if failures.one_of_many():
            failures.leave(error, reason)
        folders.remove_empty()
        if reason is None:
            raise
        refuse(command, reason)
    return result


def nobody_waits(command: str) -> bool:
    """Whether no other process may wait for this one, which a signal must then end at once."""
    return command != "train" or {"RANK", "LOCAL_RANK", "SLURM_PROCID"}.isdisjoint(os.environ)


def refuse(command: str, reason: str) -> NoReturn:
    """Say in one line why nothing is done, and end with status 2."""
    print(f"gains {command}: {reason}", file=sys.stderr)
    raise SystemExit(2) from None


if __name__ == "__main__":
    main()
