"""Traces of requests by OpenTelemetry: a span for each, and below it those of its queue, its runs and its encoding.

    middleware ──begin──▶ RequestTrace ◀──current── batcher, encoder, endpoints: what happened, and when
                               └──carrier──▶ engine process ──joined──▶ RequestTrace of the same trace

Off unless the environment names a receiver, in OpenTelemetry's own variables. Spans are made where a request ends its
stages, from times that were taken anyway, and are sent by a thread of their own, which drops what it cannot send.
Seeds, bodies, queries and keys are in no attribute, as in no log line.

References:
    W3C, "Trace Context", 2021.
    OpenTelemetry, "Semantic conventions for HTTP spans" (stable) and "OpenTelemetry environment variables".
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from service import __version__
from service.errors import GanymedeError, RequestError, TryAgainError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span
    from opentelemetry.util.types import AttributeValue

# A supervisor grants it twice beyond the time to drain, since the engine process ends after the API processes.
FLUSH_S: Final = 2.0
# What turns traces on, and the one protocol that is spoken.
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
# The library's loggers that speak of what is sent; the others' lines are lines of the log as any library's.
SENDING: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")
# Of a path or a header in an attribute: thousands of spans may wait to be sent.
MAX_CHARACTERS: Final = 1_000
# Those that the conventions name; others are `_OTHER`, or callers could make any number of span names.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
SERVER_FAULT: Final = 500
# nginx's number for "the client closed the connection", as in logs and metrics.
CLIENT_CLOSED_REQUEST: Final = 499
NS_PER_S: Final = 1_000_000_000

Attributes = Mapping[str, "AttributeValue"]
Carrier = dict[str, str]

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class RequestTrace:
    """The spans of one request in one process; for its event loop only.

    Args:
        traces: of the process.
        context: of the span that is the parent of all others.
        span: it, where it is of this process.
        method: HTTP's, as the span's name has it.
        zero_ns: nanoseconds since 1970 when `time.monotonic` was 0.

    Attributes:
        error: that the request was answered with.
        received_bytes: of the request's body.
    """

    __slots__ = ("_context", "_method", "_sent_bytes", "_span", "_traces", "_zero_ns", "error", "received_bytes")

    def __init__(
        self, traces: "Traces", context: "Context", zero_ns: int, span: "Span | None" = None, method: str = ""
    ) -> None:
        self._traces = traces
        self._context = context
        self._zero_ns = zero_ns
        self._span = span
        self._method = method
        self._sent_bytes = 0
        self.error: Exception | None = None
        self.received_bytes = 0

    @property
    def trace_id(self) -> str:
        """Of all its spans, 32 hexadecimal digits."""
        api = self._traces.api
        return str(api.format_trace_id(api.get_current_span(self._context).get_span_context().trace_id))

    def describe(self, attributes: Attributes) -> None:
        """Say something of the request, in the process that answers it."""
        if self._span is not None:
            self._span.set_attributes(attributes)

    def sent(self, message: Mapping[str, Any]) -> None:
        """Note what is sent of the answer: ASGI's message."""
        self._sent_bytes += len(message.get("body", b""))
        for name, value in message.get("headers", ()):
            if name == b"content-type":
                self.describe({"http.response.header.content-type": [value.decode("latin-1")]})

    def end(self, route: str | None, status: int, reason: str | None, ended: float) -> None:
        """End the request's own span.

        Args:
            route: template of the route that answered.
            status: of the answer, or what stands for it.
            reason: why it was refused that may succeed later.
            ended: on `time.monotonic`.
        """
        span = self._span
        if span is None:
            return
        attributes: dict[str, AttributeValue] = {
            "http.response.status_code": status,
            "http.request.body.size": self.received_bytes,
            "http.response.body.size": 0 if self._method == "HEAD" else self._sent_bytes,
        }
        if route is not None:
            span.update_name(f"{self._method} {route}")
            attributes["http.route"] = route
        if reason is not None:
            attributes["ganymede.reason"] = reason
        span.set_attributes(attributes)
        if status == CLIENT_CLOSED_REQUEST:
            self._traces.fail(span, asyncio.CancelledError())
        elif status >= SERVER_FAULT:
            self._traces.fail(span, self.error, str(status))
        span.end(self._at(ended))

    def stage(
        self, name: str, began: float, ended: float, attributes: Attributes, error: BaseException | None = None
    ) -> None:
        """Add a span of something that has ended.

        Args:
            name: of the stage.
            began: on `time.monotonic`, and so is `ended`.
            error: that ended it.
        """
        span = self._traces.tracer.start_span(
            name, context=self._context, attributes=attributes, start_time=self._at(began)
        )
        if error is not None:
            self._traces.fail(span, error)
        span.end(self._at(ended))

    @contextmanager
    def calling(self, name: str) -> Iterator[Carrier]:
        """Add a span of a call to another process.

        Yields:
            What the other process needs to add spans below it.
        """
        traces = self._traces
        span = traces.tracer.start_span(name, context=self._context, kind=traces.api.SpanKind.CLIENT)
        carrier: Carrier = {}
        traces.propagator.inject(carrier, traces.api.set_span_in_context(span, self._context))
        try:
            yield carrier
        except BaseException as error:
            self._traces.fail(span, error)
            raise
        finally:
            span.end()

    def _at(self, monotonic_s: float) -> int:
        """A time of `time.monotonic` in nanoseconds since 1970."""
        return self._zero_ns + int(monotonic_s * NS_PER_S)


