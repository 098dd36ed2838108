"""The express way: requests that are small, frequent and answered whole go from bytes to bytes in one step.

    connection ──begin──▶ what to answer ──▶ endpoint ──▶ wire, in one write
                   └────▶ None: the ordinary way, through the layers

Layers, routing and dependency injection cost several times what one small sample needs, the network included. What they
do for a request is done here in a row, by the same parts: it is named, counted, timed, logged, cut off when its client
leaves or the process ends. Nothing is refused here. Whatever is unusual (a body in pieces, an answer in pieces, a
process that drains), and every mistake, takes the ordinary way, which finds the same and says so; only what goes wrong
after the endpoint began is told here, in the words of `problems.py`.

It knows no endpoint and no server: `generate.py` says what can be answered so, `connections.py` reads and
writes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from starlette.responses import Response

from service.api.context import Context
from service.api.responses.streaming import RawHeader, SampleFile
from service.errors import NotReady
from service.logs import name_task
from service.server.accounts import Accounts
from service.server.entry import AllowedHosts
from service.server.lifecycle import RETRY_AFTER_S, Lifecycle
from service.server.problems import problem_response
from service.server.request_info import CLIENT_CLOSED_REQUEST, Exchange, exchange_from

METHOD: Final = "POST"

RawHeaders = Sequence[RawHeader]
Pieces = Sequence[bytes | memoryview]
Answering = Callable[[], Awaitable[Response]]


class ExpressRoute(NamedTuple):
    """An endpoint whose requests may take the express way.

    Attributes:
        path: of its POST requests, and the label of its metrics.
        plan: holds a request against what is served: parts of the service, headers by name, query, body. It returns
            what answers it, or None where the answer would not be whole before its first byte; it may raise anything.
    """

    path: str
    plan: Callable[[Context, Mapping[str, str], bytes, bytes], Answering | None]


class Wire(Protocol):
    """Where an answer goes: a connection.

    Attributes:
        loop: the event loop that it belongs to.
    """

    loop: asyncio.AbstractEventLoop

    def answer(self, status: int, headers: RawHeaders, pieces: Pieces, *, last: bool) -> None:
        """Write a whole answer.

        Args:
            status: HTTP's.
            headers: its length among them.
            pieces: the body.
            last: whether the next request belongs to another replica.
        """
        ...


class Express:
    """Begins requests that may take the express way.

    Args:
        routes: whose.
        accounts: where requests are counted.
        lifecycle: where the process stands.
        hosts: that are answered for.
        max_body_bytes: largest body.
    """

    def __init__(
        self,
        routes: Sequence[ExpressRoute],
        accounts: Accounts,
        lifecycle: Lifecycle,
        hosts: AllowedHosts,
        max_body_bytes: int,
    ) -> None:
        self._routes = {route.path.encode(): route for route in routes}
        self.accounts = accounts
        self.lifecycle = lifecycle
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes

    def serves(self, path: bytes) -> bool:
        """Whether POST requests to a path may take this way."""
        return path in self._routes

    def begin(
        self, path: bytes, query: bytes, headers: RawHeaders, body: bytes, parts: Context, wire: Wire
    ) -> "Errand | None":
        """Begin a request that has arrived whole.

        Args:
            path: one that is served.
            query: of its address.
            headers: names in lower case.
            body: all of it.
            parts: the running service.
            wire: given the answer, later.

        Returns:
            The errand, under way; None where the request must take the ordinary way.
        """
        if self.lifecycle.state != "serving" or len(body) > self._max_body_bytes:
            return None
        route = self._routes[path]
        exchange = exchange_from(headers)
        if not self._hosts.include(exchange.headers.get("host")):
            return None
        try:
            if int(exchange.headers.get("content-length", len(body))) != len(body):
                return None
            answering = route.plan(parts, exchange.headers, query, body)
            if answering is None:
                return None
            self.lifecycle.take_slot()
        except Exception:  # noqa: BLE001  (whatever it is, the ordinary way meets it again and answers it)
            return None
        return Errand(self, route.path, exchange, answering, self.lifecycle.begin(), wire)


class Errand:
    """One request under way.

    Args:
        express: whose it is.
        path: of its route.
        exchange: its name, and how it ends.
        answering: computes its answer.
        request: as the lifecycle counts it.
        wire: where the answer goes.
    """

    __slots__ = ("_answering", "_exchange", "_express", "_path", "_reason", "_request", "_started", "_task", "_wire")

    def __init__(
        self, express: Express, path: str, exchange: Exchange, answering: Answering, request: object, wire: Wire
    ) -> None:
        self._express = express
        self._path = path
        self._exchange = exchange
        self._answering = answering
        self._request = request
        self._wire = wire
        self._reason: Literal["left", "cut off"] | None = None
        self._started = False
        self._task = wire.loop.create_task(self._run())
        express.lifecycle.watch(self._cut_off)

    def leave(self) -> None:
        """End it early: nobody is there to take the answer."""
        self._end("left")

    def _cut_off(self) -> None:
        self._end("cut off")

    def _end(self, reason: Literal["left", "cut off"]) -> None:
        if self._reason is None:
            self._reason = reason
            if self._started:  # a task that has not begun would end without a word
                self._task.cancel()

    async def _run(self) -> None:
        began = self._express.accounts.begin()
        name_task(self._exchange.names)
        self._started = True
        try:
            response = await self._response()
            if response is not None:
                self._exchange.status = response.status_code
                is_last = self._express.lifecycle.state != "serving"
                headers = (*response.raw_headers, *self._exchange.answer_headers)
                pieces = response.pieces if isinstance(response, SampleFile) else (response.body,)
                self._wire.answer(response.status_code, headers, pieces, last=is_last)
        finally:
            # Behind the write of the answer: nobody waits for it.
            self._wire.loop.call_soon(self._account, began, time.monotonic())

    def _account(self, began: float, ended: float) -> None:
        self._express.lifecycle.unwatch(self._cut_off)
        self._express.lifecycle.end(self._request)
        self._express.lifecycle.free_slot()
        self._express.accounts.end(METHOD, self._path, self._path, self._exchange, began, ended)

    async def _response(self) -> Response | None:
        """The answer, or what went wrong; None where nobody is left to be told."""
        try:
            if self._reason is None:
                return await self._answering()
        except asyncio.CancelledError:
            if self._reason is None:
                raise
        except Exception as error:  # noqa: BLE001  (the border of the service: every fault ends here)
            return problem_response(error, self._exchange.request_id)
        if self._reason == "left":
            self._exchange.status = CLIENT_CLOSED_REQUEST
            return None
        return problem_response(
            NotReady("the service ended before the answer was complete", RETRY_AFTER_S), self._exchange.request_id
        )
