"""Numbers of which width a run computes with: ``trainer.precision=auto`` takes half width where it is native."""

import torch

from gains.errors import InputError

FULL = "32-true"
MIXED = "bf16-mixed"
KNOWN = ("auto", FULL, MIXED, "16-mixed", "32", "16", "bf16")
REFUSED = ("bf16-true", "16-true")
"""Boxes and weights in half width: whole pixels are lost above 256 of them, and small steps of the optimiser."""


def choose_precision(asked: str | int, accelerator: str) -> str:
    """Lightning's name of the precision to train with.

    Args:
        asked: ``trainer.precision``; ``auto`` is bfloat16 autocast where it is native, else float32. Anything else
            stays as it is.
        accelerator: ``trainer.accelerator``.

    Raises:
        InputError: for a precision that has no float32 at all, or an unknown one.
    """
    if asked in REFUSED:
        raise InputError(
            f"trainer.precision={asked} holds weights and boxes in half width, which moves boxes by whole pixels; "
            f"use auto, {MIXED} or {FULL}"
        )
    if str(asked) not in KNOWN:
        raise InputError(f"trainer.precision={asked} is not supported; use auto, {FULL}, {MIXED} or 16-mixed")
    if asked != "auto":
        return str(asked)
    return MIXED if native_bfloat16(accelerator) else FULL


def native_bfloat16(accelerator: str) -> bool:
    """Whether the device of an accelerator multiplies bfloat16 itself; elsewhere it is emulated and slower.

    Args:
        accelerator: Lightning's name; ``auto`` is CUDA where there is a device, else the CPU.
    """
    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator in ("cpu", "auto"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def precision_note(asked: str | int, chosen: str, accelerator: str) -> str | None:
    """What to say at the start where the precision was left to us; None where it was asked for."""
    if asked != "auto":
        return None
    why = "bfloat16 is native here" if chosen == MIXED else "bfloat16 is not native here"
    return f"trainer.precision=auto: {chosen} ({why}, accelerator {accelerator})"
