"""POST /v2/repository: the index of models, and loading and unloading them, which is for operators.

By default operators are programs on the service's own host, since no other host connects from a loopback address. A
browser on this host can be made to send requests by any web page, but then sends an `Origin`, and is refused. Behind a
proxy on this host that adds no `X-Forwarded-For` every caller looks local; there, choose `nobody`, or keys. Where there
are keys, operators have one with the role `admin`, and the rest holds beside it.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

from fastapi import APIRouter, Depends, Request

from service.access.keys import Key
from service.api.context import Context, Parts
from service.api.requests.body import M, validate_json
from service.api.v2.models import Name, names_of
from service.api.v2.schemas import Done, IndexEntry, IndexRequest, LoadRequest, State, UnloadRequest, refusals
from service.errors import Forbidden, InvalidRequest, NotFound, PackageError, Problem
from service.packages.registry import PackageStatus
from service.packages.registry import State as PackageState
from service.server.openapi import request_body
from service.server.request_info import info_of
from service.settings import Control


def check_caller(control: Control, host: str | None, origin: str | None, key: Key | None = None) -> None:
    """Refuse callers that may not change what is served.

    Args:
        host: the caller's address; None where it has none.
        key: that it came with; None where there are no keys.
        origin: the web page that sent the request; None where none did.

    Raises:
        Forbidden: the caller may not.
    """
    if control == "nobody":
        raise Forbidden("models are neither loaded nor unloaded over HTTP here")
    if key is not None and key.role != "admin":
        raise Forbidden("this key may not load or unload models; that takes one with the role admin")
    if control == "key" and key is None:
        raise Forbidden("models are loaded and unloaded with a key of the role admin")
    if control == "loopback" and origin is not None:
        raise Forbidden("a web page may not load or unload models")
    if control == "loopback" and not _is_loopback(host):
        raise Forbidden("models are loaded and unloaded only by programs on the service's own host")


def _is_loopback(host: str | None) -> bool:
    try:
        address = ip_address(host or "")
    except ValueError:  # a Unix socket, or a name that a proxy made up
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


async def check_control(request: Request, parts: Parts) -> None:
    """As `check_caller`, for the caller of a request."""
    host = None if request.client is None else request.client.host
    check_caller(parts.settings.repository_control, host, request.headers.get("origin"), info_of(request.scope).key)


OperatorsOnly = Depends(check_control)


STATES: Final[Mapping[PackageState, State]] = {
    "loading": "LOADING",
    "ready": "READY",
    "refused": "UNAVAILABLE",
    "unloading": "UNLOADING",
    "unloaded": "UNAVAILABLE",
}

# Clients of this protocol send empty bodies, and any media type.
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
    except PackageError as error:  # written for operators, who are the callers here
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
