"""The middleware behind a real server, around an application made to be awkward."""

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
from starlette.types import Receive, Scope, Send

from service.api.responses.streaming import SampleStream
from service.errors import DeadlinePassed, QueueFull
from service.metrics import Telemetry
from service.server.lifecycle import Lifecycle
from service.server.middleware import WATCH_AFTER_S
from service.server.request_log import RequestLog
from tests.support.middleware import MAX_BYTES, middleware

TIMEOUT_S = 30.0
LARGE_BYTES = 16_000_000  # more than every buffer between server and client


class Slow:
    """An operation whose answers come when a test lets them.

    Attributes:
        path: of its route.
        begun: set when it was asked.
        answered: what it answers, or raises.
    """

    path = "/slow"

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let = asyncio.Event()
        self.answered: Response | Exception = Response(b"done")

    async def answer(self, scope: Scope, body: bytes) -> Response:
        self.begun.set()
        await self.let.wait()
        if isinstance(self.answered, Exception):
            raise self.answered
        return self.answered


class Awkward:
    """An application that echoes, fails before or after its first byte, writes much, or never ends.

    Attributes:
        waiting: set when `/wait` waits, or `/large` for its client.
        cancelled: set when `/wait` was cancelled.
    """

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.cancelled = threading.Event()
        self.slow = Slow()

    def operation(self, scope: Scope) -> Slow | None:
        if scope["path"] != Slow.path:
            return None
        scope["route"] = self.slow
        return self.slow

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

    def __init__(self, port: int, max_requests: int = 2) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.awkward = Awkward()
        self.registry = CollectorRegistry()
        self.log = RequestLog(Telemetry(self.registry))
        self.lifecycle = Lifecycle(max_requests, self.log.refused)
        self.app = middleware(self.awkward, self.awkward.operation, self.lifecycle, self.log)

    def count(self, status: int, route: str = "none") -> float:
        """Requests that ended with this status."""
        labels = {"route": route, "status": str(status)}
        return self.registry.get_sample_value("ganymede_requests_total", labels) or 0.0

    def rejected(self, reason: str) -> float | None:
        return self.registry.get_sample_value("ganymede_rejected_total", {"reason": reason})

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
    assert stack.rejected("draining") == 1
    assert refused.headers["connection"] == "close"


def ask_slowly(connection: socket.socket) -> None:
    """Ask the operation that waits for its test."""
    connection.sendall(b"POST /slow HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\ncontent-length: 2\r\n\r\n{}")


def test_an_operation_is_counted_while_it_is_answered_and_after(
    served: tuple[Stack, asyncio.AbstractEventLoop],
) -> None:
    stack, loop = served
    with stack.connect() as connection:
        ask_slowly(connection)
        assert stack.awkward.slow.begun.wait(TIMEOUT_S)
        assert stack.lifecycle.in_flight == 1
        assert stack.registry.get_sample_value("ganymede_requests_in_flight") == 1
        loop.call_soon_threadsafe(stack.awkward.slow.let.set)
        answer = connection.recv(65536)
        while not answer.endswith(b"done"):
            answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"x-request-id: mine" in answer
    eventually(lambda: stack.count(200, "/slow") == 1)
    assert stack.registry.get_sample_value("ganymede_requests_in_flight") == 0


def test_a_client_that_leaves_an_operation_is_counted_so(stack: Stack) -> None:
    with stack.connect() as connection:
        ask_slowly(connection)
        assert stack.awkward.slow.begun.wait(TIMEOUT_S)
    eventually(lambda: stack.count(499, "/slow") == 1)
    assert stack.lifecycle.in_flight == 0


def test_an_operation_that_the_process_cannot_wait_for_is_told_so(
    served: tuple[Stack, asyncio.AbstractEventLoop],
) -> None:
    stack, loop = served
    with stack.connect() as connection:
        ask_slowly(connection)
        assert stack.awkward.slow.begun.wait(TIMEOUT_S)
        asyncio.run_coroutine_threadsafe(stack.lifecycle.drain(0.01), loop).result(TIMEOUT_S)
        answer = answer_of(connection).lower()
    assert answer.startswith(b"http/1.1 503 ")
    assert b"connection: close" in answer
    assert b"retry-after: " in answer


def test_an_answer_that_ends_while_the_process_drains_is_the_last_of_its_connection(
    served: tuple[Stack, asyncio.AbstractEventLoop],
) -> None:
    stack, loop = served
    with stack.connect() as connection:
        ask_slowly(connection)
        assert stack.awkward.slow.begun.wait(TIMEOUT_S)
        draining = asyncio.run_coroutine_threadsafe(stack.lifecycle.drain(TIMEOUT_S), loop)
        eventually(lambda: stack.lifecycle.state == "draining")
        loop.call_soon_threadsafe(stack.awkward.slow.let.set)
        answer = answer_of(connection).lower()
        draining.result(TIMEOUT_S)
    assert answer.startswith(b"http/1.1 200 ")
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("error", "status"), [(QueueFull("full", 3.0), 429), (KeyError("/home/secret"), 500), (TimeoutError(), 500)]
)
def test_what_an_operation_raises_is_a_problem(stack: Stack, error: Exception, status: int) -> None:
    stack.awkward.slow.answered = error
    stack.awkward.slow.let.set()
    answer = httpx.post(f"{stack.url}/slow", headers={"x-request-id": "mine"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == "mine"
    assert "secret" not in answer.text
    eventually(lambda: stack.count(status, "/slow") == 1)


def test_no_more_operations_are_begun_than_there_are_slots(served: tuple[Stack, asyncio.AbstractEventLoop]) -> None:
    stack, loop = served
    with stack.connect() as first, stack.connect() as second:
        ask_slowly(first)
        ask_slowly(second)
        eventually(lambda: stack.lifecycle.in_flight == 2)
        assert httpx.post(f"{stack.url}/slow").status_code == 429
        eventually(lambda: stack.count(429, "/slow") == 1)
        assert stack.rejected("max_requests") == 1
        loop.call_soon_threadsafe(stack.awkward.slow.let.set)
        assert all(each.recv(65536).startswith(b"HTTP/1.1 200 ") for each in (first, second))


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something that another thread does has happened."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
