"""HTTP conformance byte by byte: protocol upgrades, half-closed clients, invalid heads.

Clients may reach the service without a proxy in front: Java's client, `nc`, attackers.
"""

import json
import random
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess, metric

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "websocket": b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "tls": b"Upgrade: TLS/1.2\r\nConnection: Upgrade\r\n",
}
SEEDED = b'{"seed": 7}'
# Some tenths of a second of work, answered in one piece.
SLOW = b'{"model": "large", "seed": 7, "n": 800}'
STREAM = b'{"model": "large", "seed": 7, "n": 1500}'
GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n"
# Some tenths of a millisecond to some hundredths of a second each.
SEQUENCES = 120
UNLOAD = b"POST /v2/repository/models/toy/unload HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module", params=[0, 2], ids=["one-process", "workers"])
def service(request: pytest.FixtureRequest, models_dir: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(models_dir, load_models="toy,large,classes", api_workers=request.param) as process:
        yield process.loaded()


def ask(target: bytes, body: bytes = b"", headers: bytes = b"", method: bytes = b"POST") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (method, target, headers, len(body), body)


def chunked(target: bytes, body: bytes, headers: bytes = b"", trailers: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (target, headers)
    middle = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:middle], body[middle:]))
    return head + pieces + b"0\r\n" + trailers + b"\r\n"


def connect(service: ServiceProcess) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """Everything until the service closes."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def answers_to(
    service: ServiceProcess, *pieces: bytes, pause_s: float = 0.05
) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Send these pieces; returns all bytes until the service closes."""
    with connect(service) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s if piece is not pieces[-1] else 0)
        return parsed(rest_of(connection))


