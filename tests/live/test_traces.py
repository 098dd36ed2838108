"""A request's trace from end to end: a running service, in one process and in several, and a receiver that reads it."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from tests.support.otlp import ERROR, SERVER, Receiver, receiving, tree
from tests.support.pages import ROOT, fences
from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SCORED = {"n": 64, "seed": 7, "scores": True}
# More than all buffers between server and client, so that the client leaves in the middle of it.
LARGE = {"model": "large", "seed": 0, "n": 5000}
CLOSED_S = 5.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy")
    write_toy_package(folder, "large", channels=3, height=72, width=72, discriminator=False)
    return folder


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        patch.setenv("OTEL_SERVICE_NAME", "digits")
        yield receiver


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "several processes"])
def service(request: pytest.FixtureRequest, folder: Path, receiver: Receiver) -> Iterator[ServiceProcess]:
    with ServiceProcess(folder, api_workers=request.param).loaded() as process:
        yield process


def traced(trace_id: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{PARENT_ID}-{flags}", "tracestate": "not valid"}


def shape(lines: list[str]) -> list[str]:
    """The lines of a tree without their times, and with the processes numbered as they come."""
    seen: dict[str, int] = {}
    bare = []
    for line in lines:
        name, _, process = line.partition(" +")
        number = seen.setdefault(process.rpartition("process ")[2], len(seen) + 1)
        bare.append(f"{name.rstrip()} {number}")
    return bare


def test_one_request_is_one_trace_as_the_page_shows_it(service: ServiceProcess, receiver: Receiver) -> None:
    several = bool(service.lines(event="process started"))
    trace_id = TRACE_ID[:-1] + str(several.real)
    with service.client(**traced(trace_id)) as client:
        assert client.post("/generate?format=zip", json=SCORED).status_code == 200
    names = ["POST /generate", "queue", "run", "queue", "run", "encode", *["engine.submit"] * several]
    spans = receiver.wait_for(lambda spans: sorted(span.name for span in spans) == sorted(names), trace_id)
    shown = [text.splitlines() for text in fences(ROOT / "docs/operations.md", "") if text.startswith("POST /generate")]
    assert shape(tree(spans)) == shape(shown[several])
    assert [span.parent for span in spans if span.kind == SERVER] == [PARENT_ID]
    assert {span.resource["service.name"] for span in spans} == {"digits"}
    assert len({span.resource["process.pid"] for span in spans}) == 1 + several
    assert service.wait_for("request", trace_id=trace_id)["path"] == "/generate"


def test_a_trace_that_begins_here_is_found_by_the_log_line(service: ServiceProcess, receiver: Receiver) -> None:
    with service.client() as client:
        answer = client.post("/generate", headers={"traceparent": "junk"})
    request_id = answer.headers["x-request-id"]
    trace_id = str(service.wait_for("request", request_id=request_id)["trace_id"])
    (span,) = [span for span in receiver.request(trace_id) if span.kind == SERVER]
    assert (span.parent, span.attributes["http.response.header.x-request-id"]) == ("", [request_id])
    assert service.lines(level="warning") == []


def test_a_client_that_leaves_is_seen_in_the_trace(service: ServiceProcess, receiver: Receiver) -> None:
    trace_id = ("a" if service.lines(event="process started") else "b") * 32
    with (
        service.client(**traced(trace_id)) as client,
        client.stream("POST", "/generate?format=npy", json=LARGE) as sent,
    ):
        assert sent.status_code == 200
    spans = receiver.request(trace_id)
    (request,) = [span for span in spans if span.kind == SERVER]
    assert (request.status, request.attributes["error.type"]) == (ERROR, "cancelled")
    assert request.attributes["http.response.status_code"] == 499


def test_what_is_not_sampled_is_not_sent(service: ServiceProcess, receiver: Receiver) -> None:
    with service.client() as client:
        assert client.post("/generate", headers=traced("c" * 32, flags="00")).status_code == 200
        assert client.post("/generate", headers=traced("d" * 32)).status_code == 200
    receiver.request("d" * 32)
    assert [span for span in receiver.spans if span.trace == "c" * 32] == []


def test_the_last_requests_are_sent_before_the_service_ends(folder: Path, receiver: Receiver) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        with ServiceProcess(folder).loaded() as process:
            with process.client(**traced("e" * 32)) as client:
                client.post("/generate")
            process.terminate()
            assert process.wait() == 0
    assert [span.name for span in receiver.spans if span.trace == "e" * 32].count("POST /generate") == 1


@pytest.mark.alone
def test_a_receiver_that_hangs_delays_no_request_and_the_end_by_little(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        patch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "16")
        patch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
        with ServiceProcess(folder).loaded() as process:
            with process.client() as client:
                answers = [client.post("/generate") for _ in range(100)]
            assert {answer.status_code for answer in answers} == {200}
            assert max(answer.elapsed.total_seconds() for answer in answers) < 1.0
            process.terminate()
            began = time.monotonic()
            assert process.wait() == 0
            assert time.monotonic() - began < CLOSED_S
            assert len(process.lines(event="traces cannot be sent")) == 1
            assert process.wait_for("traces dropped at the end")
