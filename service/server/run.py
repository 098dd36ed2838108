"""The HTTP server of one process: uvicorn with our connections, ending as a service should.

Two things are decided here that no application can decide for itself: what a SIGTERM means (turn new requests away,
finish those there are, then close), and that a service which cannot load a configured model ends instead of idling. It
knows nothing of what is served, nor how many processes serve it.
"""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Sequence
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from service import __version__
from service.server.connections import ConnectionLimits, limited
from service.server.lifecycle import Lifecycle
from service.settings import Settings

# Longer than the 60 s after which common load balancers drop an idle connection: the side that reuses a connection
# must be the one that closes it, or a request meets a closing socket.
KEEP_ALIVE_S = 65
# For the server to write what is already answered and close its connections.
CLOSING_TIMEOUT_S = 5
# Beside connections: listeners, libraries, packages being read, pipes to the vetting child.
OTHER_FILES = 256
CANNOT_START = 1
ANY_ADDRESS = "::"
BACKLOG = 2048  # uvicorn's
# Proxies whose `X-Forwarded-For` is believed: on every address that counts as this host's own, or their callers would
# be taken for programs on it. The last is how a listener of both protocols sees the first.
ON_THIS_HOST = ["127.0.0.0/8", "::1", "::ffff:127.0.0.0/104"]
# A request makes some dozens of objects that the collector tracks, and leaves no cycle behind. By default it looks at
# the youngest after every 700, a quarter of the event loop's time at full load; cycles of 20,000 are a few megabytes.
YOUNGEST_OBJECTS = 20_000

# What uvicorn says of every answer that is cut off on purpose, which has a line of its own.
CUT_OFF = "ASGI callable returned without completing response."

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class DrainingServer(uvicorn.Server):
    """uvicorn, but a signal drains before it ends the server, and a failed start ends it too.

    Args:
        config: uvicorn's.
        lifecycle: the application's.
        drain_timeout_s: seconds that requests in flight are given.
        lifeline: a file that says something, or ends, when the server shall end; None where there is none.
    """

    def __init__(
        self, config: uvicorn.Config, lifecycle: Lifecycle, drain_timeout_s: float, lifeline: int | None = None
    ) -> None:
        super().__init__(config)
        self._lifeline = lifeline
        self._lifecycle = lifecycle
        self._drain_timeout_s = drain_timeout_s
        self._asked_to_end = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, say where, and watch for the end from now on."""
        await super().startup(sockets)
        if self.should_exit:  # the application could not start, and said why
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        logger.info("listening", host=host, port=port, pid=os.getpid(), version=__version__)
        _collect_rarely()
        self._ending = asyncio.create_task(self._end())
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            # A closed terminal ends the service as SIGTERM does, unless it was told to overlook that (nohup).
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.handle_exit, signal.SIGHUP, None)
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._lifeline_ended, self._lifeline)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once.

        uvicorn's own handler would end without draining, and raise the signal again, which no exit code survives.
        """
        if self._asked_to_end.is_set():
            self._lifecycle.cut_off()
            self.should_exit = self.force_exit = True
        self._asked_to_end.set()  # on the loop's own thread; the server's tick wakes the loop within 0.1 s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything, and end the application."""
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves it out then, and the application is cancelled, with a stack in the log
            await self.lifespan.shutdown()

    def _lifeline_ended(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self._asked_to_end.set()

    async def _end(self) -> None:
        """Wait for a signal or a failed start, drain, and let the server exit."""
        asked = asyncio.create_task(self._asked_to_end.wait())
        failed = asyncio.create_task(self._lifecycle.wait_failed())
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        if asked.done():
            logger.info("draining", in_flight=self._lifecycle.in_flight)
            await self._lifecycle.drain(self._drain_timeout_s)
            self._lifecycle.cut_off()  # bodies of probes that still arrive, which nothing waited for
        self.should_exit = True


def serve(
    app: FastAPI, settings: Settings, listeners: Sequence[socket.socket] = (), lifeline: int | None = None
) -> int:
    """Answer requests until a signal ends it or its start fails.

    Args:
        app: from `create_app`.
        settings: what the operator chose.
        listeners: that listen already, that of metrics last where they have one; none listens where the settings say.
        lifeline: as `DrainingServer` has it.

    Returns:
        The process's exit code.
    """
    lifecycle: Lifecycle = app.state.lifecycle
    _allow_files(settings.max_connections + OTHER_FILES)
    limits = ConnectionLimits(settings.max_connections, settings.header_timeout_s, settings.write_timeout_s)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=limited(limits, app.state.log, settings.root_path),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        forwarded_allow_ips=None if "FORWARDED_ALLOW_IPS" in os.environ else ON_THIS_HOST,  # uvicorn's own variable
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSING_TIMEOUT_S,
    )
    if not listeners and (settings.host == ANY_ADDRESS or settings.metrics_port):
        ports = [settings.port, settings.metrics_port] if settings.metrics_port else [settings.port]
        try:
            listeners = [_listen(settings.host, port) for port in ports]
        except OSError as error:
            logger.error("cannot start", host=settings.host, ports=ports, reason=error.strerror)  # noqa: TRY400
            return CANNOT_START
    logging.getLogger("uvicorn.error").addFilter(_worth_saying)
    server = DrainingServer(config, lifecycle, settings.drain_timeout_s, lifeline)
    server.run(sockets=list(listeners) or None)
    logger.info("ended", state=lifecycle.state)
    return CANNOT_START if lifecycle.state == "failed" or not server.started else 0


def _worth_saying(record: logging.LogRecord) -> bool:
    """Leave out what is no news, and say what to do where the port is taken."""
    if isinstance(record.msg, OSError) and record.msg.errno == errno.EADDRINUSE:
        record.msg = f"{record.msg}; end what listens there, or choose another port with GANYMEDE_PORT"
    return record.msg != CUT_OFF


def _listen(host: str, port: int) -> socket.socket:
    """Listen; on every address of both protocols, where asyncio would take the one of IPv6 for IPv6 alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == ANY_ADDRESS)


def _collect_rarely() -> None:
    """Take what the start left for good out of the collector's sight, and let it look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST_OBJECTS, *gc.get_threshold()[1:])


def _allow_files(count: int) -> None:
    """Raise this process's own limit of open files to `count`, as far as its user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < count:
        logger.warning("fewer connections than set", open_files=allowed, needed=count)
