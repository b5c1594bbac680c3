"""From where a run starts: from nothing, or from a checkpoint, in its own folder or in that of an earlier run."""

from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig

from gains.tasks import processes
from gains.tasks.folders import alone, begun_before, check_unused, go_on_in, run_folder
from gains.training.kept import after_restart, resume_from, run_of


def where_to_go_on(config: DictConfig, held: ExitStack) -> tuple[str | None, Path, bool]:
    """The checkpoint to go on from, if there is one; this run's folder; and whether it has written there before.

    Args:
        config: of the run.
        held: gets the folder, where it is not the one that Hydra has made.

    Raises:
        InputError: if there is no such checkpoint, or the folder is another run's.
    """
    folder = made = run_folder()
    again = processes.restarted() or begun_before(folder)
    resume = after_restart(folder) if again else None
    resume = resume or resume_from(config.checkpoint, folder, (config.dataset.name, config.model.name))
    if resume is not None and config.checkpoint == "last":
        folder = go_on_in(run_of(resume))
        if folder.resolve() != made.resolve():
            held.enter_context(alone(folder))
    goes_on = again or (resume is not None and run_of(resume) == folder.resolve())
    check_unused(folder, goes_on)
    return resume, folder, goes_on
