from pathlib import Path

import pytest
import torch
from torch import distributed

from gains.models.parts.normaliser import over_processes
from helpers.two_processes import WORK, shared_gradients


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WORK))
def test_two_processes_learn_what_one_with_the_whole_batch_does(name: str, tmp_path: Path) -> None:
    if not distributed.is_gloo_available():
        pytest.skip("needs gloo")
    alone, shared = WORK[name]([0, 1]), shared_gradients(name, tmp_path)
    assert len(alone) == len(shared)
    size = max(float(gradient.abs().max()) for gradient in alone)
    assert size > 0
    for one, two in zip(alone, shared, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-5 * size)


def test_nothing_is_sent_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "all_reduce", lambda *_: pytest.fail("sent"))
    assert over_processes(0, 1, torch.zeros(1)) == 1
    assert over_processes(7, 1, torch.zeros(1)) == 7
    assert over_processes(torch.tensor(0.25), 1, torch.zeros(1)) == 1
