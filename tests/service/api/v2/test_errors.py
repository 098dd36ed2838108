"""The protocol's errors: `{"error": "…"}` for whatever goes wrong, in a route, in a layer or before either."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import GanymedeError, InvalidRequest, Problem, QueueFull, SessionFailed
from service.server.lifecycle import Lifecycle
from service.server.problems import error_response
from tests.support.middleware import middleware
from tests.support.serving import TIMEOUT_S, ServiceProcess
from tests.support.toy import write_toy_package


def leaves(kind: type[GanymedeError]) -> list[type[GanymedeError]]:
    below = [leaf for child in kind.__subclasses__() for leaf in leaves(child)]
    return below or [kind]


@pytest.mark.parametrize(
    "error",
    [
        *(kind("why") for kind in leaves(GanymedeError) if kind is not InvalidRequest),
        InvalidRequest(Problem(("body", "inputs"), "why"), Problem(("body", "outputs"), "why not")),
        HTTPException(404),
        HTTPException(405),
        KeyError("why"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_has_one_form_and_a_status_of_the_protocol(error: Exception) -> None:
    for path in ("/v2", "/v2/models/toy/infer"):
        response = error_response(error, {"path": path})
        assert response.media_type == "application/json"
        assert bytes(response.body).startswith(b'{"error":"')
        assert response.status_code >= 400
        assert response.status_code != 422


def test_a_fault_tells_nothing_and_a_full_queue_when_to_come_back() -> None:
    assert b"secret" not in bytes(error_response(SessionFailed("secret"), {"path": "/v2/x"}).body)
    assert error_response(QueueFull("full", 1.2), {"path": "/v2/x"}).headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/systemsharedmemory/status", 404),
        ("POST", "/v2/cudasharedmemory/region/x/register", 404),
        ("GET", "/v2/trace/setting", 404),
        ("GET", "/v2/logging", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("POST", "/v2/models/toy/generate", 404),
        ("GET", "/v2/models/toy/infer", 405),
        ("DELETE", "/v2/models/toy", 405),
        ("POST", "/v2", 405),
        ("GET", "/v2/repository/index", 405),
        ("POST", "/v2/models/toy/infer", 400),
    ],
)
def test_what_is_not_there_or_not_so_is_answered_as_the_protocol_answers(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].endswith(".")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-encoding": "br"}, b"{}", 415),
        ({"x-timeout-ms": "soon"}, b"{}", 400),
        ({"inference-header-content-length": "9"}, b"{}", 400),
        ({}, bytes(16 * 1024 * 1024 + 1), 413),
    ],
    ids=["unknown packer", "no deadline", "no place in the body", "too large"],
)
def test_what_a_layer_or_a_header_spoils_is_answered_likewise(
    client: httpx.Client, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = client.post("/v2/models/toy/infer", headers=headers, content=content)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def answered(layer: ASGIApp) -> tuple[int, bytes]:
    """What a layer answers to an inference."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        scope: Scope = {
            "type": "http", "method": "POST", "path": "/v2/models/toy/infer", "query_string": b"", "headers": []
        }  # fmt: skip
        await layer(scope, receive, send)

    asyncio.run(ask())
    return sent[0]["status"], sent[1]["body"]


async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
    raise KeyError("secret")


def test_a_fault_in_a_route_is_answered_likewise_by_the_layer_that_catches_it() -> None:
    status, body = answered(middleware(faulty))
    assert status == 500
    assert body.startswith(b'{"error":"')
    assert b"secret" not in body


def test_a_process_that_ends_turns_inferences_away_likewise() -> None:
    lifecycle = Lifecycle()
    lifecycle.failed()
    status, body = answered(middleware(faulty, lifecycle=lifecycle))
    assert status == 503
    assert body.startswith(b'{"error":"')


def test_other_paths_keep_their_problem_documents(client: httpx.Client) -> None:
    for path in ("/v2models", "/v20", "/v"):
        assert client.get(path).headers["content-type"] == "application/problem+json"


def test_a_body_that_does_not_come_is_answered_likewise(tmp_path: Path) -> None:
    write_toy_package(tmp_path)
    with (
        ServiceProcess(tmp_path, body_timeout_s=0.3) as hasty,
        socket.create_connection(("127.0.0.1", hasty.loaded().port), TIMEOUT_S) as connection,
    ):
        connection.sendall(b"POST /v2/models/toy/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'\r\n\r\n{"error":"' in answer
