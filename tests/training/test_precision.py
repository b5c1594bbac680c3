from typing import Any

import pytest
import torch

from gains.errors import InputError
from gains.training.precision import choose_precision, native_bfloat16, precision_note


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this machine have certain abilities."""

    def has(avx: bool = False, amx: bool = False, cuda: bool = False, cuda_bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        # Emulation counts as support unless one says otherwise.
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: cuda_bf16 or including_emulation
        )

    return has


@pytest.mark.parametrize(
    ("abilities", "accelerator", "native"),
    [
        ({}, "cpu", False),
        ({"avx": True}, "cpu", True),
        ({"amx": True}, "cpu", True),
        ({"avx": True, "cuda": True}, "gpu", False),
        ({"avx": True, "cuda": True}, "auto", False),
        ({"avx": True, "cuda": True}, "cpu", True),
        ({"cuda": True, "cuda_bf16": True}, "gpu", True),
        ({"cuda": True, "cuda_bf16": True}, "cpu", False),
        ({"avx": True}, "auto", True),
        ({"avx": True}, "mps", False),
    ],
)
def test_auto_is_bfloat16_exactly_where_it_is_native(
    machine: Any, abilities: dict[str, bool], accelerator: str, native: bool
) -> None:
    machine(**abilities)
    assert native_bfloat16(accelerator) is native
    chosen = choose_precision("auto", accelerator)
    assert chosen == ("bf16-mixed" if native else "32-true")
    note = precision_note("auto", chosen, accelerator)
    assert note is not None
    assert chosen in note
    assert ("not native" in note) is not native


@pytest.mark.parametrize("asked", ["32-true", "bf16-mixed", "16-mixed", 32])
def test_what_is_asked_for_stays_and_needs_no_word(machine: Any, asked: str | int) -> None:
    machine(avx=True)
    assert choose_precision(asked, "cpu") == str(asked)
    assert precision_note(asked, str(asked), "cpu") is None


@pytest.mark.parametrize("asked", ["bf16-true", "16-true"])
def test_half_width_boxes_are_refused_in_one_line(asked: str) -> None:
    with pytest.raises(InputError, match=f"trainer.precision={asked} .*use auto, bf16-mixed or 32-true") as error:
        choose_precision(asked, "cpu")
    assert "\n" not in str(error.value)
