"""`python -m training`: the command line, for as long as it has something to do and not for as long as somebody reads.

It stands alone so that `training.cli` can be imported without running anything, and without changing the streams of
the process that imports it.
"""

import os
import sys
from typing import TextIO

from training.cli import main


class _Lasting:
    """A stream that what is written to is no reason to fail: `train … | head` trains to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop what nobody reads any more."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop likewise."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def __getattr__(self, name: str) -> object:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def _let_go(self) -> None:
        """Have the interpreter, too, flush what is left into nothing when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


sys.stdout, sys.stderr = _Lasting(sys.stdout), _Lasting(sys.stderr)
sys.exit(main())
