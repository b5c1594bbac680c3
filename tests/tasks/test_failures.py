import pytest
import torch
from hydra.errors import InstantiationException
from lightning_fabric.utilities.exceptions import MisconfigurationException

from gains.errors import InputError
from gains.tasks.failures import explain


def wrapped(cause: Exception) -> InstantiationException:
    error = InstantiationException("Error in call to target\nfull_key: callbacks.best")
    error.__cause__ = cause
    return error


FROM_WORKER = """Caught InputError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker.py", line 1, in loop
gains.errors.InputError: a.png is damaged: 3 bytes"""


FULL_DISK = """Caught OSError in DataLoader worker process 1.
Original Traceback (most recent call last):
  File "worker.py", line 1, in loop
OSError: [Errno 5] Input/output error: 'a.png'"""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "out/x.csv"), "out/x.csv: Permission denied"),
        (OSError(FULL_DISK), "[Errno 5] Input/output error: 'a.png'"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "a data worker was killed, most often for want of memory; lower num_workers or batch_size",
        ),
        (InputError("a.png is damaged"), "a.png is damaged"),
        (InputError(FROM_WORKER), "a.png is damaged: 3 bytes"),
        (wrapped(TypeError("expected str, not int")), "callbacks.best: expected str, not int"),
        (wrapped(ValueError("fusion='x' is unknown")), "fusion='x' is unknown"),
        (MisconfigurationException("No supported gpu backend found!"), "No supported gpu backend found!"),
    ],
)
def test_what_a_user_can_cause_is_one_line(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain(error) == line
    monkeypatch.setenv("GAINS_DEBUG", "1")
    assert explain(error) is None


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_says_what_to_lower(error: Exception) -> None:
    assert "lower batch_size" in str(explain(error))


@pytest.mark.parametrize("error", [ValueError("shapes differ"), KeyError("x"), wrapped(RuntimeError("no argument"))])
def test_faults_of_the_program_keep_their_trace(error: Exception) -> None:
    assert explain(error) is None
