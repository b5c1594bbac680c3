"""Settings that have moved: whoever still gives the old name is told the new one."""

from collections.abc import Sequence

from gains.errors import InputError

RENAMED = {
    "dataset.gamm.target_category": "dataset.target_category",
    "model.network.max_detections": "max_detections",
    "model.network.min_score": "min_score",
    **{
        f"{place}.{old}": new
        for place in ("model.filter", "model.network.filter", "model.network.box.filter")
        for old, new in (("min_score", "min_score"), ("nms", "nms_iou"), ("max_detections", "max_detections"))
    },
}
"""Old name -> new name, in every command."""
BY_COMMAND = {
    "eval": {"dataset.max_detections": "max_detections"},
}
"""Likewise in one command alone."""


def refuse_renamed(command: str, overrides: Sequence[str]) -> None:
    """Look for old names on a command line.

    Raises:
        InputError: with the new name of the first one found.
    """
    known = RENAMED | BY_COMMAND.get(command, {})
    for override in overrides:
        name = override.split("=", 1)[0].lstrip("+~")
        if "=" in override and name in known:
            raise InputError(f"{name} is now called {known[name]}")
