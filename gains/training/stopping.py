"""Signals that end a run early: noted when they arrive, acted on at the next step."""

import signal
import threading
from types import FrameType
from typing import Any

from gains.data.datamodule import STOPPING


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

    Under SLURM with requeueing SIGUSR1 stays Lightning's, which saves and asks for the job to be started again.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._earlier: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPPING:
            handler = signal.getsignal(number)
            if number == signal.SIGUSR1 and handler is not signal.SIG_DFL:
                continue
            self._earlier[number] = handler
            signal.signal(number, self._note)

    def leave(self) -> None:
        """Give the signals back to who had them."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None:
            print(f"\n{signal.Signals(number).name}: saving at the next step ...", flush=True)
            self.received = number
