"""A signal turned into a flag, so that a run stops between two steps and not within one.

The first SIGINT or SIGTERM asks; a second one finds the old handlers in place and stops the process at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether somebody asked for a stop; `signal_number` is None until then."""

    signal_number: int | None = None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Watch for a request to stop.

    Yields:
        The request, to be looked at between steps.
    """
    request = StopRequest()
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: FrameType | None) -> None:
        request.signal_number = number
        restore()

    for number in STOP_SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
