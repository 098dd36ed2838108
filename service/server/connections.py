"""One TCP connection as uvicorn reads HTTP from it, with the limits that uvicorn leaves out.

    headers begin ──(header timeout, header bytes)──▶ headers end ──▶ request ──(write timeout)──▶ answer taken

A client may send its headers a byte a minute, or never take its answer, and hold a connection and what the answer keeps
in memory for as long; it may open connections without end. Here each of these has a limit, and what uvicorn would
answer itself, in plain text, is worded like every other error. It is the only module that
knows uvicorn's connections; limits of bodies, requests and deadlines are the middleware's.

What cannot be read is answered behind the answers to what could be, and ends the connection. An offer of another
protocol is not taken: its request is read again without it. A client that ends its side of the connection has either
gone or only asked all it will, which look the same until something is sent: it is sent the first bytes that every
answer has, and a client that has gone resets the connection, which ends its request.

References:
    CWE-400, uncontrolled resource consumption: the attack called Slowloris.
    RFC 9110, HTTP Semantics: §6.5.1 (trailers are not headers), §7.8 (Upgrade).
    RFC 9112, HTTP/1.1: §9.3.2 (pipelining), §9.6 (closing in steps).
"""

import asyncio
import socket
import time
from dataclasses import dataclass
from typing import ClassVar

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import GanymedeError, MalformedRequest, NotReady, RequestTooSlow
from service.logs import naming
from service.server.problems import error_response_at
from service.server.request_head import MAX_HEADER_BYTES, below, check_head, too_large, without_offer
from service.server.request_info import request_info
from service.server.request_log import UNKNOWN_ROUTE, RequestLog
from service.server.writing import AnswerTransport, StalledWrite

# Connections come and go: a second later there may be room.
RETRY_AFTER_S = 1.0
# What every answer begins with.
BEGINNING = b"HTTP/1.1 "
# A round trip within a city, to begin with; a client further away is heard of at a later look.
FIRST_LOOK_S = 0.02
LONGEST_LOOK_S = 1.0
# For a client to read what it is told while it still sends; closing at once would take it back (RFC 9112, 9.6).
LINGER_S = 2.0
# Requests that may stand behind the one being answered while the connection is still read, so that it is noticed when
# the client leaves; clients that pipeline at all send fewer.
MAX_BEHIND = 16
# What the log says of a request that was not read: no method, and so much of its path.
UNREAD_METHOD = "-"
LOGGED_CHARACTERS = 200

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


