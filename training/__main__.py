"""`python -m training`: runs the command line to its end, even if the reader of its output has gone.

Separate from `training.cli`, so that importing that module changes no streams.
"""

import logging
import os
import sys
from typing import NoReturn, TextIO

from training.cli import main


class _PipeSafeStream:
    """A stream that ignores a closed pipe: `train … | head` trains to its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; drop the text if the pipe is closed."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Flush; do nothing if the pipe is closed."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def __getattr__(self, name: str) -> object:
        """Forward everything else to the stream."""
        return getattr(self._stream, name)

    def _discard(self) -> None:
        """Send the rest, and what the interpreter flushes at its end, to the null device."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _end(code: int) -> NoReturn:
    """End the process.

    One of several (torchrun) is ended without the destructors of C++: those of torch's communication sometimes meet a
    thread of theirs that still runs, which aborts a process whose work is done and stored.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(code)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


sys.stdout, sys.stderr = _PipeSafeStream(sys.stdout), _PipeSafeStream(sys.stderr)
_end(main())
