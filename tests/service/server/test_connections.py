"""Connections: what is written where bytes and their end come at once, and what is left of one that ended."""

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from service.metrics import Telemetry
from service.server.connections import ConnectionLimits, limited
from service.server.request_log import RequestLog

PATIENCE_S = 20
# Less than what a transport keeps before it says so, and more than the socket takes.
LITTLE_BYTES = 32 * 1024
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"

Feed = Callable[[asyncio.Protocol], None]


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def connected(app: ASGIApp, write_timeout_s: float = PATIENCE_S) -> tuple[asyncio.Protocol, socket.socket]:
    """Connect a client to a connection that `app` answers; return the connection, and the client's socket."""
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, timeout_keep_alive=PATIENCE_S)
    config.load()
    limits = ConnectionLimits(connections=1, header_timeout_s=PATIENCE_S, write_timeout_s=write_timeout_s)
    kind = limited(limits, RequestLog(Telemetry(CollectorRegistry())))
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LITTLE_BYTES // 8)
    _, connection = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: kind(config, ServerState(), {}), ours
    )
    return connection, theirs


async def gone(connection: weakref.ref[asyncio.Protocol]) -> None:
    """Wait until nothing holds a connection."""
    async with asyncio.timeout(PATIENCE_S / 2):
        while connection() is not None:
            await asyncio.sleep(0)
            gc.collect()


async def exchanged(feed: Feed) -> bytes:
    """Answer what a connection of `echo` writes when its events come as `feed` has them, in one turn of the loop."""
    connection, theirs = await connected(echo)
    feed(connection)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()


def test_a_client_that_ends_its_side_is_not_asked_for_a_body_that_is_here() -> None:
    def feed(connection: asyncio.Protocol) -> None:
        connection.data_received(HEAD + b"ok")
        connection.eof_received()

    answer = asyncio.run(exchanged(feed))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_client_of_http_1_0_is_sent_no_interim_answer() -> None:
    def feed(connection: asyncio.Protocol) -> None:
        connection.data_received(HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"))
        connection.data_received(b"ok")

    answer = asyncio.run(exchanged(feed))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_nothing_is_left_of_a_connection_that_was_reset() -> None:
    async def reset() -> None:
        answered = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await echo(scope, receive, send)
            answered.set()

        connection, client = await connected(app)
        left = weakref.ref(connection)
        del connection
        with client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.wait_for(answered.wait(), PATIENCE_S)
        await gone(left)  # the answer was not read, so that closing has reset the connection

    asyncio.run(reset())


def test_a_little_that_is_never_taken_holds_no_connection() -> None:
    async def stalled() -> None:
        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(LITTLE_BYTES)})

        connection, client = await connected(app, write_timeout_s=0.1)
        left = weakref.ref(connection)
        del connection
        with client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            await gone(left)

    asyncio.run(stalled())
