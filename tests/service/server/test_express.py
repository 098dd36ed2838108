"""The express way: which requests take it, that they are answered as on the ordinary way, and how they end early."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.context import INLINE_BYTES, Context
from service.app import create_app
from service.errors import QueueFull
from service.metrics import Telemetry
from service.server.accounts import Accounts
from service.server.entry import AllowedHosts
from service.server.express import Errand, Express, ExpressRoute, Pieces, RawHeaders
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support.toy import write_toy_package

TIMEOUT_S = 30.0
NAMED = {"x-request-id": "mine"}
# What is answered whole, and taken.
TAKEN: list[tuple[str, dict[str, str], str]] = [
    ("format=npy", {}, '{"n": 3, "seed": 7}'),
    ("format=png&format=npy", {"x-timeout-ms": "5000"}, '{"seed": 7}'),
    ("", {"accept": "image/png"}, '{"seed": 7}'),
    ("", {"content-type": "application/json; charset=utf-8"}, '{"seed": 7, "truncation": 1.0}'),
    ("format=webp", {}, '{"seeds": "0-15,99"}'),
    ("dtype=float32&format=npy", {}, '{"seeds": [1, 2]}'),
]
# What the ordinary way must answer: each is unusual, or wrong, in one place.
LEFT: list[tuple[str, dict[str, str], str, int]] = [
    ("format=zip", {}, '{"n": 3, "seed": 7}', 200),
    ("format=npy", {}, '{"n": 2000, "seed": 7}', 200),
    ("", {}, '{"seed": 7}' + " " * INLINE_BYTES, 200),
    ("format=bmp", {}, "", 422),
    ("formt=npy", {}, "", 422),
    ("", {"x-timeout-ms": "soon"}, "", 422),
    ("", {"x-timeout-ms": "0"}, "", 422),
    ("", {"accept": "text/plain"}, "", 406),
    ("", {"content-type": "text/plain"}, "{}", 415),
    ("", {}, "{", 400),
    ("", {}, '{"n": 0}', 422),
    ("", {}, '{"model": "nobody"}', 404),
    ("", {"content-length": "11"}, "", 400),  # a body that was lost on its way is not an empty one
]


class Answered:
    """A wire that keeps what it is given."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.given = asyncio.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.last = False

    def answer(self, status: int, headers: RawHeaders, pieces: Pieces, *, last: bool) -> None:
        assert not self.given.is_set()
        self.status = status
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = b"".join(pieces)
        self.last = last
        self.given.set()


def raw(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[FastAPI, Context]]:
    """The whole application, its package loaded."""
    write_toy_package(folder, discriminator=False)
    app = create_app(Settings(models_dir=folder, default_model="toy", model_threads=1, max_batch_samples=4))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        parts: Context = state["context"]
        while not parts.repository.ready:  # noqa: ASYNC110  (nobody but the operator waits for it)
            await asyncio.sleep(0)
        yield app, parts


async def ordinary(app: FastAPI, parts: Context, query: str, headers: dict[str, str], body: str) -> httpx.Response:
    """What the layers answer."""

    async def serving(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"context": parts}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(serving), base_url="http://localhost") as client:
        return await client.post(f"/generate?{query}", content=body, headers=NAMED | headers)


def test_what_is_taken_is_answered_as_on_the_ordinary_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (app, parts):
            for query, headers, body in TAKEN:
                wire = Answered()
                given = raw(NAMED | headers)
                errand = app.state.express.begin(b"/generate", query.encode(), given, body.encode(), parts, wire)
                assert errand is not None, (query, headers, body)
                async with asyncio.timeout(TIMEOUT_S):
                    await wire.given.wait()
                expected = await ordinary(app, parts, query, headers, body)
                assert wire.status == expected.status_code == 200
                assert wire.body == expected.content
                assert wire.headers == dict(expected.headers)
                assert not wire.last

    asyncio.run(scenario())


def test_what_is_unusual_or_wrong_is_left_to_the_ordinary_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (app, parts):
            for query, headers, body, status in LEFT:
                given = raw(headers)
                wire = Answered()
                assert app.state.express.begin(b"/generate", query.encode(), given, body.encode(), parts, wire) is None
                assert (await ordinary(app, parts, query, headers, body)).status_code == status, (query, headers, body)
            assert app.state.lifecycle.in_flight == 0

    asyncio.run(scenario())


