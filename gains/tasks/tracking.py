"""Weights & Biases: configuration and test metrics go there, and a run does without where it cannot be reached."""

import base64
import json
import netrc
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytorch_lightning as pl
import wandb
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger

from gains.tasks.processes import is_first

SECONDS = 5.0
"""How long the server may take to answer."""
REFUSED = (401, 403)


def set_mode(config: DictConfig) -> list[str]:
    """Replace ``logger.mode=online`` by ``offline`` where W&B cannot be reached, so that training begins at once.

    Returns:
        Why, where it was replaced.
    """
    if "mode" not in config.logger or not is_first():
        return []
    os.environ.setdefault("WANDB_SILENT", "true")  # the run's address and folder are told once, by us
    wandb.setup()  # which is when W&B looks at the environment
    if config.logger.mode != "online":
        return []
    address = os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)
    reason = unreachable(address)
    if reason is None:
        return []
    config.logger.mode = "offline"
    return [f"W&B: {reason}; this run goes on offline, and `wandb sync` in its folder uploads it later"]


def unreachable(address: str, seconds: float = SECONDS) -> str | None:
    """Why runs cannot be sent to a server of W&B; None where they can.

    Args:
        address: such as ``https://api.wandb.ai``.
        seconds: it may take to answer.
    """
    key = api_key(address)
    if key is None and "WANDB_IDENTITY_TOKEN_FILE" not in os.environ:
        return "there is no key (wandb login, or WANDB_API_KEY)"
    request = urllib.request.Request(f"{address.rstrip('/')}/graphql", json.dumps({"query": "{viewer{id}}"}).encode())
    request.add_header("Content-Type", "application/json")
    if key is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        return f"{address} refuses the key ({error.code})" if error.code in REFUSED else None
    except (OSError, ValueError) as error:
        return f"{address} cannot be reached ({getattr(error, 'reason', None) or error})"


def api_key(address: str) -> str | None:
    """The key that ``wandb login`` left for a server, or that of the environment."""
    if os.environ.get("WANDB_API_KEY"):
        return os.environ["WANDB_API_KEY"]
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(address).hostname or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return found[2] if found else None


def begin_tracking(trainer: pl.Trainer, config: DictConfig) -> None:
    """Send the configuration, and say where the run can be watched."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger) and trainer.is_global_zero:
            logger.experiment.config.update(OmegaConf.to_container(config, resolve=True), allow_val_change=True)
            if logger.experiment.url:
                print(f"W&B run {logger.experiment.url}")


def end_tracking(results: Mapping[str, Any] | None = None) -> None:
    """Send the test metrics, where there are any, and close the run, if there is one."""
    if wandb.run is None:
        return
    if results is not None:
        wandb.run.summary.update({f"{results['split']}/{name}": value for name, value in results["metrics"].items()})
    wandb.finish()
