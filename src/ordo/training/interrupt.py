"""Ctrl-C in training: the step at hand is finished and a checkpoint written; a second one stops at once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

NOTE = b"\nstopping after this step; Ctrl-C again stops at once\n"


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C; the message says at which step, and what has been kept."""

    @classmethod
    def at(cls, step: int, folder: Path) -> Interrupted:
        """folder: of the run."""
        kept = (folder / "checkpoints" / "last.ckpt").exists()
        return cls(f"stopped at step {step}, " + (f"last checkpoint in {folder}" if kept else "before any checkpoint was written"))


class CtrlC:
    """Notes a first SIGINT in ``asked`` instead of raising KeyboardInterrupt, between ``watch`` and ``release``.

    Does nothing outside of the main thread, where Python allows no handlers.
    """

    def __init__(self) -> None:
        self.asked, self._before = False, None

    def watch(self) -> None:
        if threading.current_thread() is threading.main_thread() and self._before is None:
            self.asked = False
            self._before = signal.signal(signal.SIGINT, self._note)

    def release(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, NOTE)  # print may be in the middle of a line of its own
