"""Ctrl-C and SIGTERM.

Training finishes the step at hand and keeps a checkpoint; a second signal stops it at once. All
other work stops at once, without a traceback.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from ordo.leaving import USUAL, Handler, leave, leave_quietly

NOTES: dict[int, bytes] = {
    signal.SIGINT: b"\nstopping after this step; Ctrl-C again stops at once\n",
    signal.SIGTERM: b"\nSIGTERM: stopping after this step\n",
}
OTHERS = (signal.SIGUSR1, signal.SIGUSR2)  # with which Slurm announces the end of a job


class Stopped(KeyboardInterrupt):
    """Somebody asked the program to stop; number: of the signal that asked."""

    def __init__(self, message: str = "", number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def number_of(error: BaseException | None) -> int:
    """The signal behind an interrupt; a KeyboardInterrupt of Python's own is Ctrl-C."""
    return error.number if isinstance(error, Stopped) else signal.SIGINT


class RaiseStopped:
    """A handler of signals that raises ``Stopped``; in a forked process it ends the process."""

    def __init__(self) -> None:
        self.process = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            leave(number, frame)
        raise Stopped(number=number)


def in_main_thread() -> bool:
    """Python allows handlers of signals nowhere else."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def raising() -> Iterator[None]:
    """Inside, SIGINT and SIGTERM raise ``Stopped``, see ``RaiseStopped``."""
    if not in_main_thread():
        yield
        return
    handler = RaiseStopped()
    before = {number: signal.signal(number, handler) for number in USUAL}
    atexit.register(leave_quietly)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, USUAL[number] if old is leave else old)


@contextmanager
def postponed() -> Iterator[None]:
    """A signal that comes inside waits until the end, so that no signal hits a write half done.

    The third signal ends the process.
    """
    if not in_main_thread():
        yield
        return
    came: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 2:
            leave(number, frame)

    numbers = [number for number in (*USUAL, *OTHERS) if signal.getsignal(number) is not None]
    numbers = [n for n in numbers if n in USUAL or callable(signal.getsignal(n))]
    before = {number: signal.signal(number, wait) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


class StopSignals:
    """Notes SIGINT and SIGTERM instead of raising, between ``watch`` and ``release``.

    Where another program has put handlers of its own before training began (submitit, Lightning
    on Slurm), the signals are noted too, and ``act`` hands them on once a checkpoint is there.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._foreign: dict[int, Handler] = {}
        self._before: dict[int, Handler | int | None] = {}

    def watch(
        self, originals: Mapping[int | signal.Signals, object] | None = None, share: bool = False
    ) -> None:
        """From now on the signals are noted.

        Args:
            originals: the handlers from before Lightning put its own.
            share: there are other processes. Foreign handlers stay as they are, because they could
                not be called at the same step in all processes.
        """
        if not in_main_thread() or self._before:
            return
        self.asked = []
        for number in (*USUAL, *OTHERS):
            now = signal.getsignal(number)
            first = now if number in OTHERS else (originals or {}).get(number, now)
            own = isinstance(first, RaiseStopped) or first in (signal.default_int_handler, leave)
            foreign = callable(first) and not own and number != signal.SIGINT
            if (number in OTHERS and not foreign) or (foreign and share):
                continue
            if callable(first) and foreign:
                self._foreign[number] = first
            self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        if in_main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before, self._foreign = {}, {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number not in self._foreign:
            if any(before not in self._foreign for before in self.asked):
                raise Stopped(number=number)
            os.write(2, NOTES[number])  # print may be inside a line of its own
        self.asked.append(number)

    def act(self, share: bool = False) -> None:
        """Raises ``Stopped``, or calls the foreign handler of the signal, which may return.

        Args:
            share: there are other processes, one of which was asked to stop.
        """
        asked, self.asked = self.asked, []
        for number in asked:
            if number in self._foreign:
                self._foreign[number](number, None)
            else:
                raise Stopped(number=number)
        if share:
            raise Stopped(number=signal.SIGTERM)
