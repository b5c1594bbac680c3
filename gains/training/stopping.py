"""Signals that end a run early: noted when they arrive, acted on at the next step."""

import signal
import threading
from types import FrameType
from typing import Any

from gains.data.datamodule import STOPPING

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)
"""What schedulers send some time before they end a job."""


class Stopped(Exception):
    """Training was told to stop, and has saved.

    Attributes:
        signal: number of the signal; that of another process of the run is SIGTERM here.
        step: optimiser steps done.
    """

    def __init__(self, number: int | None, step: int) -> None:
        self.signal = signal.Signals(number or signal.SIGTERM)
        self.step = step
        super().__init__(f"stopped by {self.signal.name} at step {step}")


class StopSignals:
    """Notes the first signal; a second Ctrl-C ends at once, without saving.

    A scheduler's warning that it takes the machine away has a handler that asks for the job to be started again
    (SIGUSR1: Lightning under SLURM, SIGUSR2: submitit). It is called at the next step, after saving: in the middle of
    one it would save half a step, and several processes would wait for each other for ever.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._earlier: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPPING:
            self._earlier[number] = signal.getsignal(number)
            signal.signal(number, self._note)

    def leave(self) -> None:
        """Give the signals back to who had them."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}

    def requeues(self, number: int) -> bool:
        """Whether this signal was received, and somebody will have the job started again."""
        return self.received == number and callable(self._earlier.get(number))

    def requeue(self, number: int) -> None:
        """Let that one do so, now that all is saved; the run goes on until it is ended from outside."""
        handler = self._earlier.get(number)
        self.received = None
        signal.signal(number, signal.SIG_IGN)  # other processes of the run may hear of it later: once is enough
        if callable(handler):
            handler(number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None:
            print(f"\n{signal.Signals(number).name}: saving at the next step ...", flush=True)
            self.received = number
