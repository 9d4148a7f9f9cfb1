"""A request to end, as process managers send it, ends a command as Ctrl-C does: it cleans up."""

from __future__ import annotations

import signal
from types import FrameType


class Termination:
    """From its making on SIGTERM is a `KeyboardInterrupt`. `stopped_by` is the signal that came last, else SIGINT.

    By itself the signal ends the interpreter where it stands, and half-written files stay. For main threads only.
    """

    def __init__(self) -> None:
        self.stopped_by = signal.SIGINT
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped_by = signal.Signals(number)
        interrupt = signal.getsignal(signal.SIGINT)
        # A shell lets what it starts in the background ignore Ctrl-C; that must not make it ignore this.
        if not callable(interrupt):
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)
