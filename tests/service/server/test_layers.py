"""The ASGI layers behind a real server, around an application made to be awkward."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.responses.streaming import SampleStream
from service.errors import DeadlinePassed
from service.metrics import Telemetry
from service.server.accounts import Accounts
from service.server.body_budget import BodyBudget
from service.server.body_limits import BodyLimits, BodyPatience
from service.server.cancellation import WATCH_AFTER_S, Cancellation
from service.server.lifecycle import DrainGate, Lifecycle
from service.server.problems import ErrorsToProblems
from service.server.request_log import RequestLog

MAX_BYTES = 1000
BODY_TIMEOUT_S = 0.3
TIMEOUT_S = 30.0
LARGE_BYTES = 16_000_000  # more than every buffer between server and client


class Awkward:
    """An application that echoes, fails before or after its first byte, writes much, or never ends.

    Attributes:
        waiting: set when `/wait` waits, or `/large` for its client.
        cancelled: set when `/wait` was cancelled.
    """

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["path"]:
            case "/echo":
                response = Response(await Request(scope, receive).body())
            case "/fault":
                raise KeyError("/home/secret")
            case "/broken-stream":
                response = SampleStream(self._fails_after(b"first"), "text/plain", [])
            case "/large":
                response = SampleStream(self._large(), "text/plain", [])
            case "/early-stream":
                response = SampleStream(self._fails_after(), "text/plain", [])
            case _:
                await self._wait()
                return
        await response(scope, receive, send)

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled.set()

    async def _large(self) -> AsyncGenerator[bytes]:
        await asyncio.sleep(2 * WATCH_AFTER_S)  # for what is answered sooner nobody asks whether the client left
        yield bytes(LARGE_BYTES)
        self.waiting.set()
        yield b"the rest is here, and waits for the client alone"

    async def _fails_after(self, *pieces: bytes) -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
        raise DeadlinePassed("late")


class Stack:
    """The awkward application inside the layers, and a port where it listens."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.awkward = Awkward()
        self.lifecycle = Lifecycle()
        self.registry = CollectorRegistry()
        app: ASGIApp = Cancellation(self.awkward, self.lifecycle)
        app = BodyLimits(
            app, MAX_BYTES, BodyPatience(BODY_TIMEOUT_S, BODY_TIMEOUT_S), BodyBudget(MAX_BYTES), self.lifecycle
        )
        app = DrainGate(ErrorsToProblems(app), self.lifecycle)
        self.app: ASGIApp = RequestLog(app, Accounts(Telemetry(self.registry)))

    def count(self, status: int) -> float:
        """Requests that ended with this status."""
        labels = {"route": "none", "status": str(status)}
        return self.registry.get_sample_value("ganymede_requests_total", labels) or 0.0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)


@contextmanager
def running(sock: socket.socket) -> Iterator[tuple[Stack, asyncio.AbstractEventLoop]]:
    """Serve a stack in a thread; connections wait in the socket's backlog until it does."""
    stack = Stack(sock.getsockname()[1])
    server = uvicorn.Server(
        uvicorn.Config(
            stack.app, http="httptools", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve([sock])))
    thread.start()
    try:
        yield stack, loop
    finally:
        server.should_exit = True
        thread.join()
        loop.close()


@pytest.fixture
def served() -> Iterator[tuple[Stack, asyncio.AbstractEventLoop]]:
    with socket.create_server(("127.0.0.1", 0)) as sock, running(sock) as both:
        yield both


@pytest.fixture
def stack(served: tuple[Stack, asyncio.AbstractEventLoop]) -> Stack:
    return served[0]


def answer_of(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def test_a_body_within_the_limit_arrives_whole(stack: Stack) -> None:
    body = bytes(MAX_BYTES)
    assert httpx.post(f"{stack.url}/echo", content=body).content == body
    assert httpx.post(f"{stack.url}/echo", content=iter([body[:500], body[500:]])).content == body


def test_a_body_that_states_too_much_is_refused_before_it_is_sent(stack: Stack) -> None:
    with stack.connect() as connection:
        connection.sendall(
            b"POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % (MAX_BYTES + 1)
        )
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_a_body_that_states_nothing_is_counted(stack: Stack) -> None:
    answer = httpx.post(f"{stack.url}/echo", content=iter([bytes(600), bytes(600)]))
    assert answer.status_code == 413


def test_a_body_that_does_not_come_is_refused_and_its_connection_closed(stack: Stack) -> None:
    with stack.connect() as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        answer = answer_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


def test_a_fault_is_answered_with_500_and_without_its_text(stack: Stack) -> None:
    answer = httpx.get(f"{stack.url}/fault", headers={"x-request-id": "mine"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine"


def test_a_stream_that_fails_before_its_first_byte_still_has_a_status(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/early-stream").status_code == 504


def test_a_stream_that_fails_after_its_first_byte_is_cut_off_and_counted_as_what_it_was(stack: Stack) -> None:
    with httpx.stream("GET", f"{stack.url}/broken-stream") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    eventually(lambda: stack.count(504) == 1)


def test_a_client_that_leaves_cancels_its_own_request(stack: Stack) -> None:
    with stack.connect() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stack.awkward.waiting.wait(TIMEOUT_S)
    assert stack.awkward.cancelled.wait(TIMEOUT_S)
    eventually(lambda: stack.count(499) == 1)
    assert httpx.post(f"{stack.url}/echo", content=b"still here").content == b"still here"


def test_a_client_that_leaves_while_the_rest_of_its_answer_is_ready_was_not_answered(stack: Stack) -> None:
    with stack.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stack.awkward.waiting.wait(TIMEOUT_S)
    eventually(lambda: stack.count(499) + stack.count(200) == 1)
    assert stack.count(499) == 1


def test_a_drain_turns_new_requests_away_and_cuts_off_what_overruns_it(
    served: tuple[Stack, asyncio.AbstractEventLoop],
) -> None:
    stack, loop = served
    with stack.connect() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stack.awkward.waiting.wait(TIMEOUT_S)
        asyncio.run_coroutine_threadsafe(stack.lifecycle.drain(timeout_s=0), loop).result(TIMEOUT_S)
        cut_off = answer_of(connection)
    assert stack.awkward.cancelled.is_set()
    assert cut_off.startswith(b"HTTP/1.1 503 ")
    refused = httpx.post(f"{stack.url}/echo", content=b"late")
    assert refused.status_code == 503
    assert refused.headers["connection"] == "close"


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something that another thread does has happened."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
