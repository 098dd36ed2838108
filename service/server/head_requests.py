"""HEAD wherever there is GET: what GET would answer, without the body.

The routes below see GET. The server sees HEAD, and leaves the body out; it has a scope of its own for that.

References:
    RFC 9110, HTTP Semantics, §9.1: GET and HEAD are the methods that every server has.
"""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """The layer that has HEAD answered as GET.

    Args:
        app: the layer inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked: Scope = {**scope, "method": "GET"}
        try:
            await self._app(asked, receive, send)
        finally:
            if "route" in asked:
                scope["route"] = asked["route"]  # for those outside, who name it
