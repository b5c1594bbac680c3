"""Recipes of version 1: parts had other addresses, and score, NMS and cap stood inside the network's tree."""

from typing import Any

from gains.errors import InputError

MOVED = {
    "gains.models.parts.box_branch": "gains.models.parts.roi.box_branch",
    "gains.models.parts.cascade": "gains.models.parts.roi.cascade",
    "gains.models.parts.mask_head": "gains.models.parts.roi.mask_head",
    "gains.models.parts.rpn": "gains.models.parts.roi.rpn",
    "gains.models.parts.sampling": "gains.models.parts.roi.sampling",
    "gains.models.parts.two_stage": "gains.models.parts.roi.two_stage",
    "gains.models.parts.fcos_head": "gains.models.parts.fcos.head",
}
"""Modules of version 1 and where their contents are now."""

ENTRIES = ("version", "model", "network", "categories", "intensity", "max_detections", "image_side")


def from_version_1(plain: dict[str, Any], source: str) -> dict[str, Any]:
    """A recipe of version 1 as one of version 2; of plain data (see :func:`gains.models.build.check_plain`).

    Raises:
        InputError: if it lacks an entry, or has one too many.
    """
    missing = [name for name in ENTRIES[:-1] if name not in plain]
    foreign = [name for name in plain if name not in ENTRIES]
    if missing or foreign or not isinstance(plain["network"], dict):
        problem = (
            f"lacks {', '.join(missing)}" if missing else f"has the unknown entry {', '.join(foreign or ['network'])}"
        )
        raise InputError(f"the recipe of {source} {problem}; the file is damaged, or not written by gains train")
    network = moved(plain["network"])
    point = {"min_score": 0.05, "score_threshold": 0.5, "nms": "box", "nms_iou": 0.5, "nms_across_categories": False}
    point |= _take_point(network) | {"max_detections": plain["max_detections"]}
    side = plain.get("image_side")
    if side is None:
        # The earliest files do not say; their networks resize every image to this.
        transform = network.get("transform")
        side = transform.get("short_side", 0) if isinstance(transform, dict) else 0
    return {
        "version": 2,
        "network": network,
        "categories": plain["categories"],
        "image_side": side,
        "intensity": plain["intensity"],
        "model": plain["model"],
        "operating_point": point,
        "data": None,
        "gains": plain["version"],
        "checksum": None,
    }


def moved(node: Any) -> Any:
    """A copy of a tree in which every part goes by its present address."""
    if isinstance(node, list):
        return [moved(value) for value in node]
    if not isinstance(node, dict):
        return node
    copy = {name: moved(value) for name, value in node.items()}
    target = copy.get("_target_")
    if isinstance(target, str):
        module, _, name = target.rpartition(".")
        copy["_target_"] = f"{MOVED.get(module, module)}.{name}"
    return copy


def _take_point(network: dict[str, Any]) -> dict[str, Any]:
    """Remove score, NMS and cap from a tree; returns the first two."""
    box = network.get("box")
    found: dict[str, Any] = {}
    for holder in (network, box):
        if isinstance(holder, dict) and isinstance(holder.get("filter"), dict):
            found |= holder.pop("filter")
    # FastInst had its own, DoNet a cap for both of its paths.
    found |= {name: network.pop(name) for name in ("min_score", "max_detections") if name in network}
    names = {"min_score": "min_score", "nms": "nms_iou"}
    return {new: found[old] for old, new in names.items() if old in found}
