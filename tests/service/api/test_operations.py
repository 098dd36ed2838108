"""Operations answer as FastAPI itself would have its routes answer: the same bytes, and the same words for mistakes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.context import INLINE_BYTES, Context
from service.api.operations import read_query, read_timeout_ms
from service.api.schemas.requests import GenerateQuery
from service.app import API, PROTOCOL, create_app
from service.errors import GanymedeError, InvalidRequest
from service.server.problems import answer_error
from service.server.request_info import attach, request_info
from service.settings import Settings
from tests.support.toy import write_toy_package

NAMED = {"x-request-id": "mine"}
REQUESTS: list[tuple[str, dict[str, str], str, int]] = [
    ("/generate?format=npy", {}, '{"n": 3, "seed": 7}', 200),
    ("/generate?format=png&format=npy", {"x-timeout-ms": "5000"}, '{"seed": 7}', 200),
    ("/generate", {"accept": "image/png"}, '{"seed": 7}', 200),
    ("/generate", {"content-type": "application/json; charset=utf-8"}, '{"seed": 7, "truncation": 1.0}', 200),
    ("/generate?format=webp", {}, '{"seeds": "0-15,99"}', 200),
    ("/generate?dtype=float32&format=npy", {}, '{"seeds": [1, 2]}', 200),
    ("/generate?format=zip", {}, '{"n": 3, "seed": 7}', 200),
    ("/generate?format=npy", {}, '{"n": 2000, "seed": 7}', 200),
    ("/generate", {}, '{"seed": 7}' + " " * INLINE_BYTES, 200),
    ("/generate?format=bmp", {}, "", 422),
    ("/generate?formt=npy", {}, "", 422),
    ("/generate", {"x-timeout-ms": "soon"}, "", 422),
    ("/generate", {"x-timeout-ms": "0"}, "", 422),
    ("/generate", {"accept": "text/plain"}, "", 406),
    ("/generate", {"content-type": "text/plain"}, "{}", 415),
    ("/generate", {}, "{", 400),
    ("/generate", {}, '{"n": 0}', 422),
    ("/generate", {}, '{"model": "nobody"}', 404),
    ("/score", {}, '{"images": []}', 422),
    ("/score?nonsense=1", {}, '{"values": [[1.0]]}', 422),
    ("/v2/models/toy/infer", {}, '{"inputs": [], "parameters": {"seed": 7, "n": 2}}', 200),
    ("/v2/models/toy/versions/1/infer", {}, '{"inputs": [], "parameters": {"seed": 7}}', 200),
    ("/v2/models/toy/versions/9/infer", {}, '{"inputs": []}', 404),
    ("/v2/models/nobody/infer", {}, "{}", 404),
]
PAGES: list[tuple[str, dict[str, str], int]] = [
    ("/models/toy/versions/1/samples/7.png", {}, 307),
    ("/models/toy/versions/1/samples/7.bmp", {}, 422),
    ("/models/toy/versions/1/samples/seven.png?stak=1", {}, 422),
    ("/models/toy/versions/1/samples/7.png?codes=a&codes=b:c", {}, 422),
    ("/models/toy/versions/1/samples/7.npy?stack=STACK", {}, 200),
    ("/models/toy/versions/1/samples/7.npy?stack=STACK", {"if-none-match": "*"}, 304),
    ("/models/toy/versions/7/samples/7.npy", {}, 404),
]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[FastAPI, Context]]:
    """The whole application, its package loaded."""
    write_toy_package(folder)
    app = create_app(Settings(models_dir=folder, default_model="toy", model_threads=1, max_batch_samples=4))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        parts: Context = state["context"]
        while not parts.repository.ready:  # noqa: ASYNC110  (it loads on a thread)
            await asyncio.sleep(0)
        yield app, parts


def asked(app: ASGIApp, parts: Context) -> httpx.AsyncClient:
    async def serving(scope: Scope, receive: Receive, send: Send) -> None:
        attach(scope, request_info(scope["headers"]))
        scope["state"]["context"] = parts
        await app(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(serving), base_url="http://localhost", headers=NAMED)


def same(status: int, ours: httpx.Response, its: httpx.Response) -> None:
    assert ours.status_code == its.status_code == status, (ours.url, ours.text)
    assert ours.content == its.content
    told = {"x-request-id", "x-content-type-options"}  # by the middleware, to every request
    assert {name: value for name, value in ours.headers.items() if name not in told} == dict(its.headers)


def test_an_operation_answers_as_fastapi_would(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(tmp_path) as (app, parts):
            alone = FastAPI(
                exception_handlers=dict.fromkeys((GanymedeError, HTTPException, RequestValidationError), answer_error)
            )
            for router in (*API, *PROTOCOL):
                alone.include_router(router)
            async with asked(app, parts) as ours, asked(alone, parts) as its:
                for url, headers, body, status in REQUESTS:
                    same(status, *[await each.post(url, content=body, headers=headers) for each in (ours, its)])
                stack = (await ours.get("/models/toy/versions/1")).json()["stack"]
                for url, headers, status in PAGES:
                    named = url.replace("STACK", stack)
                    same(status, *[await each.get(named, headers=headers) for each in (ours, its)])

    asyncio.run(scenario())


def places(read: Callable[[], object]) -> list[tuple[str | int, ...]]:
    with pytest.raises(InvalidRequest) as caught:
        read()
    return [problem.loc for problem in caught.value.problems]


def test_the_parameters_of_an_address_are_read() -> None:
    assert read_query(GenerateQuery, b"") == GenerateQuery()
    assert read_query(GenerateQuery, b"format=npy&dtype=float32") == GenerateQuery(format="npy", dtype="float32")
    assert read_query(GenerateQuery, b"format=%6Epy").format == "npy"


def test_the_last_of_a_parameter_that_comes_twice_counts() -> None:
    assert read_query(GenerateQuery, b"format=png&format=npy").format == "npy"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"format=bmp", [("query", "format")]),
        (b"format=", [("query", "format")]),
        (b"formt=npy", [("query", "formt")]),
        (b"format=bmp&size=3", [("query", "format"), ("query", "size")]),
    ],
)
def test_what_is_wrong_with_an_address_is_named(query: bytes, found: list[tuple[str, ...]]) -> None:
    assert places(lambda: read_query(GenerateQuery, query)) == found


def test_a_deadline_is_read_where_one_was_sent() -> None:
    assert read_timeout_ms({}) is None
    assert read_timeout_ms({"x-timeout-ms": "5000"}) == 5000


@pytest.mark.parametrize("sent", ["", "soon", "0", "-1", "1.5", "600001", "1e3", "9" * 5000])
def test_a_deadline_that_is_none_is_refused_with_its_place(sent: str) -> None:
    assert places(lambda: read_timeout_ms({"x-timeout-ms": sent})) == [("header", "x-timeout-ms")]
