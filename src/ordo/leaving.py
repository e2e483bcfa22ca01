"""How a program leaves when Ctrl-C or SIGTERM comes while nothing is at work.

The program leaves at once, without a traceback.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object]
USUAL: dict[int, Handler | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}


def leave(number: int, frame: object) -> None:
    os._exit(128 + number)


def leave_quietly() -> None:
    """From now on the two signals end the process; handlers of other programs stay."""
    if threading.current_thread() is threading.main_thread():
        for number, usual in USUAL.items():
            if signal.getsignal(number) == usual:
                signal.signal(number, leave)
