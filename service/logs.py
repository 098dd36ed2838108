"""Structured logs: one line an event, JSON for machines or columns for people, on standard output.

It stands alone because only a program may configure logging, never a library: `python -m service` calls
`configure` once, and every other module just asks structlog (or the standard library) for a logger. Lines of
libraries pass through the same chain, so a collector meets one format. The request id and the trace id are bound
by the request's own layer and appear on each line written while it is answered.

It refuses to know what is logged. Seeds, bodies and keys have no business in a log line.
"""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send every logger of the process through one chain.

    Args:
        log_format: `json` or `console`.
        level: the least severe line to write.
        stream: where to; standard output when left out, as containers expect.
    """
    finish: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if log_format == "json":
        finish += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        finish.append(structlog.dev.ConsoleRenderer(colors=(stream or sys.stdout).isatty()))
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=finish,
            foreign_pre_chain=[*_SHARED, structlog.stdlib.PositionalArgumentsFormatter()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
