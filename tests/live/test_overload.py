"""Overload, clients that disconnect and malformed input are refused clearly, without affecting other requests."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric

LARGE_SAMPLE_BYTES = 72 * 72 * 3
NPY_HEADER_BYTES = 128


@pytest.fixture(scope="module")
def narrow(models_dir: Path) -> Iterator[ServiceProcess]:
    """A service whose queue holds one batch."""
    with ServiceProcess(
        models_dir, load_models="large", queue_samples=64, request_queue_samples=64, encoder_threads=1
    ) as process:
        yield process.loaded()


@pytest.fixture(scope="module")
def narrow_client(narrow: ServiceProcess) -> Iterator[httpx.Client]:
    with narrow.client() as client:
        yield client


async def flood(port: int, body: dict[str, object], times: int) -> list[httpx.Response]:
    """Send the same request many times concurrently."""
    limits = httpx.Limits(max_connections=times)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S, limits=limits, trust_env=False
    ) as client:
        return await asyncio.gather(*(client.post("/generate?format=npy", json=body) for _ in range(times)))


def leave(port: int, request: bytes, *, after_bytes: int) -> None:
    """Send a request, read a part of its response, and disconnect."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        while after_bytes > 0:
            after_bytes -= len(connection.recv(after_bytes))


def post(path: str, body: bytes, *, length: int | None = None) -> bytes:
    """A request as bytes; its Content-Length may differ from the body's."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return (head + f"content-length: {len(body) if length is None else length}\r\n\r\n").encode() + body


def test_a_full_queue_is_answered_429_with_the_time_to_come_back(
    narrow: ServiceProcess, narrow_client: httpx.Client
) -> None:
    body: dict[str, object] = {"model": "large", "seed": 0, "n": 1000}
    before = metric(narrow_client, "ganymede_rejected_total", reason="queue_full")
    answers = asyncio.run(flood(narrow.port, body, times=10))
    refused = [answer for answer in answers if answer.status_code == 429]
    served = [answer.content for answer in answers if answer.status_code == 200]
    assert refused
    assert len(refused) + len(served) == 10
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert metric(narrow_client, "ganymede_rejected_total", reason="queue_full") == before + len(refused)
    alone = narrow_client.post("/generate?format=npy", json=body).content
    assert served == [alone] * len(served)


def test_a_stream_that_was_accepted_is_not_refused_half_way(
    narrow: ServiceProcess, narrow_client: httpx.Client
) -> None:
    count = 5000  # five chunks, more than the buffers hold
    with narrow_client.stream("POST", "/generate?format=npy", json={"model": "large", "seed": 0, "n": count}) as answer:
        pieces = answer.iter_raw()
        received = len(next(pieces))
        others = asyncio.run(flood(narrow.port, {"model": "large", "n": 1000}, times=10))
        received += sum(map(len, pieces))
    assert any(other.status_code == 429 for other in others)
    assert received == NPY_HEADER_BYTES + count * LARGE_SAMPLE_BYTES


@pytest.mark.slow
def test_a_long_stream_takes_no_more_memory_than_a_short_one(models_dir: Path) -> None:
    def peak_bytes(count: int) -> int:
        with client.stream("POST", "/generate?format=npy", json={"model": "large", "n": count}) as answer:
            received = sum(map(len, answer.iter_raw()))
        assert received == NPY_HEADER_BYTES + count * LARGE_SAMPLE_BYTES
        status = Path(f"/proc/{process.wait_for('listening')['pid']}/status").read_text()
        (kibibytes,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(kibibytes) * 1024

    with ServiceProcess(models_dir, load_models="large").loaded() as process, process.client() as client:
        short = peak_bytes(3000)
        assert peak_bytes(12_000) - short < 1024 * LARGE_SAMPLE_BYTES  # a chunk; the answer has nine more


def test_a_deadline_that_passes_is_answered_504(client: httpx.Client) -> None:
    answer = client.post("/generate?format=npy", json={"model": "large", "n": 1000}, headers={"x-timeout-ms": "1"})
    assert answer.status_code == 504
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("timeout_ms", ["0", "-1", "soon", "600001", "1.5"])
def test_a_deadline_that_is_none_is_refused(client: httpx.Client, timeout_ms: str) -> None:
    answer = client.post("/generate", headers={"x-timeout-ms": timeout_ms})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["header", "x-timeout-ms"]


def test_clients_that_leave_disturb_nobody_and_leave_nothing_behind(
    service: ServiceProcess, client: httpx.Client
) -> None:
    body = {"seed": 1, "n": 64}
    expected = client.post("/generate", json=body).json()
    cancelled = metric(client, "ganymede_rejected_total", reason="cancelled")
    large = b'{"model": "large", "n": 4000}'
    for _ in range(3):
        leave(service.port, post("/generate?format=npy", large), after_bytes=0)
        leave(service.port, post("/generate?format=npy", large), after_bytes=100_000)
        leave(service.port, post("/generate?format=zip", large), after_bytes=1000)
        leave(service.port, post("/generate", large, length=len(large) + 1), after_bytes=0)
        leave(service.port, b"POST /generate HTTP/1.1\r\nhost", after_bytes=0)
        assert client.post("/generate", json=body).json() == expected
    service.wait_for("request", status=499, path="/generate")
    client.post("/generate", json={"model": "large"})  # behind all requests that are still queued
    assert metric(client, "ganymede_rejected_total", reason="cancelled") > cancelled
    assert metric(client, "ganymede_queue_samples") == 0
    assert metric(client, "ganymede_requests_in_flight") == 1  # the scrape itself


def test_bad_requests_beside_a_good_one_do_not_change_it(service: ServiceProcess, client: httpx.Client) -> None:
    good: dict[str, object] = {"seed": 1, "n": 200}
    bad: list[dict[str, object]] = [
        {"n": 0},
        {"n": 10**9},
        {"latents": [[0.0]]},
        {"sed": 1},
        {"model": "nobody"},
        {"model": "classes", "label": 99},
    ]
    expected = client.post("/generate?format=npy", json=good).content

    async def mix() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{service.port}", timeout=TIMEOUT_S, trust_env=False
        ) as mixed:
            return await asyncio.gather(*(mixed.post("/generate?format=npy", json=body) for body in [good, *bad] * 10))

    answers = asyncio.run(mix())
    assert [answer.content for answer in answers[:: len(bad) + 1]] == [expected] * 10
    assert {answer.status_code for answer in answers} == {200, 404, 422}
