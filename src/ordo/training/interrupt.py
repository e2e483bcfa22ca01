"""Ctrl-C and SIGTERM: training finishes the step at hand and keeps a checkpoint; a second one
stops at once. Everything else stops at once, without a traceback.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ordo.leaving import USUAL, leave, leave_quietly

NOTES = {
    signal.SIGINT: b"\nstopping after this step; Ctrl-C again stops at once\n",
    signal.SIGTERM: b"\nSIGTERM: stopping after this step\n",
}
OTHERS = (signal.SIGUSR1, signal.SIGUSR2)  # with which Slurm announces the end of a job
Handler = Callable[[int, Any], Any]


class Stopped(KeyboardInterrupt):
    """Somebody asked the program to stop; number: by which signal."""

    def __init__(self, message: str = "", number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def number_of(error: BaseException | None) -> int:
    """The signal behind an interrupt; a KeyboardInterrupt of Python's own is Ctrl-C."""
    return error.number if isinstance(error, Stopped) else signal.SIGINT


def raise_stopped(number: int, frame: Any) -> None:
    raise Stopped(number=number)


def in_main_thread() -> bool:
    """Python allows handlers of signals nowhere else."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def raising() -> Iterator[None]:
    """SIGINT and SIGTERM raise ``Stopped`` in this process; in one that it forks they end it."""
    if not in_main_thread():
        yield
        return
    own = os.getpid()

    def handler(number: int, frame: Any) -> None:
        (raise_stopped if os.getpid() == own else leave)(number, frame)

    before = {number: signal.signal(number, handler) for number in USUAL}
    atexit.register(leave_quietly)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, USUAL[number] if old is leave else old)


@contextmanager
def postponed() -> Iterator[None]:
    """A signal that comes inside waits until the end, so that it cannot hit a write half done.
    The third one ends the process.
    """
    if not in_main_thread():
        yield
        return
    came: list[int] = []

    def wait(number: int, frame: Any) -> None:
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
        self._before: dict[int, Any] = {}

    def watch(self, originals: Mapping[Any, Any] | None = None, share: bool = False) -> None:
        """originals: the handlers before Lightning put its own. share: with other processes, in
        which a foreign handler could not be called at the same step; then those are left alone.
        """
        if not in_main_thread() or self._before:
            return
        self.asked = []
        for number in (*USUAL, *OTHERS):
            now = signal.getsignal(number)
            first = now if number in OTHERS else (originals or {}).get(number, now)
            foreign = callable(first) and first not in (signal.default_int_handler, leave)
            foreign = foreign and "raising" not in getattr(first, "__qualname__", "")
            foreign = foreign and number != signal.SIGINT
            if (number in OTHERS and not foreign) or (foreign and share):
                continue
            if foreign:
                self._foreign[number] = first  # type: ignore[assignment]
            self._before[number] = signal.signal(number, self._note)

    def release(self) -> None:
        if in_main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before, self._foreign = {}, {}

    def _note(self, number: int, frame: Any) -> None:
        if number not in self._foreign:
            if any(before not in self._foreign for before in self.asked):
                raise Stopped(number=number)
            os.write(2, NOTES[number])  # type: ignore[index]  # print may be inside a line of its own
        self.asked.append(number)

    def act(self, share: bool = False) -> None:
        """Raises ``Stopped``, or calls the handler whose signal it is, which may return. share: with
        other processes, one of which was asked.
        """
        asked, self.asked = self.asked, []
        for number in asked:
            if number in self._foreign:
                self._foreign[number](number, None)
            else:
                raise Stopped(number=number)
        if share:
            raise Stopped(number=signal.SIGTERM)
