"""One TCP connection as uvicorn reads HTTP from it, with the limits that uvicorn leaves out.

    headers begin ──(header timeout, header bytes)──▶ headers end ──▶ request ──(write timeout)──▶ answer taken
                                                                       │
                                                                       └─ whole at once: the express way may answer it

A client may send its headers a byte a minute, or never take its answer, and hold a connection and what the answer keeps
in memory for as long; it may open connections without end. Here each of these has a limit, and what uvicorn would
answer itself, in plain text, is worded like every other error. It stands alone because it is the only module that knows
a server: the application behind it is ASGI, and its own limits (bodies, requests, deadlines) are layers of it.

References:
    CWE-400, uncontrolled resource consumption: the attack called Slowloris.
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import GanymedeError, HeadersTooLarge, MalformedRequest, NotReady, RequestTooSlow
from service.routes.exchange import NOT_GUESSED
from service.routes.express import METHOD, Errand, Express, Pieces, RawHeaders
from service.routes.problems import problem_response
from service.routes.streams import JOINED_BYTES

# Four times what proxies take; traces, cookies and tokens fit.
MAX_HEADER_BYTES = 32 * 1024
_METHOD = METHOD.encode()
# Connections come and go: a second later there may be room.
RETRY_AFTER_S = 1.0

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one process grants its connections.

    Attributes:
        connections: how many there may be.
        header_timeout_s: seconds that the headers of a request may take to arrive.
        write_timeout_s: seconds that a client may take nothing of its answer.
    """

    connections: int
    header_timeout_s: float
    write_timeout_s: float


