"""`python -m service`: read the settings, run the server, end well.

Three things are decided here that no application can decide for itself: how a mistake in a setting is told (one
sentence with the variable's name, exit code 2), what a SIGTERM means (turn new requests away, finish those there are,
exit code 0), and that a service which cannot load a configured model ends with exit code 1 instead of idling.
"""

import argparse
import asyncio
import difflib
import os
import resource
import socket
import sys
import textwrap
from collections.abc import Iterator, Mapping
from types import FrameType

import structlog
import uvicorn
from pydantic import ValidationError

from service import __version__, logs
from service.app import create_app
from service.connections import ConnectionLimits, limited
from service.routes.lifecycle import Lifecycle
from service.settings import Settings

# Longer than the 60 s after which common load balancers drop an idle connection: the side that reuses a connection
# must be the one that closes it, or a request meets a closing socket.
KEEP_ALIVE_S = 65
# For the server to write what is already answered and close its connections.
CLOSING_TIMEOUT_S = 5
# Beside connections: listeners, libraries, packages being read, pipes to the vetting child.
OTHER_FILES = 256
CANNOT_START = 1
BAD_SETTING = 2  # argparse's own code for a mistake on the command line
PREFIX = "GANYMEDE_"
HELP_WIDTH = 100

logger: structlog.stdlib.BoundLogger = structlog.get_logger()


class DrainingServer(uvicorn.Server):
    """uvicorn, but a signal drains before it ends the server, and a failed start ends it too.

    Args:
        config: uvicorn's.
        lifecycle: the application's.
        drain_timeout_s: seconds that requests in flight are given.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_timeout_s: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_timeout_s = drain_timeout_s
        self._asked_to_end = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, say where, and watch for the end from now on."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        logger.info("listening", host=host, port=port, pid=os.getpid(), version=__version__)
        self._ending = asyncio.create_task(self._end())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once.

        uvicorn's own handler would end without draining, and raise the signal again, which no exit code survives.
        """
        if self._asked_to_end.is_set():
            self.should_exit = self.force_exit = True
        self._asked_to_end.set()  # on the loop's own thread; the server's tick wakes the loop within 0.1 s

    async def _end(self) -> None:
        """Wait for a signal or a failed start, drain, and let the server exit."""
        asked = asyncio.create_task(self._asked_to_end.wait())
        failed = asyncio.create_task(self._lifecycle.wait_failed())
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        if asked.done():
            logger.info("draining", in_flight=self._lifecycle.in_flight)
            await self._lifecycle.drain(self._drain_timeout_s)
        self.should_exit = True


def main() -> int:
    """Run the service until it is told to end.

    Returns:
        The process's exit code.
    """
    _parser().parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.writelines(f"{sentence}\n" for sentence in _bad_settings(error))
        return BAD_SETTING
    logs.configure(settings.log_format, settings.log_level)
    for name, nearest in _unknown_variables(os.environ):
        logger.warning("unknown setting", name=name, nearest=nearest)
    app = create_app(settings)
    lifecycle: Lifecycle = app.state.lifecycle
    _allow_files(settings.max_connections + OTHER_FILES)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=limited(ConnectionLimits(settings.max_connections, settings.header_timeout_s, settings.write_timeout_s)),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSING_TIMEOUT_S,
    )
    DrainingServer(config, lifecycle, settings.drain_timeout_s).run()
    logger.info("ended", state=lifecycle.state)
    return CANNOT_START if lifecycle.state == "failed" else 0


def _allow_files(count: int) -> None:
    """Raise this process's own limit of open files to `count`, as far as its user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        logger.warning("fewer connections than set", open_files=allowed, needed=count)


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the packages of a models folder: POST /generate, POST /score. Settings are environment "
        "variables:",
        epilog="\n".join(_described_settings()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _described_settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        yield f"  {PREFIX}{name.upper()} (default: {default if default != '' else 'empty'})"
        yield textwrap.fill(field.description or "", HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _bad_settings(error: ValidationError) -> Iterator[str]:
    for found in error.errors(include_url=False):
        name = PREFIX + str(found["loc"][0]).upper()
        yield f"{name}={found['input']!r}: {found['msg']}."


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Find variables that look like settings and are none, each with the nearest one.

    A warning and not an error: Kubernetes sets GANYMEDE_PORT_8000_TCP and the like when a Service is called ganymede.
    """
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            yield name, next(iter(difflib.get_close_matches(name.upper(), known, 1)), None)


if __name__ == "__main__":
    sys.exit(main())
