"""Misbehaving clients (too slow, too many, too large, not HTTP) meet limits that do not affect other clients."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric

HEADER_TIMEOUT_S = 1.0
WRITE_TIMEOUT_S = 2.0
MAX_CONNECTIONS = 12
MAX_REQUESTS = 3
LARGE = b'{"model": "large", "seed": 0, "n": 1500}'
LARGE_BYTES = 1500 * 72 * 72 * 3  # 23 MB as an array: more than every buffer on its way
REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture(scope="module")
def strict(models_dir: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(
        models_dir,
        load_models="toy,large",
        header_timeout_s=HEADER_TIMEOUT_S,
        write_timeout_s=WRITE_TIMEOUT_S,
        max_connections=MAX_CONNECTIONS,
        max_requests=MAX_REQUESTS,
    ) as process:
        yield process.loaded()


@pytest.fixture(scope="module")
def bystander(strict: ServiceProcess) -> Iterator[httpx.Client]:
    """A well-behaved client, which must not be affected."""
    with strict.client() as client:
        yield client


def connect(process: ServiceProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S)


def rest_of(connection: socket.socket) -> bytes:
    """Everything until the service closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass  # closed while we were still sending
    return received


def problem_of(answer: bytes, status: int) -> dict[str, object]:
    """The problem document of a response, after which the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    problem: dict[str, object] = json.loads(body)
    assert problem["status"] == status
    assert problem["request_id"] == headers[b"x-request-id"].decode()
    return problem


def post_large(path: str = "/generate?format=npy") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(LARGE)}\r\n\r\n"
    return head.encode() + LARGE


def test_headers_that_do_not_end_are_answered_408(strict: ServiceProcess, bystander: httpx.Client) -> None:
    with connect(strict) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert bystander.get("/healthz").status_code == 200
        assert "headers did not arrive" in str(problem_of(rest_of(connection), 408)["detail"])


def test_a_byte_now_and_then_does_not_buy_time(strict: ServiceProcess) -> None:
    with connect(strict) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx-slow: ")
        closed = threading.Event()

        def trickle() -> None:
            while not closed.wait(HEADER_TIMEOUT_S / 10):
                connection.send(b"a")

        slow = threading.Thread(target=trickle)
        slow.start()
        answer = connection.recv(65536)
        closed.set()
        slow.join()
    problem_of(answer, 408)


def test_a_connection_that_asks_for_nothing_is_closed(strict: ServiceProcess) -> None:
    with connect(strict) as connection:
        assert rest_of(connection) == b""
    with connect(strict) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        connection.sendall(b"\r\n")  # some old clients send a line too many
        problem_of(rest_of(connection), 408)


def test_headers_without_end_are_answered_431(strict: ServiceProcess) -> None:
    with connect(strict) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * 100_000)
        problem_of(rest_of(connection), 431)


def test_what_is_not_http_is_answered_400_like_any_other_error(strict: ServiceProcess) -> None:
    with connect(strict) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # TLS
        assert "HTTP" in str(problem_of(rest_of(connection), 400)["detail"])


def test_a_body_that_was_refused_may_end_but_not_go_on_for_ever(strict: ServiceProcess) -> None:
    head = b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n"
    with connect(strict) as connection:
        connection.sendall(head + bytes(1_000_000))
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_the_end_of_a_refused_body_is_not_taken_for_headers(strict: ServiceProcess) -> None:
    chunk = b"x" * 2**18  # what one read may take
    with connect(strict) as connection:
        connection.sendall(f"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: {128 * len(chunk)}\r\n\r\n".encode())
        answer = connection.recv(1)  # before the body has ended
        for _ in range(128):
            connection.sendall(chunk)
        answer += rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert answer.count(b"HTTP/1.1") == 1


def test_requests_on_one_connection_are_answered_in_order(strict: ServiceProcess) -> None:
    with connect(strict) as connection:
        connection.sendall(REQUEST * 2 + REQUEST[:20])
        connection.sendall(REQUEST[20:-4] + b"\r\nconnection: close\r\n\r\n")
        assert rest_of(connection).count(b"HTTP/1.1 200 OK") == 3


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(strict: ServiceProcess, bystander: httpx.Client) -> None:
    with connect(strict) as connection:
        connection.sendall(post_large())
        strict.wait_for("answer not taken")
        strict.wait_for("request", status=499, path="/generate")
        assert len(rest_of(connection)) < LARGE_BYTES
    assert metric(bystander, "ganymede_requests_in_flight") == 1  # the scrape itself


def test_a_client_that_takes_its_answer_slowly_is_given_all_of_it(strict: ServiceProcess) -> None:
    cut_off = len(strict.lines(event="answer not taken"))
    taken, idle = 0, threading.Event()
    with connect(strict) as connection:
        connection.sendall(post_large())
        for _ in range(5):  # together longer than the timeout
            taken += len(connection.recv(2_000_000))
            idle.wait(WRITE_TIMEOUT_S / 3)
        while taken < LARGE_BYTES:
            taken += len(connection.recv(2_000_000))
    assert len(strict.lines(event="answer not taken")) == cut_off


def test_more_connections_than_there_may_be_are_turned_away(strict: ServiceProcess, bystander: httpx.Client) -> None:
    assert bystander.get("/healthz").status_code == 200
    crowd = [connect(strict) for _ in range(MAX_CONNECTIONS)]
    try:
        for connection in crowd[:-1]:
            connection.sendall(b"GET ")
        problem = problem_of(rest_of(crowd[-1]), 503)
        assert "connections" in str(problem["detail"])
        assert bystander.get("/healthz").status_code == 200
    finally:
        for connection in crowd:
            connection.close()


def test_more_requests_than_may_be_answered_at_a_time_are_refused_and_probes_are_not(
    strict: ServiceProcess, bystander: httpx.Client
) -> None:
    crowd = [connect(strict) for _ in range(MAX_REQUESTS)]
    try:
        for connection in crowd:
            connection.sendall(post_large())  # and takes nothing of it
        while metric(bystander, "ganymede_requests_in_flight") <= MAX_REQUESTS:  # the scrape is one of them
            pass
        refused = bystander.get("/models")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert bystander.get("/healthz").status_code == 200
    finally:
        for connection in crowd:
            connection.close()