class _Silent:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Tell nobody."""


class _ExpressCycle:
    """What uvicorn keeps of the request that it answers, for one that the express way answers.

    Attributes:
        errand: the request.
        keep_alive: whether another may follow it on its connection.
        response_complete: whether it was answered.
        disconnected: whether its client left before that.
        message_event: told of what happens to the body, which is here already.
    """

    __slots__ = ("disconnected", "errand", "keep_alive", "message_event", "response_complete")

    def __init__(self, errand: Errand, *, keep_alive: bool) -> None:
        self.errand = errand
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _Silent()


class LimitedConnection(HttpToolsProtocol):
    """A connection with limits; `limited` makes a class that uvicorn can be given."""

    limits: ClassVar[ConnectionLimits]
    express: ClassVar[Express]
    _unwritten: ClassVar[list[tuple[asyncio.Transport, bytes]]]

    _awaited: object | None = None  # one for each time that headers are waited for
    _headers_due: asyncio.TimerHandle | None = None
    _taken_due: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _reads_body = False
    _held: list[bytes] | None = None  # the body of a request that may take the express way, until it is whole
    _express_cycle: _ExpressCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for headers, or turn the connection away."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            logger.warning("connection turned away", open=len(self.connections))
            self._end_with(NotReady("the service has as many connections as it may", RETRY_AFTER_S))
            return
        self._wait_for_headers()
        self._limit_wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and hold headers to their limits from their first byte, or whatever stands before it."""
        if self.transport.is_closing():
            return
        if self._is_answered():
            self._wait_for_headers()
        awaited, read_body = self._awaited, self._reads_body
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._take_ordinary_way()  # it comes in pieces
        if self._awaited is None:
            return  # as nearly always: the headers came whole, and no clock was started for them
        if awaited is self._awaited and not (read_body or self._reads_body):
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._end_with(HeadersTooLarge(f"the headers of a request may have at most {MAX_HEADER_BYTES} bytes"))
                return
        self._limit_wait()

    def on_message_begin(self) -> None:
        """Begin to wait for headers behind a request that is still being answered."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._wait_for_headers()

    def on_headers_complete(self) -> None:
        """Stop waiting for headers; what comes now is a body."""
        self._stop_waiting()
        self._reads_body = True
        if self._may_be_express():
            self._held = []
        else:
            self._begin_ordinary_way()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """Note that the body is complete, whether or not anybody still read it."""
        self._reads_body = False
        if self._held is not None and self._takes_express_way(b"".join(self._held)):
            self._held = None
            return
        if self._held is not None:
            self._take_ordinary_way()
        super().on_message_complete()

    def answer(self, status: int, headers: RawHeaders, pieces: Pieces, *, last: bool) -> None:
        """Write what the express way answers; a small one in one piece, for each costs a call of the system."""
        cycle, self._express_cycle = self._express_cycle, None
        if cycle is None or cycle.disconnected:
            return
        cycle.keep_alive &= not last
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        ending = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        head = b"".join((STATUS_LINE[status], *lines, ending))
        if not cycle.keep_alive or sum(map(len, pieces)) > JOINED_BYTES:
            self.transport.writelines((head, *pieces))
        else:
            self._write_with_others(b"".join((head, *pieces)))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Give a body that was answered before its end as long to end as headers have."""
        super().on_response_complete()
        if self._reads_body:
            self._wait_for_headers()
            self._limit_wait()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        self._end_with(MalformedRequest("this is not an HTTP request that can be read"))

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what is written."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        self._stop_watching()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self._stop_watching()
        if self._express_cycle is not None:
            self._express_cycle.disconnected = True
            self._express_cycle.errand.leave()
        super().connection_lost(exc)

    def _may_be_express(self) -> bool:
        """Whether a request whose headers are here may be answered without a layer, if its body comes with them."""
        path, _, _ = self.url.partition(b"?")
        return (
            self.express.serves(path)
            and self.parser.get_method() == _METHOD
            and self._is_answered()
            and not (self.expect_100_continue or self.flow.write_paused or self.parser.should_upgrade())
        )

    def _takes_express_way(self, body: bytes) -> bool:
        """Begin the request that is here whole, if it can be answered so."""
        path, _, query = self.url.partition(b"?")
        errand = self.express.begin(path, query, self.headers, body, self.app_state["context"], self)
        if errand is None:
            return False
        keep_alive = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        self._express_cycle = _ExpressCycle(errand, keep_alive=keep_alive)
        self.cycle = self._express_cycle  # type: ignore[assignment]  # all of it that uvicorn asks for
        return True

    def _write_with_others(self, answer: bytes) -> None:
        """Write at the end of this turn of the event loop.

        A client that waits on another core is woken by a write, which takes the core longer than the answer took to
        make; callers of one batch are answered in one turn, and where they share a client it is woken once.
        """
        if not self._unwritten:
            self.loop.call_soon(self._write_all, self._unwritten)
        self._unwritten.append((self.transport, answer))

    @staticmethod
    def _write_all(unwritten: "list[tuple[asyncio.Transport, bytes]]") -> None:
        for transport, answer in unwritten:
            if not transport.is_closing():
                transport.write(answer)
        unwritten.clear()

    def _take_ordinary_way(self) -> None:
        """Give what was held back to uvicorn."""
        held, self._held = self._held or [], None
        self._begin_ordinary_way()
        for piece in held:
            super().on_body(piece)

    def _begin_ordinary_way(self) -> None:
        """Have uvicorn begin the message whose headers are here; the express way needs none of what it makes of it."""
        url, headers, asked_first = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.headers += headers  # a list that uvicorn has put elsewhere too
        self.expect_100_continue = asked_first
        super().on_headers_complete()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        if self._awaited is None:
            self._awaited = object()
            self._header_bytes = 0

    def _limit_wait(self) -> None:
        """Start the clock, unless it runs."""
        if self._headers_due is None:
            self._headers_due = self.loop.call_later(self.limits.header_timeout_s, self._headers_are_late)

    def _stop_waiting(self) -> None:
        self._awaited = None
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _headers_are_late(self) -> None:
        self._awaited = self._headers_due = None
        if not self._is_answered():
            self.cycle.keep_alive = False  # what is being answered is answered; then the connection ends
        elif self._header_bytes:
            self._end_with(RequestTooSlow(f"the headers did not arrive within {self.limits.header_timeout_s:g} s"))
        else:
            self.transport.close()  # nobody asked for anything

    def _watch(self, left_bytes: int) -> None:
        self._taken_due = self.loop.call_later(self.limits.write_timeout_s, self._check_taken, left_bytes)

    def _stop_watching(self) -> None:
        if self._taken_due is not None:
            self._taken_due.cancel()

    def _check_taken(self, left_before_bytes: int) -> None:
        """Cut the connection off if nothing was taken since the last look; the application sees a client that left."""
        left_bytes = self.transport.get_write_buffer_size()
        if left_bytes < left_before_bytes:
            self._watch(left_bytes)
            return
        logger.warning("answer not taken", left_bytes=left_bytes, after_s=self.limits.write_timeout_s)
        self.transport.abort()

    def _end_with(self, error: GanymedeError) -> None:
        """Answer an error that no application saw, unless another answer is on its way, and close."""
        self._stop_waiting()
        if self._is_answered():
            request_id = uuid.uuid4().hex
            response = problem_response(error, request_id)
            own = (b"x-request-id", request_id.encode()), NOT_GUESSED, (b"connection", b"close")
            lines = b"".join(b"%b: %b\r\n" % header for header in (*response.raw_headers, *own))
            self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))
        self.transport.close()


def limited(limits: ConnectionLimits, express: Express) -> type[HttpToolsProtocol]:
    """Answer the class of connections that have these limits, and this express way."""
    return type("Limited", (LimitedConnection,), {"limits": limits, "express": express, "_unwritten": []})
