"""HTTP bytes over real sockets, to a real service: what is fuzzed as one target among the others, `http`.

    input ─▶ a new connection, half closed behind it ─▶ read to the end ─▶ every status of every answer

An answer of 5xx is a finding, except those that HTTP itself asks for (501, 505) and a deadline that the input states
(504). After every `GOLDEN_EVERY` inputs the service must answer a sample with the bytes that it answered before, be
ready, and hold no more memory than `GROWN_BYTES` beyond what it held then. The peak within an input is the service's.
"""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from typing import Final

from benchmarks.contenders.contenders import free_port
from benchmarks.contenders.server import HOST, Caller, Launch, Server
from benchmarks.load.closed_loop import LoadFailed
from benchmarks.load.usage import resident_bytes
from benchmarks.trust import structures
from benchmarks.trust.inputs import MEBIBYTE, Opened, Target, Wrong
from benchmarks.trust.targets import (
    GENERATE_BODIES,
    PACKAGES,
    form,
    image_files,
    inference_bodies,
    with_head,
)
from benchmarks.workplace import LOGS

ANSWER_S: Final = 8.0
GOLDEN_EVERY: Final = 500
GROWN_BYTES: Final = 256 * MEBIBYTE
GOLDEN_PATH: Final = "/generate?format=npy"
GOLDEN: Final = b'{"model": "codes", "seed": 7, "n": 3}'
# Of loopback's addresses: as many times the ports that a closed connection holds for a minute.
SOURCES: Final = 200
EXPECTED: Final = {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
DEADLINES: Final = (b"timeout",)
HEAD: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
BODY_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")
CHUNKED: Final = re.compile(rb"(?i)\r\ntransfer-encoding: chunked\r\n")
LINE_END: Final = b"\r\n"
FORM_PATHS: Final = ("/score?model=plain", "/encode?model=pairs", "/reconstruct?model=pairs&format=png")
READ_PATHS: Final = (
    "/", "/healthz", "/readyz", "/metrics", "/models", "/models/codes/versions/1", "/openapi.json", "/v2",
    "/v2/models/codes", "/models/plain/versions/1/samples/7.png?truncation=0.7", "/v2/repository/index",
)  # fmt: skip
CHUNKED_BODY: Final = b'transfer-encoding: chunked\r\n\r\n9\r\n{"seed": \r\n2\r\n7}\r\n0\r\n\r\n'
CHUNK: Final = re.compile(rb"([0-9a-fA-F]+)\r\n")


def statuses(received: bytes) -> list[int]:
    """The statuses of all answers on one connection; the last may have no whole body.

    Raises:
        Wrong: something is no answer of HTTP.
    """
    found: list[int] = []
    place = 0
    while place < len(received):
        head = HEAD.match(received, place)
        if head is None:
            if b"\r\n\r\n" not in received[place:]:  # cut off within a head
                return found
            raise Wrong(f"this is no answer: {received[place : place + 80]!r}")
        found.append(int(head[1]))
        place = _body_end(received, head)
    return found


def _body_end(received: bytes, head: re.Match[bytes]) -> int:
    place = head.end()
    if int(head[1]) < HTTPStatus.OK:
        return place
    if CHUNKED.search(head[0]):
        while (size := CHUNK.match(received, place)) is not None:
            place = size.end() + int(size[1], 16) + 2
            if int(size[1], 16) == 0:
                return place
        return len(received)
    length = BODY_LENGTH.search(head[0])
    return len(received) if length is None else place + int(length[1])


def exchange(port: int, content: bytes, number: int) -> bytes:
    """Send bytes on a new connection, say that there are no more, and read all that comes.

    Raises:
        Wrong: no end came in time, or the service does not take connections.
    """
    received = bytearray()
    try:
        source = (f"127.0.0.{1 + number % SOURCES}", 0)
        with socket.create_connection((HOST, port), ANSWER_S, source_address=source) as connection:
            with suppress(ConnectionError, BrokenPipeError):  # refused before all of it was read
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionResetError):
                while piece := connection.recv(1 << 16):
                    received += piece
    except ConnectionRefusedError as error:
        raise Wrong("the service takes no connections") from error
    except TimeoutError as error:
        raise Wrong(
            f"no end of the answer in {ANSWER_S:g} s; {len(received)} bytes came: {bytes(received[:80])!r}"
        ) from error
    except OSError as error:
        if not received:
            raise Wrong(f"the connection broke: {error!r}") from error
    return bytes(received)


