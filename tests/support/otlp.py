"""A receiver of traces: OTLP over HTTP, as a collector takes it, read with the protocol's own messages."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TIMEOUT_S = 30.0
MS_PER_NS = 1e-6
SERVER = 2
OK, ERROR = 0, 2


@dataclass(frozen=True)
class Span:
    """A span that arrived.

    Attributes:
        parent: id of its parent; empty where it has none.
        kind: the protocol's number.
        status: the protocol's number.
        resource: attributes of the process.
    """

    trace: str
    id: str
    parent: str
    name: str
    kind: int
    began_ns: int
    ended_ns: int
    status: int
    attributes: dict[str, Any]
    events: tuple[str, ...]
    resource: dict[str, Any]


def _read(body: bytes) -> Iterator[Span]:
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                    _values(span.attributes),
                    tuple(event.name for event in span.events),
                    resource,
                )


def _values(attributes: Any) -> dict[str, Any]:  # noqa: ANN401  (repeated messages)
    values = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        value = getattr(each.value, kind)
        values[each.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return values


class Receiver:
    """Takes spans on a free port of this host.

    Args:
        status: what it answers.

    Attributes:
        spans: all that arrived.
    """

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Span] = []
        self._arrived = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:  # noqa: N805  (http.server's name; `self` is the receiver)
                body = handler.rfile.read(int(handler.headers["content-length"]))
                if status == OK_STATUS and handler.path == "/v1/traces":
                    self._take(body)
                handler.send_response(status)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        """For `OTEL_EXPORTER_OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def _take(self, body: bytes) -> None:
        with self._arrived:
            self.spans += _read(body)
            self._arrived.notify_all()

    def wait_for(self, complete: Callable[[list[Span]], bool], trace: str | None = None) -> list[Span]:
        """Wait until the spans of a trace, or all, are complete; returns them by their beginning."""

        def found() -> list[Span]:
            of_trace = [span for span in self.spans if trace is None or span.trace == trace]
            return sorted(of_trace, key=lambda span: span.began_ns)

        with self._arrived:
            self._arrived.wait_for(lambda: complete(found()), TIMEOUT_S)
            spans = found()
        assert complete(spans), [(span.name, span.attributes) for span in spans]
        return spans

    def request(self, trace: str) -> list[Span]:
        """Wait for the trace of one request, its own span included, which is the last that is made."""
        return self.wait_for(lambda spans: any(span.kind == SERVER for span in spans), trace)


OK_STATUS = 200


@contextmanager
def receiving(status: int = OK_STATUS) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(status)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def tree(spans: list[Span]) -> list[str]:
    """A trace as text: a line a span, below its parent, with milliseconds from the beginning and of its length."""
    ids = {span.id for span in spans}
    (root,) = [span for span in spans if span.parent not in ids]

    def lines(span: Span, depth: int) -> Iterator[str]:
        began, length = (span.began_ns - root.began_ns) * MS_PER_NS, (span.ended_ns - span.began_ns) * MS_PER_NS
        graph = span.attributes.get("ganymede.graph", "")
        name = f"{'  ' * depth}{span.name} {graph}".rstrip()
        yield f"{name:36} +{began:6.2f} ms {length:7.2f} ms  process {span.resource['process.pid']}"
        for child in spans:
            if child.parent == span.id:
                yield from lines(child, depth + 1)

    return list(lines(root, 0))
