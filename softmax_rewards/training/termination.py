"""Requests to end: SIGTERM and Control-C end a run after the current step."""

import signal
from types import FrameType


class TerminationRequest:
    """Within its block SIGTERM and Control-C only set `requested`, so that the loop can end after its step.

    A second Control-C raises KeyboardInterrupt at once.
    """

    def __enter__(self) -> "TerminationRequest":
        self.requested = 0  # or the signal's number
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = number