class Waiting:
    """An express way with one route, whose answers come when a test lets them."""

    def __init__(self, max_requests: int = 9) -> None:
        self.registry = CollectorRegistry()
        self.lifecycle = Lifecycle(max_requests)
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        route = ExpressRoute("/wait", lambda *_: self._wait)
        accounts, hosts = Accounts(Telemetry(self.registry)), AllowedHosts("", "127.0.0.1")
        self.express = Express((route,), accounts, self.lifecycle, hosts, max_body_bytes=1024)
        self.wire = Answered()

    def begin(self) -> Errand | None:
        parts: Context = None  # type: ignore[assignment]  # the route asks for none of them
        return self.express.begin(b"/wait", b"", raw(NAMED), b"", parts, self.wire)

    def counted(self, status: int) -> float | None:
        labels = {"route": "/wait", "status": str(status)}
        return self.registry.get_sample_value("ganymede_requests_total", labels)

    async def ended(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.lifecycle.answered()
        assert self.registry.get_sample_value("ganymede_requests_in_flight") == 0

    async def _wait(self) -> Response:
        self.begun.set()
        return await self.answer


def run(scenario: Callable[[Waiting], Awaitable[None]], max_requests: int = 9) -> None:
    async def whole() -> None:
        await scenario(Waiting(max_requests))

    asyncio.run(whole())


def test_a_request_is_counted_while_it_is_answered_and_after() -> None:
    async def scenario(way: Waiting) -> None:
        assert way.begin() is not None
        await way.begun.wait()
        assert way.lifecycle.in_flight == 1
        assert way.registry.get_sample_value("ganymede_requests_in_flight") == 1
        way.answer.set_result(Response(b"done"))
        await way.ended()
        assert (way.wire.status, way.wire.body, way.wire.headers["x-request-id"]) == (200, b"done", "mine")
        assert way.counted(200) == 1

    run(scenario)


@pytest.mark.parametrize("begun", [True, False])
def test_who_leaves_is_told_nothing_and_counted(begun: bool) -> None:
    async def scenario(way: Waiting) -> None:
        errand = way.begin()
        assert errand is not None
        if begun:
            await way.begun.wait()
        errand.leave()
        await way.ended()
        assert not way.wire.given.is_set()
        assert way.counted(499) == 1
        assert way.begun.is_set() is begun

    run(scenario)


def test_what_the_process_cannot_wait_for_is_told_so() -> None:
    async def scenario(way: Waiting) -> None:
        assert way.begin() is not None
        await way.begun.wait()
        await way.lifecycle.drain(0.01)
        assert (way.wire.status, way.wire.last) == (503, True)
        assert int(way.wire.headers["retry-after"]) >= 1
        await way.ended()

    run(scenario)


def test_an_answer_that_ends_while_the_process_drains_is_the_last_of_its_connection() -> None:
    async def scenario(way: Waiting) -> None:
        assert way.begin() is not None
        await way.begun.wait()
        draining = asyncio.create_task(way.lifecycle.drain(TIMEOUT_S))
        await asyncio.sleep(0)
        way.answer.set_result(Response(b"done"))
        await draining
        assert (way.wire.status, way.wire.last) == (200, True)

    run(scenario)


@pytest.mark.parametrize(
    ("error", "status"), [(QueueFull("full", 3.0), 429), (KeyError("/home/secret"), 500), (TimeoutError(), 500)]
)
def test_what_goes_wrong_later_is_a_problem(error: Exception, status: int) -> None:
    async def scenario(way: Waiting) -> None:
        assert way.begin() is not None
        way.answer.set_exception(error)
        await way.ended()
        assert way.wire.status == status
        assert way.wire.headers["content-type"] == "application/problem+json"
        assert b'"request_id":"mine"' in way.wire.body
        assert b"secret" not in way.wire.body
        assert way.counted(status) == 1

    run(scenario)


def test_nothing_is_begun_while_the_process_drains_or_is_full() -> None:
    async def scenario(way: Waiting) -> None:
        assert way.begin() is not None
        assert way.begin() is None
        assert way.lifecycle.in_flight == 1
        way.answer.set_result(Response(b""))
        await way.ended()
        await way.lifecycle.drain(TIMEOUT_S)
        assert way.begin() is None

    run(scenario, max_requests=1)
