"""Which requests go straight to their endpoint, and that they are answered as on FastAPI's way to it."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.app import create_app
from service.routes.shortcuts import Shortcut, Shortcuts
from service.settings import Settings
from tests.toy import write_toy_package

ROUTE = Route("/sample", lambda _: Response())
PREFIX = "/behind/a/proxy"
# Right ones first; each wrong one is wrong in one place.
REQUESTS: list[tuple[str, dict[str, str], str]] = [
    ("format=npy", {}, '{"n": 3, "seed": 7}'),
    ("format=png&format=npy", {"x-timeout-ms": "5000"}, '{"seed": 7}'),
    ("", {"accept": "image/png"}, '{"seed": 7}'),
    ("format=bmp", {}, ""),
    ("formt=npy", {}, ""),
    ("", {"x-timeout-ms": "soon"}, ""),
    ("", {"x-timeout-ms": "0"}, ""),
    ("", {"accept": "text/plain"}, ""),
    ("", {"content-type": "text/plain"}, "{}"),
    ("", {}, "{"),
    ("", {}, '{"n": 0}'),
    ("", {}, '{"model": "nobody"}'),
]


async def around(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("the long way")(scope, receive, send)


async def straight(scope: Scope, body: bytes) -> Response:
    assert scope["route"] is ROUTE
    return PlainTextResponse(b"straight: " + body)


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("POST", "/sample", "straight: body"),
        ("POST", "/sample?format=npy", "straight: body"),
        ("GET", "/sample", "the long way"),
        ("POST", "/sample/", "the long way"),
        ("POST", "/prefix/sample", "the long way"),
    ],
)
def test_only_the_very_method_and_path_go_straight(method: str, path: str, answer: str) -> None:
    app = Shortcuts(around, {("POST", "/sample"): Shortcut(ROUTE, straight)})

    async def scenario() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return (await client.request(method, path, content=b"body")).text

    assert asyncio.run(scenario()) == answer


def test_both_ways_answer_the_same(tmp_path: Path) -> None:
    write_toy_package(tmp_path, discriminator=False)
    app = create_app(Settings(models_dir=tmp_path, default_model="toy", model_threads=1, max_batch_samples=4))

    async def answers(inner: ASGIApp, root_path: str) -> list[tuple[int, bytes, str | None]]:
        transport = httpx.ASGITransport(inner, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return [
                (answer.status_code, answer.content, answer.headers.get("x-seeds"))
                for query, headers, body in REQUESTS
                for answer in [
                    await client.post(
                        f"{root_path}/generate?{query}", content=body, headers={"x-request-id": "same"} | headers
                    )
                ]
            ]

    async def scenario() -> None:
        async with app.router.lifespan_context(app) as state:
            assert state is not None
            while not state["context"].repository.ready:  # noqa: ASYNC110  (nobody but the operator waits for it)
                await asyncio.sleep(0)

            async def serving(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state)}, receive, send)

            direct = await answers(serving, "")
            assert await answers(serving, PREFIX) == direct
            assert [status for status, _, _ in direct] == [200] * 3 + [422] * 4 + [406, 415, 400, 422, 404]

    asyncio.run(scenario())
