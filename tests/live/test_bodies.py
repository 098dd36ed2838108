"""Missing, slow and simultaneous bodies: they hold a connection, and little memory."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric

MEBIBYTE = 2**20
MAX_REQUESTS = 16
HALF_SENT = 128
HEADER_TIMEOUT_S = 1.0
MAX_BODY_BYTES = 16 * MEBIBYTE
MAX_BODIES_BYTES = 64 * MEBIBYTE
HOLDERS = 30
HELD_BYTES = 15 * MEBIBYTE
# Beyond the bodies: a copy of one while its pieces are joined, and the memory of each connection and its pieces.
ALLOWANCE_BYTES = 48 * MEBIBYTE
# Memory left after a few hundred mebibytes are freed.
LEFT_BYTES = 24 * MEBIBYTE


@pytest.fixture(scope="module", params=[0, 1], ids=["one-process", "workers"])
def service(request: pytest.FixtureRequest, models_dir: Path) -> Iterator[ServiceProcess]:
    """A service with one process or several, with enough connections for each worker."""
    with ServiceProcess(
        models_dir,
        load_models="toy",
        api_workers=request.param,
        max_requests=MAX_REQUESTS,
        header_timeout_s=HEADER_TIMEOUT_S,
        max_bodies_bytes=MAX_BODIES_BYTES,
    ) as process:
        yield process.loaded()


def connect(service: ServiceProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), TIMEOUT_S)


def head(length: int, path: str = "/score") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()


def answer_of(connection: socket.socket) -> tuple[int, httpx.Headers, bytes]:
    """The next response, complete."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    start, _, body = received.partition(b"\r\n\r\n")
    lines = start.decode().split("\r\n")
    headers = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])])
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return int(lines[0].split()[1]), headers, body


def resident_bytes(service: ServiceProcess) -> int:
    workers = service.lines(event="process started", program="service.multiprocess.api_process")
    pid = (workers or service.lines(event="listening"))[0]["pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def test_half_sent_bodies_lock_nobody_out(service: ServiceProcess) -> None:
    with ExitStack() as crowd, service.client() as client:
        for path in ("/generate", "/score"):
            for _ in range(HALF_SENT // 2):
                crowd.enter_context(connect(service)).sendall(head(1000, path) + b"{")
        for _ in range(HALF_SENT):  # until all are here; or never, where they are turned away
            if metric(client, "ganymede_requests_in_flight") > HALF_SENT:  # the scrape is one of them
                break
        with ThreadPoolExecutor(MAX_REQUESTS) as threads:
            answers = threads.map(lambda _: client.post("/generate", json={"seed": 7}), range(MAX_REQUESTS))
            assert [answer.status_code for answer in answers] == [200] * MAX_REQUESTS
        assert client.get("/readyz").status_code == 200


def test_a_body_that_stops_coming_is_not_waited_for_as_long_as_a_slow_one(service: ServiceProcess) -> None:
    with connect(service) as stopped, connect(service) as slow:
        began = time.monotonic()
        body = json.dumps({"seed": 7}).encode().ljust(8000)
        stopped.sendall(head(1000) + b"{")
        slow.sendall(head(len(body), "/generate"))
        for start in range(0, len(body), 500):
            slow.sendall(body[start : start + 500])
            time.sleep(2 * HEADER_TIMEOUT_S * 500 / len(body))
        status, headers, told = answer_of(stopped)
        assert (status, headers["connection"]) == (408, "close")
        assert b"bytes a second" in told
        assert time.monotonic() - began < 10 * HEADER_TIMEOUT_S
        assert answer_of(slow)[0] == 200


def test_all_bodies_together_hold_no_more_than_they_may_and_small_ones_pass(service: ServiceProcess) -> None:
    with service.client() as client:
        assert client.post("/score", content=b"[" * MEBIBYTE).status_code == 400  # allocates what a first one needs
        before = resident_bytes(service)
        with ExitStack() as crowd, ThreadPoolExecutor(HOLDERS) as threads:
            holders = [crowd.enter_context(connect(service)) for _ in range(HOLDERS)]

            def hold(connection: socket.socket) -> None:
                connection.sendall(head(MAX_BODY_BYTES))
                connection.sendall(b"[" * HELD_BYTES)

            sending = [threads.submit(hold, connection) for connection in holders]
            most, small = 0, 0
            while not all(each.done() for each in sending):
                most = max(most, resident_bytes(service))
                assert client.post("/score", json={"samples": [[0.5] * 64]}).status_code == 200
                small += 1
            most = max(most, resident_bytes(service))
            assert small
            assert most - before < MAX_BODIES_BYTES + ALLOWANCE_BYTES
            refused = [connection for connection in holders if _has_answer(connection)]
            assert len(refused) >= HOLDERS - MAX_BODIES_BYTES // HELD_BYTES
            for connection in refused:
                status, headers, _ = answer_of(connection)
                assert status == 503
                assert int(headers["retry-after"]) >= 1
        eventually_small(service, before)
        assert client.post("/score", content=b"[" * HELD_BYTES).status_code == 400  # there is space again


def _has_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(TIMEOUT_S)


def eventually_small(service: ServiceProcess, before: int) -> None:
    """Wait until memory is back where it was."""
    deadline = time.monotonic() + TIMEOUT_S / 2
    while resident_bytes(service) - before > LEFT_BYTES:
        assert time.monotonic() < deadline, resident_bytes(service) - before
        threading.Event().wait(0.05)


def test_a_body_that_is_too_large_is_too_large_in_one_packet_too(models_dir: Path) -> None:
    body = b'{"seed": 7}'.ljust(8192)
    with ServiceProcess(models_dir, load_models="toy", max_body_bytes=1024).loaded() as strict:
        for pieces in ([head(len(body), "/generate") + body], [head(len(body), "/generate"), body]):
            with connect(strict) as connection:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.05)
                assert answer_of(connection)[0] == 413


@pytest.mark.parametrize("api_workers", [0, 2])
def test_a_body_that_does_not_come_before_the_process_ends_is_told_so(models_dir: Path, api_workers: int) -> None:
    with ExitStack() as crowd:
        process = crowd.enter_context(
            ServiceProcess(models_dir, load_models="toy", drain_timeout_s=0.5, api_workers=api_workers)
        ).loaded()
        half_sent = [crowd.enter_context(connect(process)) for _ in range(5)]
        for path, connection in zip(["/generate", "/score"] * 3, half_sent, strict=False):
            connection.sendall(head(1000, path) + b"{")
        with process.client() as client:
            while metric(client, "ganymede_requests_in_flight") <= len(half_sent):  # the scrape is one of them
                pass
        process.terminate()
        assert [answer_of(connection)[0] for connection in half_sent] == [503] * len(half_sent)
        assert process.wait() == 0
        assert process.lines(level="error") == []


def test_a_body_that_arrives_when_the_process_is_to_end_is_still_answered(models_dir: Path) -> None:
    with ServiceProcess(models_dir, load_models="toy").loaded() as process, connect(process) as connection:
        body = b'{"seed": 7}'
        connection.sendall(head(len(body), "/generate") + body[:-1])
        with process.client() as client:
            while metric(client, "ganymede_requests_in_flight") < 2:  # the scrape is one of them
                pass
        process.terminate()
        process.wait_for("draining")
        connection.sendall(body[-1:])
        status, headers, _ = answer_of(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert process.wait() == 0