class LimitedConnection(HttpToolsProtocol):
    """A connection with limits; `limited` makes a class that uvicorn can be given."""

    limits: ClassVar[ConnectionLimits]
    log: ClassVar[RequestLog]
    prefix: ClassVar[str]  # uvicorn has a `root_path` of its own, for what a proxy removes

    url = b""  # of the request being read
    _awaited: object | None = None  # one for each time that headers are waited for
    _headers_due: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _reads_body = False
    _writer: AnswerTransport  # of the answer
    _answering: RequestResponseCycle | None = None  # the oldest; `cycle` is the newest
    _offered = False  # whether the message being read offers another protocol, and is to be read again without
    _refusal: GanymedeError | None = None  # of what cannot be read, behind the answers to what could
    _client_ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for headers, or turn the connection away."""
        super().connection_made(transport)
        # Whatever is not taken is waited for: of the usual 64 KiB a client could leave less for ever.
        transport.set_write_buffer_limits(high=0)
        self._stalled = StalledWrite(self.transport, self.limits.write_timeout_s)
        if len(self.connections) > self.limits.connections:
            logger.warning("connection turned away", open=len(self.connections))
            self._tell(NotReady("the service has as many connections as it may", RETRY_AFTER_S))
            self.transport.close()
            return
        self._wait_for_headers()
        self._limit_wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and hold headers to their limits from their first byte, or whatever stands before it."""
        if self._refusal is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        if self._is_answered():
            self._wait_for_headers()
        awaited, read_body = self._awaited, self._reads_body
        self._read(data)
        if self._awaited is None:
            return  # as nearly always: the headers came whole, and no clock was started for them
        if awaited is self._awaited and not (read_body or self._reads_body):
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(too_large())
                return
        self._limit_wait()

    def _read(self, data: bytes | memoryview) -> None:
        """Feed the parser; where it stops at an offer of another protocol, another reads on from there."""
        head, unread = b"", data
        while True:
            try:
                if head:
                    self.parser.feed_data(head)
                self.parser.feed_data(unread)
            except httptools.HttpParserUpgrade as offer:
                head, unread = self._head_without_offer(), memoryview(unread)[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
            except httptools.HttpParserError as error:
                # An error of ours that a callback raised is in its context.
                cause = error.__context__
                not_http = MalformedRequest("this is not an HTTP request that can be read")
                self._refuse(cause if isinstance(cause, GanymedeError) else not_http)
                return
            else:
                return

    def _head_without_offer(self) -> bytes:
        return without_offer(self.parser.get_method(), self.parser.get_http_version(), self.url, self.headers)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's own closes whatever is being answered
        """Answer what came whole before the client's last byte, if the client still takes it.

        Returns:
            Whether the connection stays open until then.
        """
        self._client_ended = True
        if self._reads_body:
            self._abandon_newest()
        if self._is_answered() or self.cycle.disconnected:
            return False
        self.cycle.keep_alive &= self._refusal is not None  # which is told behind it
        self._begin_answer()
        return True

    def _begin_answer(self) -> None:
        """Send what the next answer begins with, whatever it will be, and look what comes of it."""
        answering = self._answering
        if answering is None or answering.response_started:
            return  # its next write does as well
        answering.waiting_for_100_continue = False  # all of it is here
        self._writer.begin(BEGINNING)
        self.loop.call_later(FIRST_LOOK_S, self._look_whether_gone, FIRST_LOOK_S)

    def _look_whether_gone(self, waited_s: float) -> None:
        """End the connection if it was reset; no event says so after the client's last byte."""
        if self._is_answered() or self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        after_s = min(2 * waited_s, LONGEST_LOOK_S)
        self.loop.call_later(after_s, self._look_whether_gone, after_s)

    def on_message_begin(self) -> None:
        """Begin to wait for headers behind a request that is still being answered."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._offered = False
        self._wait_for_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes behind a body is a trailer, and no part of the request."""
        if self._reads_body:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Stop waiting for headers; what comes now is a body.

        Raises:
            GanymedeError: nothing more is to be read; it comes out of the parser as the context of its own error.
        """
        self._stop_waiting()
        method = self.parser.get_method()
        check_head(method, self.parser.get_http_version(), self.url, self.headers)
        self._offered = self.parser.should_upgrade()
        if self._offered:
            return
        self._reads_body = True
        self._begin_request()

    def on_message_complete(self) -> None:
        """Note that the body is complete, whether or not anybody still read it."""
        if self._offered:
            return
        self._reads_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a body that was answered before its end as long to end as headers have."""
        self._writer.flush()
        super().on_response_complete()
        if self._refusal is not None and self._is_answered() and not self.transport.is_closing():
            self._end_with(self._refusal)
        elif self._reads_body:
            self._wait_for_headers()
            self._limit_wait()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what is written."""
        super().pause_writing()
        self._stalled.watch()

    def resume_writing(self) -> None:
        """Stop waiting for the client."""
        super().resume_writing()
        self._stalled.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more, and tell every request that is here."""
        self._stop_waiting()
        self._unset_keepalive_if_required()  # uvicorn leaves it where the client reset the connection
        self._stalled.stop()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self.pipeline.clear()  # these were not begun
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        self._writer = AnswerTransport(self.transport)
        cycle.transport = self._writer  # type: ignore[assignment]  # all of it that uvicorn uses
        super()._start_asgi_task(cycle, app)

    def _begin_request(self) -> None:
        """Have uvicorn begin the message whose headers are here and were checked."""
        url, headers = self.url, self.headers
        # RFC 9110, §10.1.1: clients of HTTP/1.0 know no interim answer.
        asked_first = self.expect_100_continue and self.parser.get_http_version() != "1.0"
        super().on_message_begin()
        self.url = url
        self.headers += headers  # a list that uvicorn has put elsewhere too
        self.expect_100_continue = asked_first
        super().on_headers_complete()
        if self.pipeline and self._are_few_behind():
            self.flow.resume_reading()

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _are_few_behind(self) -> bool:
        waiting = [cycle for cycle, _ in self.pipeline]
        return len(waiting) <= MAX_BEHIND and sum(len(cycle.body) for cycle in waiting) <= HIGH_WATER_LIMIT

    def _refuse(self, error: GanymedeError) -> None:
        """Read nothing more; answer an error when whatever came before it is answered, and close."""
        self._stop_waiting()
        self._refusal = error
        if self._reads_body:
            self._abandon_newest()
        self.flow.resume_reading()  # what still comes is dropped, and a client that leaves is noticed
        if self._is_answered() or (self.cycle.disconnected and not self.cycle.response_started):
            self._end_with(error)
        elif self.cycle.disconnected:
            self.transport.close()  # in the middle of its answer, which no client takes for whole

    def _abandon_newest(self) -> None:
        """Forget the request whose body will never be whole; those before it are still answered."""
        self._reads_body = False
        abandoned = self.cycle
        if abandoned.response_complete:
            return
        abandoned.disconnected = True
        abandoned.message_event.set()
        if self.pipeline and self.pipeline[0][0] is abandoned:
            self.pipeline.popleft()
            before = self.pipeline[0][0] if self.pipeline else self._answering
            self.cycle = before  # type: ignore[assignment]  # as above

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
            self._refuse(RequestTooSlow(f"the headers did not arrive within {self.limits.header_timeout_s:g} s"))
        else:
            self.transport.close()  # no request came

    def _end_with(self, error: GanymedeError) -> None:
        """Answer an error that no application saw, and close when the client has had time to read it."""
        self._unset_keepalive_if_required()
        self._tell(error)
        if self._client_ended:
            self.transport.close()
        else:
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.close)

    def _tell(self, error: GanymedeError) -> None:
        """Write an error, and account for it like for any request."""
        began = self.log.begin()
        info = request_info(())
        path = below(self.prefix, self.url.partition(b"?")[0].decode("latin-1"))
        response = error_response_at(path, error, info.request_id)
        info.status = response.status_code
        headers = (*response.raw_headers, *info.answer_headers, (b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))
        with naming(info.names):
            self.log.end(UNREAD_METHOD, path[:LOGGED_CHARACTERS], UNKNOWN_ROUTE, info, began, time.monotonic())


def limited(limits: ConnectionLimits, log: RequestLog, root_path: str = "") -> type[HttpToolsProtocol]:
    """Answer the class of connections that have these limits, and record here what they refuse.

    Args:
        limits: of each connection.
        log: where it is recorded.
        root_path: prefix that a proxy may leave before every path.
    """
    return type("Limited", (LimitedConnection,), {"limits": limits, "log": log, "prefix": root_path})