def launch(port: int, log: str, **settings: object) -> Launch:
    """The start command of a service with the frozen packages; settings by name, in lower case."""
    chosen = {"models_dir": PACKAGES, "default_model": "plain", "port": port, "log_level": "warning"} | settings
    return Launch(
        command=[sys.executable, "-m", "service"],
        environment={f"GANYMEDE_{name.upper()}": str(value) for name, value in chosen.items()},
        log=LOGS / log,
    )


@contextmanager
def opened() -> Iterator[Opened]:
    """A service, and a reader that sends it inputs."""
    port = free_port()
    narrow = {
        "load_models": "plain,codes,conditional,pairs",
        "body_timeout_s": 2,
        "header_timeout_s": 2,
        "max_body_bytes": MEBIBYTE,
        "repository_control": "nobody",
    }
    LOGS.mkdir(parents=True, exist_ok=True)
    with Server(launch(port, "fuzz.log", **narrow)) as server:
        server.ready(port)
        with Caller(port) as caller:
            golden = caller.post(GOLDEN_PATH, GOLDEN)
        held = resident_bytes(server.pid)
        sent = 0

        def check() -> None:
            try:
                with Caller(port) as caller:
                    if caller.post(GOLDEN_PATH, GOLDEN) != golden:
                        raise Wrong("a sample has other bytes than before")
                    caller.get("/readyz")
            except (LoadFailed, OSError, HTTPException) as error:
                raise Wrong(f"the service does not answer as before: {error}") from error
            if (grown := resident_bytes(server.pid) - held) > GROWN_BYTES:
                raise Wrong(f"the service holds {grown // MEBIBYTE} MiB more than before")

        def read(content: bytes) -> None:
            nonlocal sent
            sent += 1
            answers = statuses(exchange(port, content, sent))
            stated = any(word in content.lower() for word in DEADLINES)
            allowed = EXPECTED | ({HTTPStatus.GATEWAY_TIMEOUT} if stated else set())
            for status in answers:
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in allowed:
                    raise Wrong(f"the service answers {status}")
            if sent % GOLDEN_EVERY == 0:
                check()

        yield Opened(read, server.pid)
        check()


def request(method: str, path: str, behind: bytes = LINE_END, *headers: str) -> bytes:
    """A request; what stands behind its line is headers and a body, as `with_head` writes them."""
    lines = (f"{method} {path} HTTP/1.1", "host: x", *headers, "")
    return "\r\n".join(lines).encode() + behind


def _http() -> Target:
    bodies = [with_head(json.dumps(body).encode(), content_type="application/json") for body in GENERATE_BODIES]
    (image, *_) = image_files("PNG")
    seeds = [request("POST", "/generate?format=json", body) for body in bodies]
    seeds += [request("POST", f"/generate?format={name}", bodies[1]) for name in ("png", "webp", "jpeg", "zip", "npy")]
    seeds += [request("POST", "/v2/models/codes/infer", body) for body in inference_bodies()]
    seeds += [request("POST", path, form(image)) for path in FORM_PATHS]
    seeds += [request("POST", "/score?model=plain", with_head(image, content_type="image/png"))]
    seeds += [request("GET", path, LINE_END, "accept: */*", 'if-none-match: "x"') for path in READ_PATHS]
    seeds += [request("POST", GOLDEN_PATH, CHUNKED_BODY), seeds[1] + seeds[2] + seeds[-1]]
    return Target(
        seeds=seeds, declared=(), opened=opened, address_bytes=None,
        own=(structures.head, structures.behind(structures.value), structures.tensors),
    )  # fmt: skip


TARGETS: Final[Mapping[str, tuple[Callable[[], Target], int]]] = {"http": (_http, 8)}
