"""The outermost layer: names the request, and accounts for it.

It stands outside every other layer so that it sees each answer whoever gave it. It is pure ASGI, since a wrapper
that buffers or copies the stream would hide disconnects from the layers inside.
"""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.logs import naming
from service.server.accounts import Accounts
from service.server.request_info import attach, exchange_from

# The label of paths that no route has.
UNKNOWN_ROUTE = "none"


class RequestLog:
    """Names each request and writes it down.

    Args:
        app: the layer inside.
        accounts: where it is written.
    """

    def __init__(self, app: ASGIApp, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = exchange_from(scope["headers"])
        attach(scope, exchange)
        if len(exchange.headers) < len(scope["headers"]):  # some came twice, and routes should see one list of each
            scope["headers"] = [
                (name.encode("latin-1"), value.encode("latin-1")) for name, value in exchange.headers.items()
            ]

        async def named_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.started = True
                exchange.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *exchange.answer_headers]
            await send(message)

        began = self._accounts.begin()
        with naming(exchange.names):
            try:
                await self._app(scope, receive, named_send)
            finally:
                route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
                self._accounts.end(scope["method"], scope["path"], route, exchange, began, time.monotonic())
