"""Request framing: split, pipelined, HTTP/1.0 and last requests of a connection."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric

PAUSE_S = 0.05
BODY_TIMEOUT_S = 1.0
# Some tenths of a second of work, answered in one piece.
SLOW = b'{"model": "large", "seed": 7, "n": 800}'


@pytest.fixture(scope="module")
def service(models_dir: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(models_dir, body_timeout_s=BODY_TIMEOUT_S, load_models="toy,large") as process:
        yield process.loaded()


def request(body: bytes, *headers: bytes, query: bytes = b"format=npy", version: bytes = b"1.1") -> bytes:
    lines = [b"POST /generate?" + query + b" HTTP/" + version, b"host: x", *headers]
    return b"\r\n".join((*lines, b"content-length: %d" % len(body), b"", body))


class Connection:
    """A raw connection."""

    def __init__(self, service: ServiceProcess) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), TIMEOUT_S)
        self._received = b""
        self.head = b""  # of the last answer

    def send(self, *pieces: bytes) -> None:
        """Send each piece in a separate packet."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self._socket.sendall(piece)
            time.sleep(PAUSE_S)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next response."""
        self.head = head = self._until(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return int(head.split()[1]), body

    def interim(self) -> bytes:
        """The next response, which has no body."""
        return self._until(b"\r\n\r\n")

    def ends(self) -> bool:
        """Whether the service closes the connection without further bytes."""
        return self._received == b"" and self._socket.recv(1) == b""

    def close(self) -> None:
        self._socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(mark)
        return head

    def _receive(self) -> None:
        piece = self._socket.recv(65536)
        assert piece, "the service closed the connection"
        self._received += piece


@pytest.fixture
def connection(service: ServiceProcess) -> Iterator[Connection]:
    made = Connection(service)
    yield made
    made.close()


def array(service: ServiceProcess, seed: int) -> bytes:
    with service.client() as client:
        answer = client.post("/generate", params={"format": "npy"}, json={"seed": seed})
        assert answer.status_code == httpx.codes.OK
        return answer.content


def test_however_it_is_cut_into_packets_the_answer_is_the_same(service: ServiceProcess, connection: Connection) -> None:
    whole = request(b'{"seed": 7}')
    expected = 200, array(service, 7)
    for cuts in ([], [10], [len(whole) - 11], [len(whole) - 4], [20, len(whole) - 12, len(whole) - 1]):
        edges = [0, *cuts, len(whole)]
        connection.send(*(whole[start:stop] for start, stop in pairwise(edges)))
        assert connection.answer() == expected


def test_requests_in_a_row_are_answered_in_their_order(service: ServiceProcess, connection: Connection) -> None:
    bodies = [b'{"seed": 1}', b'{"seed": 2, "nonsense": 1}', b'{"seed": 3}', b'{"seed": 4}']
    connection.send(b"".join(map(request, bodies)))
    answers = [connection.answer() for _ in bodies]
    assert [status for status, _ in answers] == [200, 422, 200, 200]
    assert [body for status, body in answers if status == httpx.codes.OK] == [
        array(service, seed) for seed in (1, 3, 4)
    ]


def test_another_method_or_address_between_them_changes_nothing(
    service: ServiceProcess, connection: Connection
) -> None:
    health = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    wrong = b"DELETE /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    connection.send(request(b'{"seed": 1}') + health, wrong + request(b'{"seed": 2}'))
    first, second, third, fourth = (connection.answer() for _ in range(4))
    assert first == (200, array(service, 1))
    assert (second[0], third[0]) == (200, 405)
    assert fourth == (200, array(service, 2))


def test_chunks_and_asking_first_change_nothing(service: ServiceProcess, connection: Connection) -> None:
    head = b"POST /generate?format=npy HTTP/1.1\r\nhost: x\r\n"
    connection.send(head + b'transfer-encoding: chunked\r\n\r\n5\r\n{"see\r\n6\r\nd": 7}\r\n0\r\n\r\n')
    assert connection.answer() == (200, array(service, 7))
    connection.send(head + b"expect: 100-continue\r\ncontent-length: 11\r\n\r\n")
    assert connection.interim().startswith(b"HTTP/1.1 100")
    connection.send(b'{"seed": 7}')
    assert connection.answer() == (200, array(service, 7))


@pytest.mark.parametrize(("version", "headers"), [(b"1.1", [b"connection: close"]), (b"1.0", [])])
def test_who_wants_one_answer_gets_one(
    service: ServiceProcess, connection: Connection, version: bytes, headers: list[bytes]
) -> None:
    connection.send(request(b'{"seed": 7}', *headers, version=version))
    assert connection.answer() == (200, array(service, 7))
    assert connection.ends()


def test_an_answer_larger_than_a_write_arrives_whole(service: ServiceProcess, connection: Connection) -> None:
    connection.send(request(b'{"model": "large", "seed": 7, "n": 20}'))
    status, body = connection.answer()
    assert status == httpx.codes.OK
    with service.client() as client:
        many = client.post("/generate", params={"format": "npy"}, content=b'{"model": "large", "seed": 7, "n": 20}')
        assert body == many.content


def test_each_request_has_its_line_and_its_count(service: ServiceProcess) -> None:
    with service.client() as client:
        client.post("/generate", json={"seed": 7}, headers={"x-request-id": "counted-once"})
        line = service.wait_for("request", request_id="counted-once")
        assert (line["method"], line["path"], line["status"], line["level"]) == ("POST", "/generate", 200, "info")
        assert 'ganymede_requests_total{route="/generate",status="200"}' in client.get("/metrics").text


def test_a_body_that_is_no_http_is_answered_400_once(connection: Connection) -> None:
    connection.send(b"POST /generate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno length\r\n")
    assert connection.answer()[0] == httpx.codes.BAD_REQUEST
    assert connection.ends()


def test_a_body_that_does_not_end_is_answered_408(connection: Connection) -> None:
    connection.send(request(b'{"seed": 7}')[:-1])
    assert connection.answer()[0] == httpx.codes.REQUEST_TIMEOUT


@pytest.mark.parametrize("path", ["/generate", "/v2/models/toy/infer", "/healthz"])
def test_a_path_that_ends_a_line_is_another_path(service: ServiceProcess, path: str) -> None:
    with service.client() as client:
        assert client.post(f"{path}%0A", json={}).status_code == httpx.codes.NOT_FOUND
        assert client.get(f"{path}%0A").status_code == httpx.codes.NOT_FOUND


def test_who_leaves_is_written_down_and_leaves_nothing_behind(service: ServiceProcess) -> None:
    leavers = [Connection(service) for _ in range(8)]
    for leaver in leavers:
        leaver.send(request(SLOW, b"x-request-id: leaver", query=b"format=png"))
    for leaver in leavers:
        leaver.close()
    service.wait_for("request", request_id="leaver", status=499)
    with service.client() as client:
        client.post("/generate", json={"model": "large"})  # behind all requests that are still queued
        assert metric(client, "ganymede_queue_samples") == 0
        assert metric(client, "ganymede_requests_in_flight") == 1  # the scrape itself


def test_what_is_answered_while_the_process_drains_is_the_last_of_its_connection(models_dir: Path) -> None:
    with (
        ServiceProcess(models_dir, load_models="large").loaded() as process,
        closing(Connection(process)) as connection,
    ):
        connection.send(request(SLOW, query=b"format=png"))
        process.terminate()
        assert connection.answer()[0] == httpx.codes.OK
        assert b"\r\nconnection: close" in connection.head
        assert connection.ends()
        assert process.wait() == 0
