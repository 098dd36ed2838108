"""The layer that takes requests straight to their endpoints, past routing and dependency injection.

    POST /generate ──▶ its endpoint
    anything else  ──▶ FastAPI ──▶ route ──▶ dependencies ──▶ its endpoint

Finding out which of forty patterns a path matches, and what an endpoint's parameters are, takes FastAPI several times
as long as everything else that one small sample needs, the network included. An endpoint that is asked thousands of
times a second says here what FastAPI would have found out. FastAPI keeps the route: it documents it, answers other
methods, and answers the same itself where this application stands behind another one's prefix.

The layer must stand inside the one that reads the body. It knows no endpoint and no error.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send


class Shortcut(NamedTuple):
    """One way straight to an endpoint.

    Attributes:
        route: that FastAPI has for it; metrics are labelled with its path.
        endpoint: answers a request's scope and whole body.
    """

    route: BaseRoute
    endpoint: Callable[[Scope, bytes], Awaitable[Response]]


class Shortcuts:
    """Answers those requests for which there is a shortcut.

    Args:
        app: the layer inside, which answers all others.
        shortcuts: (method, path) → shortcut.
    """

    def __init__(self, app: ASGIApp, shortcuts: Mapping[tuple[str, str], Shortcut]) -> None:
        self._app = app
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or have it answered."""
        shortcut = self._shortcuts.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if shortcut is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = shortcut.route
        message = await receive()
        response = await shortcut.endpoint(scope, message["body"])
        await response(scope, receive, send)
