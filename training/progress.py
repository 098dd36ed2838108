"""Progress bars on stderr for work that may be long.

A terminal's bar is redrawn twice a second; in a log file, where nothing is redrawn, a line is written every 30 seconds.
Work of less than two seconds shows none.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from tqdm import tqdm

TERMINAL_REFRESH_S: Final = 0.5
LOG_FILE_REFRESH_S: Final = 30.0
UNREMARKABLE_S: Final = 2.0  # shorter work needs no bar

T = TypeVar("T")


def refresh_s() -> float:
    """Seconds between two updates of a bar on stderr."""
    return TERMINAL_REFRESH_S if is_terminal() else LOG_FILE_REFRESH_S


def is_terminal() -> bool:
    """Whether stderr is a terminal, whose lines can be redrawn."""
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def progress(steps: Iterable[T], what: str, total: int | None, unit: str = "step") -> Iterator[T]:
    """Iterate over steps, with a bar once they take longer than two seconds.

    Args:
        what: the work, in a word or two.
        total: number of steps; None where it is unknown.

    Yields:
        The steps, unchanged.
    """
    yield from tqdm(
        steps,
        desc=what,
        total=total,
        unit=unit,
        delay=UNREMARKABLE_S,
        mininterval=refresh_s(),
        maxinterval=refresh_s(),
        leave=False,
        dynamic_ncols=is_terminal(),
    )