def parsed(received: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """All responses in order: status, headers, body."""
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
        status = int(lines[0].split()[1])
        body, received = received[: (length := int(headers.get(b"content-length", 0)))], received[length:]
        assert len(body) == length
        if status != 100:
            answers.append((status, headers, body))
    return answers


def statuses(service: ServiceProcess, *pieces: bytes) -> list[int]:
    return [status for status, _, _ in answers_to(service, *pieces)]


LAST = ask(b"/healthz", headers=b"Connection: close\r\n", method=b"GET")


# Offers to change the protocol


def plain(service: ServiceProcess, target: str, body: bytes) -> tuple[int, bytes]:
    with service.client() as client:
        answer = client.post(target, content=body)
        return answer.status_code, answer.content


POSTS = {
    "/generate?format=npy": SEEDED,
    "/generate?format=npy&": b'{"seed": 7, "n": 3, "nonsense": 1}',
    "/score": b'{"model": "classes", "samples": [[0.5]]}',
    "/v2/models/toy/infer": b'{"inputs": [{"name": "nothing", "shape": [1], "datatype": "FP32", "data": [1]}]}',
}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("form", ["length", "chunks"])
@pytest.mark.parametrize("cut", ["whole", "body-apart", "in-crumbs"])
def test_an_offer_to_upgrade_is_not_taken_and_changes_no_answer(
    service: ServiceProcess, offer: str, form: str, cut: str
) -> None:
    make = ask if form == "length" else chunked
    requests = [make(target.encode(), body, OFFERS[offer]) for target, body in POSTS.items()]
    requests.append(ask(b"/models", headers=OFFERS[offer], method=b"GET"))
    sent = b"".join(requests) + LAST
    pieces = [sent]
    if cut == "body-apart":
        edges = [0, *(sent.index(body) for body in (b"5\r\n" if form == "chunks" else SEEDED,)), len(sent)]
        pieces = [sent[start:stop] for start, stop in pairwise(edges)]
    elif cut == "in-crumbs":
        pieces = [sent[at : at + 97] for at in range(0, len(sent), 97)]
    answers = answers_to(service, *pieces, pause_s=0.002)
    told = [(status, _unnamed(body)) for status, _, body in answers[:-2]]
    assert told == [(status, _unnamed(body)) for status, body in (plain(service, *each) for each in POSTS.items())]
    assert [status for status, _, _ in answers[-2:]] == [200, 200]
    assert service.lines(event="Unsupported upgrade request.") == []


def _unnamed(body: bytes) -> bytes:
    """A body without the request id, which differs between two responses."""
    return body.partition(b'"request_id"')[0]


def test_a_body_behind_an_offer_is_never_run_as_a_request(service: ServiceProcess) -> None:
    for offer in OFFERS.values():
        head, body = ask(b"/generate", UNLOAD, offer).split(b"\r\n\r\n", 1)
        for pieces in ([head + b"\r\n\r\n" + body], [head + b"\r\n\r\n", body]):
            assert statuses(service, *pieces[:-1], pieces[-1] + LAST) == [400, 200]
    assert service.lines(event="request", path="/v2/repository/models/toy/unload") == []


def test_an_offer_is_held_to_the_limits_of_every_request(service: ServiceProcess) -> None:
    offer = OFFERS["h2c"]
    assert statuses(service, ask(b"/generate", SEEDED, offer + b"x: " + b"a" * 40_000 + b"\r\n")) == [431]
    waits = b"Expect: 100-continue\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    head = b"POST /generate?format=npy HTTP/1.1\r\nHost: x\r\n%bContent-Length: 11\r\n\r\n" % waits
    with connect(service) as connection:
        connection.sendall(head)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(SEEDED + LAST)
        assert [status for status, _, _ in parsed(rest_of(connection))] == [200, 200]
    too_large = head.replace(b"Content-Length: 11", b"Content-Length: 100000000")
    with connect(service) as connection:
        connection.sendall(too_large)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_that_asks_for_http2_is_answered_its_seed(service: ServiceProcess) -> None:
    url = f"http://127.0.0.1:{service.port}/generate?format=npy"
    done = subprocess.run(
        ["curl", "--silent", "--http2", url, "--data-binary", SEEDED, "-H", "content-type: application/json"],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    assert (200, done.stdout) == plain(service, "/generate?format=npy", SEEDED)


# Invalid heads


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 505),
        (b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n\x16\x03\x01", 501),
        (chunked(b"/generate", SEEDED, b"Transfer-Encoding: gzip\r\n"), 501),
        (chunked(b"/generate", SEEDED).replace(b": chunked", b": gzip, chunked"), 501),
        (chunked(b"/generate", SEEDED).replace(b": chunked", b": chunked, gzip"), 400),
        (chunked(b"/generate", SEEDED).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (ask(b"/generate", SEEDED, b"X-Long: " + b"a" * 40_000 + b"\r\n"), 431),
        (ask(b"/models", b"", b"X-Long: " + b"a" * 40_000 + b"\r\n", b"GET"), 431),
        (ask(b"/generate", SEEDED, b"X: a\r\n" * 200), 431),
        (ask(b"/generate?" + b"a" * 40_000, SEEDED), 431),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_a_head_that_is_wrong_is_refused_and_ends_the_connection(
    service: ServiceProcess, sent: bytes, status: int
) -> None:
    for before, expected in ((b"", [status]), (ask(b"/generate?format=npy", SEEDED), [200, status])):
        answers = answers_to(service, before + sent + UNLOAD)
        assert [status for status, _, _ in answers] == expected
        assert answers[-1][1][b"content-type"] == b"application/problem+json"
        assert answers[-1][1][b"connection"] == b"close"
    assert service.lines(event="request", path="/v2/repository/models/toy/unload") == []


def test_what_is_refused_unread_is_counted_and_has_its_line(service: ServiceProcess) -> None:
    with service.client() as client:
        before = metric(client, "ganymede_requests_total", route="none", status="501")
        (answer,) = answers_to(service, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n")
        name = answer[1][b"x-request-id"].decode()
        assert service.wait_for("request", request_id=name)["path"] == "elsewhere:443"
        assert metric(client, "ganymede_requests_total", route="none", status="501") == before + 1


def test_a_header_limit_holds_in_pieces_behind_a_request_that_is_being_answered(service: ServiceProcess) -> None:
    long = [b"GET /healthz HTTP/1.1\r\nHost: x\r\n", *[b"X: " + b"a" * 10_000 + b"\r\n"] * 4]
    assert statuses(service, ask(b"/generate?format=png", SLOW), *long) == [200, 431]


def test_trailers_are_no_headers(service: ServiceProcess) -> None:
    trailers = b"Accept: image/png\r\nX-Request-Id: trailed\r\nX-Timeout-Ms: nonsense\r\n"
    sent = chunked(b"/generate", SEEDED, trailers=trailers)
    for pieces in ([sent + LAST], [sent[: -len(trailers)], sent[-len(trailers) :] + LAST]):
        first, _ = answers_to(service, *pieces)
        assert first[0] == 200
        assert first[1][b"content-type"] == b"application/json"
        assert first[1][b"x-request-id"] != b"trailed"


# Bytes after a request


@pytest.mark.parametrize("target", [b"/generate?format=npy", b"/generate?format=npy&seed", b"/score"])
@pytest.mark.parametrize("behind_s", [None, 0.0, 0.002, 0.01])
def test_what_is_no_http_loses_no_answer_to_what_was(
    service: ServiceProcess, target: bytes, behind_s: float | None
) -> None:
    request = ask(target, SEEDED)
    pieces = [request + GARBAGE] if behind_s is None else [request, GARBAGE]
    expected = 200 if target.endswith(b"npy") else 422
    for _ in range(5):
        answers = answers_to(service, *pieces, pause_s=behind_s or 0.0)
        assert [status for status, _, _ in answers] == [expected, 400]


@pytest.mark.parametrize("body", [SLOW, STREAM], ids=["whole", "stream"])
def test_a_slow_answer_is_not_lost_to_what_is_no_http(service: ServiceProcess, body: bytes) -> None:
    for pieces in ([ask(b"/generate?format=npy", body) + GARBAGE], [ask(b"/generate?format=npy", body), GARBAGE * 99]):
        first, second = answers_to(service, *pieces)
        assert (first[0], second[0]) == (200, 400)
        assert len(first[2]) == 128 + json.loads(body)["n"] * 72 * 72 * 3


def test_a_body_that_breaks_off_is_refused_behind_the_answers_before_it(service: ServiceProcess) -> None:
    broken = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    assert statuses(service, broken, b"no length\r\n") == [400]
    assert statuses(service, ask(b"/generate?format=png", SLOW) + broken, b"no length\r\n" + UNLOAD) == [200, 400]


# Half-closed clients


def half_closed(service: ServiceProcess, sent: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    with connect(service) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return parsed(rest_of(connection))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (ask(b"/generate?format=npy", SEEDED), [200]),
        (ask(b"/generate?format=npy", SLOW), [200]),
        (ask(b"/generate?format=npy", STREAM), [200]),
        (ask(b"/score", SEEDED), [422]),
        (ask(b"/readyz", method=b"GET"), [200]),
        (ask(b"/metrics", method=b"GET"), [200]),
        (b"GET /models HTTP/1.0\r\n\r\n", [200]),
        (ask(b"/generate?format=png", SLOW) + ask(b"/models", method=b"GET"), [200, 200]),
        (ask(b"/generate?format=png", SLOW) + ask(b"/generate?format=npy", SEEDED)[:-1], [200]),
        (ask(b"/generate?format=png", SLOW) + GARBAGE, [200, 400]),
        (ask(b"/generate", SEEDED)[:-1], []),
        (b"", []),
    ],
)
def test_who_ends_their_side_is_answered_what_they_asked_whole(
    service: ServiceProcess, sent: bytes, expected: list[int]
) -> None:
    assert [status for status, _, _ in half_closed(service, sent)] == expected


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("behind", [b"", ask(b"/models", method=b"GET"), ask(b"/score", SEEDED) * 3])
@pytest.mark.parametrize("target", [b"/generate?format=png", b"/generate?format=npy"])
def test_who_has_gone_ends_every_request_of_theirs(
    service: ServiceProcess, target: bytes, behind: bytes, reset: bool
) -> None:
    longest = b'{"model": "large", "seed": 7, "n": 1024}'
    name = b"gone-%d" % time.monotonic_ns()
    with connect(service) as connection:
        connection.sendall(ask(target, longest, b"X-Request-Id: %b\r\n" % name) + behind)
        time.sleep(0.05)  # it has begun, or is about to
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line = service.wait_for("request", request_id=name.decode())
    assert line["status"] == 499
    assert service.lines(level="error") == []
    with service.client() as client:
        client.post("/generate", json={"model": "large"})
        assert metric(client, "ganymede_queue_samples") == 0


# HEAD, and list headers


def test_head_is_answered_wherever_get_is_as_get_without_the_body(service: ServiceProcess) -> None:
    with service.client() as client:
        document = client.get("/openapi.json").json()
        named = {"name": "toy", "version": "2", "seed": "7", "form": "png"}
        paths = [path.format(**named) for path, operations in document["paths"].items() if "get" in operations]
        assert len(paths) > 10
        for path in (*paths, "/openapi.json", "/docs", "/docs/assets/swagger-ui.css"):
            got, headed = client.get(path), client.head(path)
            assert (headed.status_code, headed.content) == (got.status_code, b""), path
            changing = {"date", "x-request-id"} | ({"content-length"} if path == "/metrics" else set())
            for answer in (got, headed):
                for name in changing & answer.headers.keys():
                    del answer.headers[name]
            assert headed.headers == got.headers, path
        assert client.head("/generate").status_code == 405
        assert client.delete("/models").headers["allow"] == "GET, HEAD"
        assert service.wait_for("request", method="HEAD", path="/models")["status"] == 200
        counted = metric(client, "ganymede_requests_total", route="/models/{name}", status="200")
        assert client.head("/models/toy").status_code == 200
        assert metric(client, "ganymede_requests_total", route="/models/{name}", status="200") == counted + 1


@pytest.mark.parametrize("joined", [True, False])
def test_a_list_may_be_in_one_header_or_in_several(service: ServiceProcess, joined: bool) -> None:
    def lines(name: str, *values: str) -> list[tuple[str, str]]:
        return [(name, ", ".join(values))] if joined else [(name, value) for value in values]

    with service.client() as client:
        sample = client.get("/models/toy/versions/2/samples/7.png", follow_redirects=True)
        known = lines("if-none-match", '"another"', sample.headers["etag"])
        assert client.get(sample.url, headers=known).status_code == 304
        image = lines("accept", "text/plain", "image/png")
        for content in (SEEDED, SEEDED.ljust(20_000)):
            answer = client.post("/generate", content=content, headers=image)
            assert answer.headers["content-type"] == "image/png"
        tensor = {"name": "latent", "shape": [64, 16], "datatype": "FP32", "data": [0.0] * 1024}
        packed = client.post(
            "/v2/models/toy/infer",
            content=json.dumps({"inputs": [tensor]}),
            headers=lines("accept-encoding", "br", "gzip"),
        )
        assert packed.headers.get("content-encoding") == "gzip", packed.text


# Combinations


def test_however_they_are_sent_requests_in_a_row_are_answered_each_as_alone(service: ServiceProcess) -> None:
    chance = random.Random(1)  # noqa: S311  (cuts, not secrets)
    for _ in range(SEQUENCES):
        offers = chance.choice([b"", *OFFERS.values()])
        whole = chance.choices(
            [
                (ask(b"/generate?format=npy", SEEDED, offers), 200),
                (chunked(b"/generate?format=npy", SEEDED, offers, b"X-Trailer: 1\r\n"), 200),
                (ask(b"/generate", b"{", offers), 400),
                (ask(b"/score", b"[" * 100_000, offers), 400),
                (ask(b"/models", b"", offers, b"GET"), 200),
                (ask(b"/v2/models/toy/infer", UNLOAD, offers), 400),
            ],
            k=chance.randint(1, 5),
        )
        behind, ends = chance.choice([(LAST, [200]), (GARBAGE, [400]), (b"", [])])
        sent = b"".join(request for request, _ in whole) + behind
        edges = [0, *sorted(chance.sample(range(1, len(sent)), chance.choice([0, 1, 2, 9]))), len(sent)]
        with connect(service) as connection:
            for start, stop in pairwise(edges):
                connection.sendall(sent[start:stop])
                time.sleep(chance.choice([0.0, 0.0, 0.001, 0.005]))
            if not behind:
                connection.shutdown(socket.SHUT_WR)
            answers = parsed(rest_of(connection))
        assert [status for status, _, _ in answers] == [status for _, status in whole] + ends, edges
    assert service.lines(level="error") == service.lines(level="warning") == []
