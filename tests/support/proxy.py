"""A proxy in front of the service, as a network has them: under a prefix, and with faults where a test wants some."""

import http.client
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Literal, Self

from tests.support.serving import TIMEOUT_S

# Between proxy and server each connection is one request's.
HOP_BY_HOP: Final = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Refusal:
    """An answer in place of the service's.

    Attributes:
        status: of the answer; "lost" closes the connection, "cut" after half of the service's own answer; "stalled"
            sends no more than this half, and "corrupted" changes the last byte.
        headers: of the answer.
        body: of the answer.
    """

    status: int | Literal["lost", "cut", "stalled", "corrupted"]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Proxy:
    """Forwards to a port of this machine; leaving the block ends it.

    Args:
        port: of the service.
        prefix: what comes before every path; other paths are answered 404.

    Attributes:
        refusals: what the next requests of a path are answered, the first of each list next.
        asked: method, path and body of every request that was forwarded or refused.
        hold: while it is cleared, requests wait before they are forwarded.
        stalled: set when an answer is stalled.
    """

    def __init__(self, port: int, prefix: str = "") -> None:
        self.refusals: dict[str, list[Refusal]] = {}
        self.asked: list[tuple[str, str, bytes]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.stalled = threading.Event()
        self._target, self._prefix = port, prefix
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805  (the handler below has a self of its own)
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.removeprefix(proxy._prefix)
                proxy.asked.append((self.command, path, body))
                proxy.hold.wait(TIMEOUT_S)
                waiting = proxy.refusals.get(path.partition("?")[0])
                refusal = waiting.pop(0) if waiting else None
                if not self.path.startswith(proxy._prefix + "/"):
                    refusal = Refusal(404)
                status = None if refusal is None else refusal.status
                if refusal is not None and isinstance(status, int):
                    self._reply(status, refusal.headers, refusal.body)
                elif status != "lost":
                    self._forward(path, body, status)
                self.close_connection = True

            do_POST = do_GET  # noqa: N815  (the server's name for it)

            def _forward(self, path: str, body: bytes, fault: object) -> None:
                connection = http.client.HTTPConnection("127.0.0.1", proxy._target, timeout=TIMEOUT_S)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                try:
                    connection.request(self.command, path, body or None, headers)
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                sent = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
                self._reply(answer.status, sent, content, damaged(content, fault))
                if fault == "stalled":
                    self.wfile.flush()
                    proxy.stalled.set()
                    self.connection.settimeout(TIMEOUT_S)
                    with suppress(OSError):
                        self.rfile.read(1)  # until the caller leaves

            def _reply(
                self, status: int, headers: Mapping[str, str], content: bytes, sent: bytes | None = None
            ) -> None:
                with suppress(ConnectionError):  # the caller may have left
                    self.send_response(status)
                    for name, value in {**headers, "content-length": str(len(content))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content if sent is None else sent)

        return Handler


def damaged(content: bytes, fault: object) -> bytes:
    """What of an answer is sent."""
    match fault:
        case "cut" | "stalled":
            return content[: len(content) // 2]
        case "corrupted":
            return content[:-1] + bytes([content[-1] ^ 1])
        case _:
            return content
