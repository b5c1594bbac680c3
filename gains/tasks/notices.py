"""Keep libraries' notices that nobody can act on out of the output, so that warnings that matter are seen."""

import logging
import warnings

NOTICES = (
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*does not have many workers which may be a bottleneck.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*You're resuming from a checkpoint that ended before the epoch ended.*",
    r".*The dirpath has changed from.*",
)


def silence_notices() -> None:
    """Silence these notices and Lightning's device and tip lines, in this process."""
    for notice in NOTICES:
        warnings.filterwarnings("ignore", message=notice)
    for name in ("utilities.rank_zero", "accelerators.cuda", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").setLevel(logging.WARNING)
