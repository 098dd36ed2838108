"""POST /v2/repository: which models there are, and loading and unloading them, for those who may.

A package is one thing: it is loaded and unloaded by its own name, all of its graphs and all of its versions. Files or
configurations that a request brings along are not taken, since whoever may load a model could then run any.
"""

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request

from service.errors import InvalidRequest, NotFound, PackageError, Problem
from service.packages.catalogue import PackageStatus
from service.packages.catalogue import State as PackageState
from service.routes.context import Context, Parts
from service.routes.control import OperatorsOnly
from service.routes.documentation import request_body
from service.routes.reading import M, validate_json
from service.routes.v2.errors import refusals
from service.routes.v2.graphs import Name, names_of
from service.routes.v2.schemas import Done, IndexEntry, IndexRequest, LoadRequest, State, UnloadRequest

STATES: Final[Mapping[PackageState, State]] = {
    "loading": "LOADING",
    "ready": "READY",
    "refused": "UNAVAILABLE",
    "unloading": "UNLOADING",
    "unloaded": "UNAVAILABLE",
}

# Bodies may be empty, and state any media type: clients of this protocol do.
NO_FIELDS: Final = b"{}"

router = APIRouter(
    prefix="/v2/repository",
    tags=["open inference protocol"],
    dependencies=[OperatorsOnly],
    responses={**refusals(400, 403)},
)


@router.post(
    "/index",
    operation_id="v2_index",
    summary="Which models there are",
    openapi_extra=request_body(IndexRequest, required=False),
)
async def index(request: Request, parts: Parts) -> list[IndexEntry]:
    """List every version of every model, ready or not and why; a model is a graph of a package."""
    asked = await _read(IndexRequest, request, parts)
    return [
        entry
        for status in parts.repository.statuses()
        for entry in _entries(status)
        if entry.state == "READY" or not asked.ready
    ]


@router.post(
    "/models/{name}/load",
    operation_id="v2_load",
    summary="Load a model",
    responses={**refusals(404)},
    openapi_extra=request_body(LoadRequest, required=False),
)
async def load(name: Name, request: Request, parts: Parts) -> Done:
    """Load every version of a package that the folder of models holds, beside what is served of it now.

    The answer comes when they are ready, or when the newest was refused; then the error says why, and older versions
    answer as before.
    """
    await _read(LoadRequest, request, parts)
    _check_package(name)
    try:
        await parts.repository.load(name)
    except PackageError as error:  # its words are for the operator, who is asking
        raise InvalidRequest(Problem(("body",), str(error))) from error
    return Done()


@router.post(
    "/models/{name}/unload",
    operation_id="v2_unload",
    summary="Unload a model",
    responses={**refusals(404)},
    openapi_extra=request_body(UnloadRequest, required=False),
)
async def unload(name: Name, request: Request, parts: Parts) -> Done:
    """Retire every version of a package; requests that have it are answered, and it stays away until it is loaded."""
    await _read(UnloadRequest, request, parts)
    _check_package(name)
    await parts.repository.unload(name)
    return Done()


async def _read(schema: type[M], request: Request, parts: Context) -> M:
    body = await request.body() or NO_FIELDS
    return await parts.offload.run_sized(len(body), validate_json, schema, body)


def _entries(status: PackageStatus) -> list[IndexEntry]:
    reason = status.reason or ("" if status.state == "ready" else status.state)
    return [
        IndexEntry(name=name, version=str(status.key.version), state=STATES[status.state], reason=reason)
        for name in names_of(status)
    ]


def _check_package(name: str) -> None:
    if "." in name:
        raise NotFound("a graph is loaded and unloaded with its package, by the package's name")
