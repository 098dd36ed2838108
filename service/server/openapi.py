"""GET /docs: the OpenAPI document as a page to try it on, with nothing fetched from another host.

Swagger UI's script and style are those that `fastapi-offline` carries, instead of a content network's: a service often
stands where a browser reaches nothing else. Addresses are
relative, so that the page works behind any prefix of a proxy.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from service.server.problems import JSON, MEDIA_TYPE, ProblemDetails

ASSETS = "/docs/assets"
# What is the same in every installation, of one page and its files.
PATHS: Final = frozenset({"/docs", "/openapi.json"})
FOLDERS: Final = (ASSETS + "/",)
# No other site may show the page in a frame of its own and have a visitor press its buttons unawares (clickjacking).
# Of scripts that stand in the page itself only its own runs, known by its hash; Swagger UI's parts have own styles.
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'sha256-{script}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Answer the page."""
    here = ASSETS.removeprefix("/")
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Ganymede",
        swagger_js_url=f"{here}/swagger-ui-bundle.js",
        swagger_css_url=f"{here}/swagger-ui.css",
        swagger_favicon_url=f"{here}/favicon.png",
    )
    (script,) = SCRIPT.findall(bytes(page.body))
    page.headers["content-security-policy"] = POLICY.format(script=b64encode(sha256(script).digest()).decode())
    page.headers["x-frame-options"] = "SAMEORIGIN"  # for browsers that do not know frame-ancestors
    page.headers["referrer-policy"] = "no-referrer"
    return page


def assets() -> StaticFiles:
    """The files that the page names, to be mounted at `ASSETS`."""
    return StaticFiles(packages=[("fastapi_offline", "static")])


REF = "#/components/schemas/{model}"
BINARY: Mapping[str, object] = {"schema": {"type": "string", "format": "binary"}}
SECURITY_SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "a key, where the operator asks for one"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key, for browsers"},
}
# Errors whose answer says when to come back.
RETRYABLE = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
# What may be answered before a route is asked: limits of headers and bodies, faults; and, of all but probes, the gate.
LAYERS_ANSWER_PROBES: Final = (408, 413, 431, 500)
LAYERS_ANSWER: Final = (*LAYERS_ANSWER_PROBES, 429, 503)
WORDS: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "The service asks for keys, and this request has none that it knows.",
    403: "The caller may not do this.",
    404: "No such model or version.",
    406: "No form of the answer that the caller accepts.",
    408: "The body came too slowly.",
    413: "The body, or an image in it, is too large.",
    415: "A body of this media type is not read.",
    422: "The request reads but is not valid; `errors` names every place.",
    429: "The queue is full, the service is answering as many requests as it may, or the key has asked for its share.",
    431: "The address and the headers together are too large.",
    500: "A fault of the service; the request id leads its operator to the cause.",
    503: "The model is loading, the service is shutting down, or it is reading as many bodies as it may.",
    504: "The request's deadline passed before its samples were computed.",
}


class DocumentedAPI(FastAPI):
    """A FastAPI application whose document also holds the schemas that only `$ref` names, inside layers of our own."""

    referenced: Sequence[type[BaseModel]] = ()
    asks_for_keys = False
    open_paths: Collection[str] = ()
    _outermost: ASGIApp | None = None

    def surround(self, layer: Callable[[ASGIApp], ASGIApp]) -> None:
        """Put a layer around everything that FastAPI does; what it answers itself costs nothing of that."""
        self._outermost = layer(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live through the application's life."""
        await (self._outermost or super().__call__)(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Answer the document; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _drop_defaults(document)
            _put_json_first(document)
            _, definitions = models_json_schema([(model, "validation") for model in self.referenced], ref_template=REF)
            document["components"]["schemas"] |= definitions["$defs"]
            document["components"]["securitySchemes"] = SECURITY_SCHEMES
            if self.asks_for_keys:
                document["security"] = [{scheme: []} for scheme in SECURITY_SCHEMES]
                for path in document["paths"].keys() & set(self.open_paths):
                    for operation in document["paths"][path].values():
                        operation["security"] = []
        return super().openapi()


def _drop_defaults(document: dict[str, Any]) -> None:
    """Drop what FastAPI says of validation errors: ours have another form, and stand where they can happen."""
    for path in document["paths"].values():
        for operation in path.values():
            if JSON in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _put_json_first(document: dict[str, Any]) -> None:
    """Name the form that who asks for none is answered before the others; readers take the first they know."""
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                if JSON in (content := response.get("content", {})):
                    response["content"] = {JSON: content.pop(JSON)} | content


def request_body(
    model: type[BaseModel], *, required: bool, others: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Describe a body that the route reads itself.

    Args:
        model: what its JSON must be.
        required: whether there must be one.
        others: what else it may be, by media type.
    """
    content = {JSON: {"schema": {"$ref": REF.format(model=model.__name__)}}} | dict(others or {})
    return {"requestBody": {"required": required, "content": content}}


def link(operation_id: str, description: str, *, body: object = None, **parameters: str) -> dict[str, object]:
    """Describe how an answer leads to the next request.

    Args:
        operation_id: of the next.
        description: what it gives.
        body: of the next, with runtime expressions for what the answer says.
        **parameters: of the next, as runtime expressions.
    """
    described: dict[str, object] = {"operationId": operation_id, "description": description}
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = body
    return described


def problems(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Describe the errors that a route may answer, each as `application/problem+json`."""
    return {status: _problem(HTTPStatus(status)) for status in statuses}


def _problem(status: HTTPStatus) -> dict[str, object]:
    example = ProblemDetails(title=status.phrase, status=status, detail=WORDS[status], request_id="8f14e45fceea4e7d")
    described: dict[str, object] = {
        "description": WORDS[status],
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": REF.format(model=ProblemDetails.__name__)},
                "example": example.model_dump(mode="json", exclude_none=True),
            }
        },
    }
    if status is HTTPStatus.UNAUTHORIZED:
        described["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`"}}
    if status in RETRYABLE:
        described["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "seconds after which to try again"}
        }
    return described
