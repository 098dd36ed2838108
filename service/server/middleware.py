"""The one way of every request: it is named, counted, checked, read, answered and recorded, in this order.

    name, count ─▶ draining? ─▶ host, key, query ─▶ body ─▶ slot ─▶ operation ─▶ response ─▶ record
                                                          └───▶ application inside (FastAPI), where there is none

An operation is called with a body that is whole, without FastAPI's routing and dependency injection, which take several
times as long as a small sample. Every error ends here, as a response or as an answer that is cut off. A request is
cancelled when its client leaves, when its body is late or in the way of smaller ones, or when the process cannot wait
for it any longer; it is pure ASGI, since a wrapper that buffers the stream would hide that the client has left.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from http import HTTPStatus
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.cors import Origins
from service.access.gate import Gate
from service.access.hosts import AllowedHosts, check_query
from service.errors import NotReady, QueueFull
from service.logs import naming
from service.server.bodies import BodyBudget, BodyLimits
from service.server.lifecycle import METRICS, PROBES, RETRY_AFTER_S, Lifecycle
from service.server.problems import error_response
from service.server.request_head import below
from service.server.request_info import CLIENT_CLOSED_REQUEST, RequestInfo, attach, request_info
from service.server.request_log import UNKNOWN_ROUTE, RequestLog
from service.tracing import RequestTrace, Traces, follow

# A server only *tells* that the client left when it is asked, which takes a task beside the answer's own. What is
# answered sooner is answered whether or not the client is still there to take it.
WATCH_AFTER_S = 0.02

R = TypeVar("R")

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Operation(Protocol):
    """What answers requests that are here whole."""

    async def answer(self, scope: Scope, body: bytes) -> Response:
        """Answer one request; may raise anything."""
        ...


FindOperation = Callable[[Scope], Operation | None]


class ClientLeft(Exception):
    """The client closed its connection."""


class CancelScope(Generic[R]):
    """Cancels the task that makes it, at most once, for a reason; afterwards the task knows that it was this.

    `asyncio.timeout` does the same for time alone, and costs as much as parsing a request.

    Attributes:
        reason: the first that was given.

    References:
        asyncio, "Task Object": `cancel` and `uncancel`.
    """

    __slots__ = ("_task", "reason")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self.reason: R | None = None

    def cancel(self, reason: R) -> None:
        """Cancel the task."""
        if self.reason is None and self._task is not None:
            self.reason = reason
            self._task.cancel()

    def taken(self) -> R | None:
        """Take the cancellation back; to be called where the task's `CancelledError` is caught.

        Returns:
            The reason; None where something else cancelled the task, so that the error must go on.
        """
        if self.reason is None or self._task is None or self._task.uncancel() > 0:
            return None
        return self.reason


class Exchange:
    """One request while it is answered: what is sent, and what ends it early.

    Args:
        info: of the request.
        receive: ASGI's.
        send: ASGI's.
        lifecycle: says when the process ends.
        is_probe: whether it is one of the requests that are answered to the end of the process.

    Attributes:
        info: as given.
        is_probe: as given.
        cancelled: how the request is ended early, with the error that its caller is told.
        complete: whether its last byte was sent.
        receive_body: ASGI's `receive`, as long as the body arrives.
        trace: of the request, where it has one.
    """

    __slots__ = (
        "_body", "_gone", "_lifecycle", "_send", "_watching", "cancelled", "complete", "info", "is_probe",
        "receive_body", "trace",
    )  # fmt: skip

    def __init__(
        self, info: RequestInfo, receive: Receive, send: Send, lifecycle: Lifecycle, *, is_probe: bool
    ) -> None:
        self.info = info
        self.is_probe = is_probe
        self.cancelled: CancelScope[Exception] = CancelScope()
        self.complete = False
        self.receive_body = receive
        self.trace: RequestTrace | None = None
        self._send = send
        self._lifecycle = lifecycle
        self._body: bytes | None = None
        self._gone: asyncio.Task[Message] | None = None
        self._watching: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._lifecycle.watch(self._cut_off)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._lifecycle.unwatch(self._cut_off)
        if self._watching is not None:
            self._watching.cancel()
        if self._gone is not None:
            self._gone.remove_done_callback(self._leave)
            self._gone.cancel()

    def begin(self, body: bytes) -> None:
        """Note that the request is here whole; from now on it is noticed when its client leaves."""
        self._body = body
        if self.trace is not None:
            self.trace.received_bytes = len(body)
        self._watching = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)
        if self.is_probe:
            self._lifecycle.unwatch(self._cut_off)  # it is answered to the end

    def take_body(self) -> bytes:
        """Answer the body, and keep nothing of it: its request may let go of it sooner."""
        body, self._body = self._body, None
        return body or b""

    async def receive(self) -> Message:
        """Answer the body, then the disconnect when it comes."""
        if self._body is not None:
            return {"type": "http.request", "body": self.take_body(), "more_body": False}
        return await asyncio.shield(self._watch())

    async def send(self, message: Message) -> None:
        """Send on, with what every answer says."""
        if self.trace is not None:
            self.trace.sent(message)
        if message["type"] == "http.response.start":
            self.info.started = True
            self.info.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.info.answer_headers]
            if self._lifecycle.state != "serving" and not self.is_probe:
                message["headers"].append((b"connection", b"close"))  # the next request belongs to another replica
        else:
            is_last = not message.get("more_body", False)
            if is_last and self._gone is not None:
                # A client that left ends the wait for it, and what is ready is then sent in one turn of
                # the event loop; `_leave` runs in the next.
                await asyncio.sleep(0)
            # What follows the last byte is not cancelled, though a server says "disconnect" after it too.
            self.complete = is_last
        await self._send(message)

    async def fail(self, error: Exception, scope: Scope) -> None:
        """Answer an error, in the form that the path promises."""
        self.info.explain(error)
        if self.info.give_back is not None and isinstance(error, QueueFull | NotReady):
            await self.info.give_back()
        if self.trace is not None:
            self.trace.error = error
        if isinstance(error, ClientLeft):
            self.info.status = CLIENT_CLOSED_REQUEST
        elif self.complete:
            return  # FastAPI's outermost layer answered it, in our words, and raised it again
        elif self.info.started:
            # The status went out with the first byte. Returning with the answer incomplete makes the server close the
            # connection, which no client can mistake for the end of the data.
            self.info.status = error_response(error, scope).status_code
            logger.warning("answer cut off", reason=str(error))
        else:
            await error_response(error, scope)(scope, self.receive, self.send)

    def _watch(self) -> asyncio.Task[Message]:
        if self._gone is None:
            self._gone = asyncio.ensure_future(self.receive_body())
            self._gone.add_done_callback(self._leave)
        return self._gone

    def _leave(self, gone: asyncio.Task[Message]) -> None:
        if not gone.cancelled() and gone.exception() is None and not self.complete:
            self.cancelled.cancel(ClientLeft())

    def _cut_off(self) -> None:
        if not self.complete:
            what = "body was here" if self._watching is None else "answer was complete"
            self.cancelled.cancel(NotReady(f"the service ended before the {what}", RETRY_AFTER_S))


class RequestMiddleware:
    """Answers every request of the service.

    Args:
        app: answers what no operation does.
        find: answers the operation of a request, or None.
        log: where requests are recorded.
        lifecycle: counts requests, and says when the process ends.
        hosts: that are answered for.
        limits: of one body.
        budget: of all bodies.
        gate: asks for keys, where callers need them.
        origins: whose pages may read answers, where there are any.
        metrics_port: on which metrics are answered and nothing else but health; None answers them as anything else.
        traces: of this process, where there are any.
        root_path: prefix that a proxy may leave before every path.
    """

    def __init__(  # noqa: PLR0913  (what a request meets on its way)
        self,
        app: ASGIApp,
        find: FindOperation,
        log: RequestLog,
        lifecycle: Lifecycle,
        hosts: AllowedHosts,
        limits: BodyLimits,
        budget: BodyBudget,
        *,
        gate: Gate | None = None,
        origins: Origins | None = None,
        metrics_port: int | None = None,
        traces: Traces | None = None,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._find = find
        self._log = log
        self._lifecycle = lifecycle
        self._hosts = hosts
        self._limits = limits
        self._budget = budget
        self._gate = gate
        self._origins = origins
        self._metrics_port = metrics_port
        self._traces = traces
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        info = request_info(scope["headers"])
        attach(scope, info)
        scope["path"] = below(self._root_path, scope["path"])
        if scope["method"] == "HEAD":  # wherever there is GET: the server knows, and leaves the body out
            scope = {**scope, "method": "GET", "asked": "HEAD"}
        if self._origins is not None:
            info.added_headers = self._origins.headers(info.headers.get("origin"))
        exchange = Exchange(info, receive, send, self._lifecycle, is_probe=scope["path"] in PROBES)
        began = self._log.begin()
        if self._traces is not None:
            if not exchange.is_probe:
                exchange.trace = self._traces.begin(scope, info.headers, info.request_id, began)
            follow(exchange.trace)
            if exchange.trace is not None:
                info.trace_id = exchange.trace.trace_id
        names = info.names
        with naming(names):
            try:
                with nullcontext() if exchange.is_probe else self._lifecycle.request():
                    await self._answer(scope, exchange, names)
            except asyncio.CancelledError:
                reason = exchange.cancelled.taken()
                if reason is None:
                    raise
                await exchange.fail(reason, scope)
            except Exception as error:  # noqa: BLE001  (the border of the service: every fault ends here)
                await exchange.fail(error, scope)
            finally:
                # Behind the write of the answer, which the caller waits for.
                asyncio.get_running_loop().call_soon(self._record, scope, exchange, began, time.monotonic())

    async def _answer(self, scope: Scope, exchange: Exchange, names: dict[str, str]) -> None:
        headers = exchange.info.headers
        self._hosts.check(headers.get("host"))
        if self._root_path and scope["path"] == self._root_path:
            # Addresses in the page are relative to a folder; so is this one, since a host could be a proxy's own.
            folder = f"{self._root_path.rpartition('/')[2]}/"
            await Response(status_code=307, headers={"location": folder})(scope, exchange.receive, exchange.send)
            return
        if self._metrics_port is not None:
            _check_port(scope, self._metrics_port)
        if self._origins is not None:
            allowed = self._origins.preflight(scope["method"], headers)
            if allowed is not None:
                answer = Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)
                await answer(scope, exchange.receive, exchange.send)
                return
        if self._gate is not None:
            _identify(self._gate, scope["path"], exchange, names)
        check_query(scope["query_string"])
        if scope["path"].endswith("\n"):  # the patterns of routes end with `$`, which overlooks it
            raise HTTPException(HTTPStatus.NOT_FOUND)
        with exchange, self._budget.body(exchange.cancelled.cancel) as arriving:
            body = await arriving.read(exchange.receive_body, headers.get("content-length"), self._limits)
            if body is None:
                return  # the client left
            exchange.begin(body)
            del body
            operation = self._find(scope)
            key = exchange.info.key
            with nullcontext() if exchange.is_probe else self._lifecycle.slot(None if key is None else key.name):
                if operation is None:
                    # A name that comes twice has one list of values, for every reader.
                    scope["headers"] = [
                        (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
                    ]
                    await self._app(scope, exchange.receive, exchange.send)
                else:
                    response = await operation.answer(scope, exchange.take_body())
                    await response(scope, exchange.receive, exchange.send)

    def _record(self, scope: Scope, exchange: Exchange, began: float, ended: float) -> None:
        info, found = exchange.info, getattr(scope.get("route"), "path", None)
        route = UNKNOWN_ROUTE if found is None else found
        self._log.end(scope.get("asked", scope["method"]), scope["path"], route, info, began, ended)
        if exchange.trace is not None:
            exchange.trace.end(found, info.status, info.reason, ended)


def _identify(gate: Gate, path: str, exchange: Exchange, names: dict[str, str]) -> None:
    """Find the key of a request, and name it on every log line and span that follows."""
    key = exchange.info.key = gate.key_of(path, exchange.info.headers)
    if key is not None:
        names["key"] = key.name
        if exchange.trace is not None:
            exchange.trace.describe({"ganymede.key": key.name})


def _check_port(scope: Scope, metrics_port: int) -> None:
    """Pass what is answered on the port that it came to: on that of metrics what probes ask, on the other the rest.

    Raises:
        HTTPException: 404 to everything else.
    """
    is_for_metrics = scope["server"][1] == metrics_port
    if (scope["path"] not in PROBES) if is_for_metrics else (scope["path"] == METRICS):
        raise HTTPException(HTTPStatus.NOT_FOUND)
