"""Spans as an operator sees them: one a request, its stages below it, why it failed, nothing that is the caller's."""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from service.api.context import Context
from service.app import create_app
from service.engine.interface import GenerateJob
from service.engine.model_spec import PackageKey
from service.settings import Settings
from service.tracing import FLUSH_S, MAX_CHARACTERS, SENDING, Traces, current, follow, from_environment
from tests.support.middleware import middleware
from tests.support.otlp import receiving
from tests.support.toy import write_toy_package

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SEED = 987_654_321
SENT_TOGETHER = 512  # the library's default
Asked = Callable[[httpx.AsyncClient, Context], Awaitable[None]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy", encoder=True)
    return folder


@asynccontextmanager
async def served(folder: Path, traces: Traces) -> AsyncIterator[tuple[httpx.AsyncClient, Context]]:
    settings = Settings(models_dir=folder, default_model="toy", model_threads=1, max_batch_samples=4)
    app = create_app(settings, traces=traces)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        parts: Context = state["context"]
        while not parts.repository.ready:  # noqa: ASYNC110  (it loads on a thread)
            await asyncio.sleep(0)

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": {"context": parts}}, receive, send)

        async with client_of(with_state) as client:
            yield client, parts


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def in_memory(sampler: Sampler | None = None) -> tuple[Traces, InMemorySpanExporter]:
    kept = InMemorySpanExporter()
    return Traces(SimpleSpanProcessor(kept), sampler), kept


def spans_of(folder: Path, ask: Asked, sampler: Sampler | None = None) -> list[ReadableSpan]:
    """The spans of a service that is asked something, in the order in which they ended."""
    traces, kept = in_memory(sampler)

    async def run() -> None:
        async with served(folder, traces) as (client, parts):
            await ask(client, parts)

    asyncio.run(run())
    return list(kept.get_finished_spans())


def values(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def test_a_request_is_a_span_with_its_stages_below_it(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        answer = await client.post("/generate?format=zip", json={"n": 6, "seed": SEED, "scores": True})
        assert answer.status_code == 200

    *stages, request = spans_of(folder, ask)
    assert (request.name, request.kind, request.parent) == ("POST /generate", SpanKind.SERVER, None)
    assert [(span.name, values(span).get("ganymede.graph")) for span in stages] == [
        ("queue", "generator"), ("run", "generator"), ("run", "generator"),
        ("queue", "discriminator"), ("run", "discriminator"), ("run", "discriminator"), ("encode", None),
    ]  # fmt: skip
    assert request.context is not None
    assert {parent_of(span) for span in stages} == {request.context.span_id}
    assert {span.status.status_code for span in (*stages, request)} == {StatusCode.UNSET}
    times = [(span.start_time or 0, span.end_time or 0) for span in (request, *stages)]
    assert all(times[0][0] <= began <= ended <= times[0][1] for began, ended in times)
    said = values(request)
    assert said.pop("http.response.body.size") > 6 * 64
    assert said.pop("http.request.body.size") > 10
    assert said.pop("user_agent.original").startswith("python-httpx")
    assert len(said.pop("http.response.header.x-request-id")[0]) == 32
    assert said == {
        "http.request.method": "POST", "http.route": "/generate", "http.response.status_code": 200,
        "http.response.header.content-type": ("application/zip",), "network.protocol.version": "1.1",
        "url.path": "/generate", "url.scheme": "http", "ganymede.model": "toy", "ganymede.version": "1",
        "ganymede.samples": 6,
    }  # fmt: skip
    runs = [values(span) for span in stages if span.name == "run"]
    assert [(run["ganymede.samples"], run["ganymede.batch.size"]) for run in runs] == [(4, 4), (2, 2), (4, 4), (2, 2)]
    assert {run["ganymede.provider"] for run in runs} == {"CPUExecutionProvider"}
    assert all(run["ganymede.batch.session_s"] > 0 for run in runs)
    assert values(stages[-1])["ganymede.format"] == "zip"


def test_every_operation_on_samples_says_what_of_which_package(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        selected = {"n": 2, "seed": SEED, "select": {"method": "best-of", "candidates": 3}}
        png = (await client.post("/generate?format=png", json=selected)).content
        for path in ("/score", "/encode", "/reconstruct"):
            answer = await client.post(path, json={"samples": [[0.0] * 64]})
            assert answer.status_code == 200, (path, answer.text)
        assert png
        drawn = {"inputs": [], "parameters": {"seed": SEED, "n": 5}}
        assert (await client.post("/v2/models/toy/infer", json=drawn)).status_code == 200
        page = "/models/toy/versions/1/samples/7.png"
        assert (await client.get(page, follow_redirects=True)).status_code == 200

    requests = [span for span in spans_of(folder, ask) if span.kind is SpanKind.SERVER]
    assert [(span.name, values(span).get("ganymede.samples")) for span in requests] == [
        ("POST /generate", 2), ("POST /score", 1), ("POST /encode", 1), ("POST /reconstruct", 1),
        ("POST /v2/models/{name}/infer", 5),
        ("GET /models/{name}/versions/{version}/samples/{seed}.{form}", None),  # redirected to the one below
        ("GET /models/{name}/versions/{version}/samples/{seed}.{form}", 1),
    ]  # fmt: skip
    assert values(requests[0])["ganymede.select"] == "best-of"


def test_the_trace_of_a_caller_goes_on_where_it_is_sampled_and_only_there(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        for flag in ("01", "00"):
            headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-{flag}", "tracestate": "vendor=1"}
            await client.post("/generate", headers=headers)
        await client.post("/generate", headers={"traceparent": "00-junk"})

    spans = spans_of(folder, ask)
    followed, own = [span for span in spans if span.kind is SpanKind.SERVER]
    assert followed.context is not None
    assert own.context is not None
    assert (f"{followed.context.trace_id:032x}", f"{parent_of(followed):016x}") == (TRACE_ID, PARENT_ID)
    assert followed.context.trace_state.get("vendor") == "1"
    assert own.parent is None
    assert {span.context.trace_id for span in spans if span.context} == {
        followed.context.trace_id,
        own.context.trace_id,
    }


def test_a_sampler_that_takes_nothing_leaves_nothing(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        assert (await client.post("/generate")).status_code == 200

    assert spans_of(folder, ask, sampler=ALWAYS_OFF) == []


def test_the_runs_of_one_batch_share_its_id(folder: Path) -> None:
    async def ask(_: httpx.AsyncClient, parts: Context) -> None:
        async def draw(trace_id: str) -> None:
            follow(traces.joined({"traceparent": f"00-{trace_id}-{PARENT_ID}-01"}))
            await parts.engine.submit(GenerateJob(package=PackageKey("toy", 1), seeds=np.array([7], np.uint64)))

        await asyncio.gather(draw("1" * 32), draw("2" * 32))

    traces, kept = in_memory()

    async def run() -> None:
        async with served(folder, traces) as asked:
            await ask(*asked)

    asyncio.run(run())
    first, second = [values(span) for span in kept.get_finished_spans() if span.name == "run"]
    assert first["ganymede.batch.id"] == second["ganymede.batch.id"]
    assert (first["ganymede.batch.requests"], first["ganymede.batch.samples"], first["ganymede.samples"]) == (2, 2, 1)


def test_neither_seeds_nor_bodies_nor_queries_are_in_a_span(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        await client.post("/generate", json={"seed": SEED, "latents": None})
        await client.post("/generate", json={"seed": f"{SEED} is no seed"})
        await client.get(f"/models/toy/versions/1?seed={SEED}")

    assert str(SEED) not in "".join(span.to_json() for span in spans_of(folder, ask))


def test_refused_and_late_requests_say_why(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        for _attempt in range(3):  # so that the rate is known
            await client.post("/generate?format=npy", json={"n": 64})
        late = await client.post("/generate?format=npy", json={"n": 4096}, headers={"x-timeout-ms": "1"})
        assert late.status_code in {429, 504}
        assert (await client.post("/generate", json={"n": 0})).status_code == 422

    late, invalid = [span for span in spans_of(folder, ask) if span.kind is SpanKind.SERVER][-2:]
    assert "deadline" in values(late)["ganymede.reason"]
    if values(late)["http.response.status_code"] == 504:
        assert (late.status.status_code, values(late)["error.type"]) == (StatusCode.ERROR, "DeadlinePassed")
    assert (invalid.status.status_code, values(invalid).get("ganymede.reason")) == (StatusCode.UNSET, None)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("a bug")


def test_a_fault_has_its_stack_in_the_span() -> None:
    traces, kept = in_memory()

    async def ask() -> None:
        async with client_of(middleware(broken, traces=traces)) as client:
            assert (await client.get("/fault")).status_code == 500
            await asyncio.sleep(0)

    asyncio.run(ask())
    (span,) = kept.get_finished_spans()
    assert (span.status.status_code, values(span)["error.type"]) == (StatusCode.ERROR, "KeyError")
    (event,) = span.events
    assert "in broken" in str((event.attributes or {})["exception.stacktrace"])


def test_callers_cannot_make_names_or_attributes_grow(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        await client.get("/nowhere")
        await client.request("PURGE", "/generate")
        await client.request("HEAD", "/models", headers={"user-agent": "x" * 20_000})

    spans = spans_of(folder, ask)
    assert [span.name for span in spans] == ["GET", "HTTP /generate", "HEAD /models"]
    assert values(spans[1])["http.request.method_original"] == "PURGE"
    assert values(spans[2])["http.response.body.size"] == 0
    assert len(values(spans[2])["user_agent.original"]) == MAX_CHARACTERS


def test_probes_are_not_traced(folder: Path) -> None:
    async def ask(client: httpx.AsyncClient, _: Context) -> None:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200

    assert spans_of(folder, ask) == []


def test_without_traces_nothing_is_current() -> None:
    assert current() is None


@pytest.fixture
def library() -> Iterator[None]:
    """The library's own loggers as they were."""
    loggers = [logging.getLogger(name) for name in SENDING]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER=console is not supported"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "only http/protobuf"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "not valid"),
    ],
)
@pytest.mark.usefixtures("library")
def test_traces_are_off_where_the_environment_does_not_ask_for_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as lines:
        assert from_environment(environment) is None
    assert [line["event"] for line in lines] == ["no traces are sent"] * (said is not None)
    assert said is None or said in lines[0]["reason"]


def test_without_the_extra_the_service_says_so_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as lines:
        assert from_environment({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    assert "ganymede-gan[otel]" in lines[0]["reason"]


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("endpoint", ["nothing listens", "no address", "answers 404"])
@pytest.mark.usefixtures("library")
def test_a_receiver_that_takes_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    with receiving(status=404) as receiver:
        addresses = {"nothing listens": closed_port(), "no address": "localhost:4318", "answers 404": receiver.endpoint}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", addresses[endpoint])
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        with capture_logs() as lines:
            traces = from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": addresses[endpoint]})
            assert traces is not None
            for _ in range(3 * SENT_TOGETHER):
                traces.tracer.start_span("lost").end()
            began = time.monotonic()
            asyncio.run(traces.aclose())
            assert time.monotonic() - began < FLUSH_S + 1
    assert [line["event"] for line in lines] == ["traces cannot be sent"]
