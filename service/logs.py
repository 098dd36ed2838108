"""Structured logs on standard output: one line an event, JSON for machines or columns for people.

Only a program configures logging, so `python -m service` calls `configure` once; every other module asks structlog, or
the standard library, for a logger. Lines of libraries have the same form. Seeds, bodies and keys are never logged.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.processors import TimeStamper, add_log_level, format_exc_info
from structlog.stdlib import PositionalArgumentsFormatter, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_NEWLINE: Final = ord("\n")
# Not `structlog.contextvars`, which costs one variable a name and keeps names of the request before on a connection.
_names: ContextVar[Mapping[str, str] | None] = ContextVar("names", default=None)


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Add these fields to every line that the current task writes inside the block."""
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


class LineWriter:
    """Writes whole lines; those that cannot be written are dropped and counted. The last step of structlog's chain.

    Lines go to the file descriptor, past Python's buffers: a buffer keeps what could not be written, and raises again
    at the next write and when the process ends.

    Args:
        out: where to; None, as where standard output is closed, drops every line.

    Attributes:
        dropped: lines so far.
        on_dropped: called for each of them, in the thread that wrote it.
    """

    def __init__(self, out: TextIO | None) -> None:
        self.dropped = 0
        self.on_dropped: Callable[[int], None] | None = None
        self._out = out
        self._lock = threading.Lock()
        self._is_torn = False  # the last line was written in part
        try:
            self._file = None if out is None else out.fileno()
        except (OSError, ValueError):  # a stream in memory, as in tests
            self._file = None

    def msg(self, line: str) -> None:
        """Write one line."""
        with self._lock:
            try:
                self._write(line + "\n")
            except (OSError, ValueError):  # ValueError: a stream that is closed
                self.dropped += 1
            else:
                return
        if self.on_dropped is not None:
            self.on_dropped(1)

    debug = info = warning = error = critical = exception = msg

    def _write(self, line: str) -> None:
        if self._out is None:
            raise BrokenPipeError
        if self._file is None:
            self._out.write(line)
            self._out.flush()
            return
        left = memoryview(("\n" * self._is_torn + line).encode("utf-8", "backslashreplace"))
        while left:
            written = os.write(self._file, left)
            self._is_torn = left[written - 1] != _NEWLINE
            left = left[written:]


class _LibraryHandler(logging.Handler):
    """Writes what libraries log through the standard library."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (arguments that do not fit the message are the library's mistake)
            line = f"a line of {record.name} could not be put together: {record.msg!r}"
        self._writer.msg(line)


_writer: LineWriter | None = None


def count_dropped(count: Callable[[int], None]) -> None:
    """Have `count` called with the number of lines that could not be written, those so far included.

    It is called from any thread. Without `configure`, as in a program that uses the service as a library, it is not.
    """
    if _writer is not None:
        _writer.on_dropped = count
        count(_writer.dropped)


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every logger of the process through one chain.

    Args:
        log_format: `json` or `console`.
        level: the least severe line to write.
        stream: where to; standard output when left out, as containers expect.
    """
    global _writer  # noqa: PLW0603  (logging is the process's)
    out: TextIO | None = stream or sys.stdout  # which is None where it is closed
    _writer = writer = LineWriter(out)
    # Not "iso", which leaves the fraction out when it is zero: collectors are told one form.
    describe: list[Processor] = [_add_names, add_log_level, TimeStamper("%Y-%m-%dT%H:%M:%S.%fZ")]
    render: list[Processor] = [format_exc_info, _render_json]
    if log_format == "console":
        render = [structlog.dev.ConsoleRenderer(colors=out is not None and out.isatty())]
    structlog.configure(
        processors=[*describe, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    handler = _LibraryHandler(writer)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[ProcessorFormatter.remove_processors_meta, *render],
            foreign_pre_chain=[*describe, PositionalArgumentsFormatter()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _add_names(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    names = _names.get()
    if names is not None:
        event.update(names)
    return event


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except PydanticSerializationError:  # a lone surrogate, of a file's name that is not UTF-8
        return json.dumps(event, default=repr)
