"""Structured logs: one line an event, JSON for machines or columns for people, on standard output.

It stands alone because only a program may configure logging, never a library: `python -m service` calls `configure`
once, and every other module just asks structlog (or the standard library) for a logger. Lines of libraries are
rendered like our own, so a collector meets one format. What is said of a request with `naming`, its id and its trace,
appears on each line that its task writes.

Every request writes a line, so a line must cost little beside it: ours do not pass through the standard library, whose
records and handlers take ten times as long as the line itself, nor through its `json`; and while an event loop runs,
those of one turn of it are written together.

It refuses to know what is logged. Seeds, bodies and keys have no business in a log line.
"""

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Literal, TextIO

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

NEWLINE = ord("\n")
_MICROSECONDS = 1_000_000
# What structlog calls a level, where its method is called something else.
_LEVELS = {"warn": "warning", "exception": "error"}
_names: ContextVar[Mapping[str, str]] = ContextVar("names")


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Put names on every line that the current task writes meanwhile.

    Args:
        names: field → value.
    """
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def name_task(names: Mapping[str, str]) -> None:
    """Put names on every line that the current task writes from now on."""
    _names.set(names)


class _Sink:
    """A stream of lines that may fail: the lines that it does not take are dropped and counted, and the next is tried.

    No line is worth the service. Lines go to the file itself, past Python's buffers, which would keep what could not be
    written, raise again whatever is written next, and once more when the process ends.

    Args:
        out: where to; None, as where standard output is closed, drops every line.
    """

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._is_torn = False  # the last line stands there in part
        self.on_dropped: Callable[[int], None] | None = None
        self.dropped = 0
        try:
            self._file = None if out is None else out.fileno()
        except (OSError, ValueError):  # a stream in memory, as in tests
            self._file = None

    def write(self, lines: str) -> None:
        """Write whole lines, or drop those that cannot be written."""
        if self._file is None:
            self._write_to_stream(lines)
            return
        with self._lock:
            left = memoryview(lines.encode("utf-8", "backslashreplace"))
            try:
                if self._is_torn:
                    os.write(self._file, b"\n")
                    self._is_torn = False
                while left:
                    written = os.write(self._file, left)
                    self._is_torn = left[written - 1] != NEWLINE
                    left = left[written:]
            except OSError:
                self._drop(bytes(left).count(b"\n"))

    def _write_to_stream(self, lines: str) -> None:
        try:
            if self._out is None:
                self._drop(lines.count("\n"))
            else:
                self._out.write(lines)
                self._out.flush()
        except (OSError, ValueError):
            self._drop(lines.count("\n"))

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        if self.on_dropped is not None:
            self.on_dropped(lines)


class _Lines:
    """Where the process's own lines go: structlog's last station.

    A write takes the system longer than a line takes to make. While an event loop runs, the lines of its thread are
    written together at the end of each of its turns, but for those that tell of trouble: what a process that is killed
    has not written is of its last few hundred microseconds.

    Args:
        sink: where to.
    """

    def __init__(self, sink: _Sink) -> None:
        self.sink = sink
        self._kept: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    def by_turns(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Keep lines of this thread, which is the loop's, to the end of its turns; None keeps none."""
        self._write_kept()
        self._loop, self._thread = loop, threading.get_ident()

    def _soon(self, line: str) -> None:
        if self._loop is None or threading.get_ident() != self._thread:
            self._at_once(line)
            return
        if not self._kept:
            self._loop.call_soon(self._write_kept)
        self._kept.append(line)

    def _at_once(self, line: str) -> None:
        if threading.get_ident() == self._thread:
            self._write_kept()
        self.sink.write(line + "\n")

    def _write_kept(self) -> None:
        if self._kept:
            lines = "\n".join((*self._kept, ""))
            self._kept.clear()
            self.sink.write(lines)

    debug = info = _soon
    warning = warn = error = exception = critical = _at_once


class _LibraryLines(logging.Handler):
    """The lines of libraries, written as our own are.

    Args:
        lines: where to.
    """

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write one, at once."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (a library's mistake in a line, which is not worth more than that)
            line = f"a line of {record.name} could not be put together: {record.msg!r}"
        self._lines.error(line)


_lines: _Lines | None = None


def write_by_turns(loop: asyncio.AbstractEventLoop | None) -> None:
    """Write this thread's lines at the end of each turn of its event loop.

    Args:
        loop: the one that runs; None, before it ends, writes each line at once again.
    """
    if _lines is not None:  # else nobody configured logging: a program that uses the service as a library
        _lines.by_turns(loop)


def count_dropped(count: Callable[[int], None]) -> None:
    """Have lines that could not be written counted, those so far included.

    Args:
        count: is given how many, from whatever thread.
    """
    if _lines is not None:
        _lines.sink.on_dropped = count
        count(_lines.sink.dropped)


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every logger of the process through one chain.

    Args:
        log_format: `json` or `console`.
        level: the least severe line to write.
        stream: where to; standard output when left out, as containers expect.
    """
    out: TextIO | None = stream or sys.stdout  # which is None where it is closed
    global _lines  # noqa: PLW0603  (logging is the process's)
    _lines = lines = _Lines(_Sink(out))
    described: list[Processor] = [_add_names, structlog.processors.add_log_level, _add_time]
    finish: list[Processor]
    if log_format == "json":
        finish = [structlog.processors.format_exc_info, _render_json]
        own: list[Processor] = [_json_line]
    else:
        finish = [structlog.dev.ConsoleRenderer(colors=out is not None and out.isatty())]
        own = [*described, *finish]
    _configure_libraries(lines, level, described, finish)
    structlog.configure(
        processors=own,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )


def _configure_libraries(lines: _Lines, level: LogLevel, described: list[Processor], finish: list[Processor]) -> None:
    """Render what comes through the standard library as our own lines are."""
    handler = _LibraryLines(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
            foreign_pre_chain=[*described, structlog.stdlib.PositionalArgumentsFormatter()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _add_names(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    names = _names.get(None)
    if names is not None:
        event.update(names)
    return event


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Stamp with UTC in microseconds, as ISO 8601 writes it."""
    second, microsecond = divmod(time.time_ns() // 1000, _MICROSECONDS)
    event["timestamp"] = f"{_iso_second(second)}.{microsecond:06d}Z"
    return event


@lru_cache(maxsize=2)
def _iso_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """All of the chain at once, for it takes as long to walk one as to write the line."""
    names = _names.get(None)
    if names is not None:
        event.update(names)
    event["level"] = _LEVELS.get(method, method)
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return _render_json(logger, method, _add_time(logger, method, event))


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except PydanticSerializationError:  # a lone surrogate, of a file's name that is not UTF-8
        return json.dumps(event, default=repr)