_current: ContextVar[RequestTrace | None] = ContextVar("trace", default=None)
current = _current.get
"""The trace of the request that the current task answers; None where it has none."""


def follow(trace: RequestTrace | None) -> None:
    """Have `current` answer this trace in this task from now on; None hides that of the request before."""
    _current.set(trace)


def describe(model: str, version: int, samples: int, select: str | None = None) -> None:
    """Say on a request's span what is asked of which package.

    Args:
        select: method by which the discriminator chooses the samples.
    """
    if (trace := current()) is not None:
        chosen = {} if select is None else {"ganymede.select": select}
        trace.describe(
            {"ganymede.model": model, "ganymede.version": str(version), "ganymede.samples": samples, **chosen}
        )


@contextmanager
def encoding() -> Iterator[None]:
    """Add a span of writing an answer, around the block."""
    trace, began = current(), time.monotonic()
    failure = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        if trace is not None:
            trace.stage("encode", began, time.monotonic(), {}, failure)


class Traces:
    """Makes the spans of one process and has them sent.

    Args:
        processor: is given every span that has ended.
        sampler: None takes what the environment names, by default the caller's decision, and all where it made none.

    Attributes:
        api: `opentelemetry.trace`, which is imported only where there are traces.
        propagator: reads and writes carriers.
        tracer: of the process.
    """

    def __init__(self, processor: "SpanProcessor", sampler: "Sampler | None" = None) -> None:
        from opentelemetry import trace  # noqa: PLC0415
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        # No global provider: another application of the process may have its own.
        self._provider = TracerProvider(sampler, _resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._root = Context()
        self.api = trace
        self.propagator = TraceContextTextMapPropagator()
        self.tracer = self._provider.get_tracer("ganymede", __version__)

    def begin(
        self, scope: Mapping[str, Any], headers: Mapping[str, str], request_id: str, began: float
    ) -> RequestTrace | None:
        """Begin the trace of a request that arrived, or go on with its caller's.

        Args:
            scope: ASGI's; `asked` is its method where that is answered as another.
            headers: by name in lower case.
            request_id: of its answer and log lines.
            began: on `time.monotonic`.

        Returns:
            None where the request is not sampled.
        """
        method = scope.get("asked", scope["method"])
        attributes: dict[str, AttributeValue] = {
            "http.request.method": method,
            "url.scheme": scope["scheme"],
            "url.path": scope["path"][:MAX_CHARACTERS],
            "network.protocol.version": scope["http_version"],
            "http.response.header.x-request-id": [request_id],
        }
        if method not in METHODS:
            attributes |= {"http.request.method": "_OTHER", "http.request.method_original": method}
            method = "HTTP"
        if (agent := headers.get("user-agent")) is not None:
            attributes["user_agent.original"] = agent[:MAX_CHARACTERS]
        if (server := scope.get("server")) is not None and server[1] is not None:
            attributes["server.address"], attributes["server.port"] = server
        context = self.propagator.extract(headers, self._root) if "traceparent" in headers else self._root
        zero_ns = _zero_ns()
        span = self.tracer.start_span(
            method, context, self.api.SpanKind.SERVER, attributes, start_time=zero_ns + int(began * NS_PER_S)
        )
        if not span.is_recording():
            return None
        return RequestTrace(self, self.api.set_span_in_context(span, context), zero_ns, span, method)

    def joined(self, carrier: Carrier) -> RequestTrace:
        """Go on with the trace of a request that another process answers."""
        return RequestTrace(self, self.propagator.extract(carrier, self._root), _zero_ns())

    def fail(self, span: "Span", error: BaseException | None, otherwise: str = "") -> None:
        """Mark a span as failed, with the stack of the error where it is a fault.

        Args:
            otherwise: what stands for an error that is not known.
        """
        kind, told = otherwise if error is None else type(error).__name__, None
        if isinstance(error, asyncio.CancelledError):
            kind, told = "cancelled", "its caller waits no longer"
        elif isinstance(error, GanymedeError) and not isinstance(error, RequestError):
            told = str(error)  # what a caller did wrong is told to the caller alone
        span.set_attribute("error.type", kind)
        span.set_status(self.api.Status(self.api.StatusCode.ERROR, told))
        if error is not None and not isinstance(error, asyncio.CancelledError | TryAgainError | RequestError):
            span.record_exception(error)

    async def aclose(self) -> None:
        """Send what has not been sent, and drop what cannot be within `FLUSH_S`."""
        # A daemon: a receiver that hangs must not keep the process from ending.
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        await asyncio.to_thread(sending.join, FLUSH_S)
        if sending.is_alive():
            logger.warning("traces dropped at the end", after_s=FLUSH_S)


def _zero_ns() -> int:
    return time.time_ns() - time.monotonic_ns()


def _resource() -> "Resource":
    """What all spans of the process say: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, where they are set."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    resource = Resource.create({"service.version": __version__, "process.pid": os.getpid()})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):  # the SDK's own default
        return resource.merge(Resource({"service.name": "ganymede"}))
    return resource


def from_environment(environment: Mapping[str, str]) -> Traces | None:
    """Send traces where OpenTelemetry's variables say so; None where there are none.

    `OTEL_EXPORTER_OTLP_ENDPOINT`, the same of traces alone, or `OTEL_TRACES_EXPORTER=otlp` turn them on. Whatever is
    wrong with them is a line of the log, and the service runs without traces.
    """
    refusal = _refusal(environment)
    if refusal is None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

            traces = Traces(BatchSpanProcessor(cast("SpanExporter", _Sender(OTLPSpanExporter()))))
        except ImportError:
            refusal = "the extra `otel` is not installed: pip install 'ganymede-gan[otel]'"
        except Exception as error:  # noqa: BLE001  (a variable that the library does not understand)
            refusal = f"an OTEL_… variable is not valid: {error}"
        else:
            return traces
    if refusal:
        logger.warning("no traces are sent", reason=refusal)
    return None


def _refusal(environment: Mapping[str, str]) -> str | None:
    """Why there are no traces; empty where none are asked for, None where there are."""
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    named = [name for name in ENDPOINTS if environment.get(name)]
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return ""
    if not exporter and not named:
        return ""
    if exporter not in {"", "otlp"}:
        return f"OTEL_TRACES_EXPORTER={exporter} is not supported, only otlp and none"
    protocol = next((value for name in PROTOCOLS if (value := environment.get(name))), PROTOCOL)
    if protocol != PROTOCOL:
        return f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol} is not supported, only {PROTOCOL} (port 4318 of most receivers)"
    return None


class _Sender(logging.Handler):
    """Sends spans, and says that it cannot: once until it can again. The library writes a line at every attempt.

    Args:
        exporter: sends them.
    """

    def __init__(self, exporter: "SpanExporter") -> None:
        super().__init__(logging.WARNING)
        self._exporter = exporter
        self._said = False
        self.shutdown = exporter.shutdown
        self.force_flush = exporter.force_flush
        for name in SENDING:
            logging.getLogger(name).handlers[:] = [self]
            logging.getLogger(name).propagate = False
        logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)  # it warns of what callers send

    def export(self, spans: Sequence["ReadableSpan"]) -> "SpanExportResult":
        """As `SpanExporter.export`."""
        result = self._exporter.export(spans)
        if result.value == 0:
            self._said = False
        return result

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the library."""
        if not self._said:
            self._said = True
            logger.warning("traces cannot be sent", reason=record.getMessage())
