"""Operations of the data plane: FastAPI documents them, and they are called without its routing and injection.

    request ─▶ Operations.find ─▶ Operation.answer ─▶ endpoint(call, query, path parameters) ─▶ response

An endpoint is written as for FastAPI, and `Operation`, a route class of its, binds the few kinds of arguments that
endpoints here have: the call itself, a model of the query, parameters of the path, headers. FastAPI's solver would bind
the same values, in several times as long as a small sample takes.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Annotated, Any, Final, TypeVar, get_origin
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Header, Request, params
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import Scope

from service.access.keys import Key
from service.access.quotas import headers_of, limit_of
from service.api.context import Context, TimeBudget, budget_for, context_of
from service.engine.interface import Share
from service.errors import InvalidRequest, Problem, QuotaExceeded
from service.server.problems import validation_problems
from service.server.request_info import RequestInfo, info_of

Q = TypeVar("Q", bound=BaseModel)

# Ten minutes: 50,000 samples of a large generator on a CPU. Longer work belongs into several requests.
MAX_TIMEOUT_MS: Final = 600_000
# Callers ask with few different queries, such as `format=npy`; one that asks with ever new ones pays for them alone.
KNOWN_QUERIES: Final = 64
_TIMEOUT_MS: Final[TypeAdapter[int]] = TypeAdapter(Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)])


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the data plane that is here whole.

    Attributes:
        parts: of the running service.
        info: what is known of it.
        headers: by name in lower case.
        body: all of it.
        timeout_ms: deadline that it asks for; None takes the service's own for each of its jobs.
    """

    parts: Context
    info: RequestInfo
    headers: Mapping[str, str]
    body: bytes
    timeout_ms: int | None

    def budget(self) -> TimeBudget:
        """Begin to count the time that it may spend in the engine."""
        return budget_for(self.timeout_ms, self.parts.settings)

    async def charge(self, key: Key, samples: int) -> Share:
        """Count samples that are to be computed, against the quota of the request's key where that has one.

        Args:
            samples: in all of the request, at least 1.

        Returns:
            For whom they are computed.

        Raises:
            InvalidRequest: they are more than the key may ever ask for at once.
            QuotaExceeded: they are more than it may ask for now.
        """
        parts, info, limit = self.parts, self.info, limit_of(key)
        if limit is None:
            parts.telemetry.keys.asked(key.name, samples)
            return Share(key.name, key.weight)
        if samples > limit.burst:
            words = (
                f"this key may ask for at most {limit.burst} samples at once, and these are {samples}; ask for fewer"
            )
            raise InvalidRequest(Problem(("body",), words))
        standing = await parts.quotas.take(key.name, limit, samples)
        info.added_headers += headers_of(limit, standing)
        if not standing.is_admitted:
            parts.telemetry.rejected.labels("quota").inc()
            words = (
                f"this key may ask for {limit.samples_per_second:g} samples a second over time, and {standing.left} now"
            )
            raise QuotaExceeded(words, standing.retry_after_s)
        parts.telemetry.keys.asked(key.name, samples)
        info.give_back = partial(parts.quotas.give_back, key.name, limit, samples)
        return Share(key.name, key.weight)


async def _call(
    request: Request,
    x_timeout_ms: Annotated[
        int | None,
        Header(
            ge=1,
            le=MAX_TIMEOUT_MS,
            description="deadline for queueing and computing the whole request, in milliseconds; past it the answer is "
            "504, or a stream ends incomplete",
            examples=[5000],
        ),
    ] = None,
) -> Call:
    info = info_of(request.scope)
    return Call(context_of(request.scope), info, info.headers, await request.body(), x_timeout_ms)


TheCall = Annotated[Call, Depends(_call)]


def read_timeout_ms(headers: Mapping[str, str]) -> int | None:
    """Read `X-Timeout-Ms`; None where it was not sent.

    Raises:
        InvalidRequest: it is no number of milliseconds, or none that is granted.
    """
    sent = headers.get("x-timeout-ms")
    return None if sent is None else _read(_TIMEOUT_MS, sent, "header", "x-timeout-ms")


@lru_cache(maxsize=KNOWN_QUERIES)
def read_query(schema: type[Q], query: bytes) -> Q:
    """Read the parameters of an address; of one that comes more than once the last counts, unless it is a list.

    Args:
        schema: what they must be.
        query: as it was sent.

    Returns:
        One object for equal queries: do not write to it.

    Raises:
        InvalidRequest: they are something else.
    """
    given: dict[str, Any] = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name in given.keys() - _lists_of(schema):
        given[name] = given[name][-1]
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise validation_problems(error, "query") from error


@lru_cache
def _lists_of(schema: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in schema.model_fields.items() if get_origin(field.annotation) is list)


def _read(adapter: TypeAdapter[Any], text: str, *place: str) -> Any:  # noqa: ANN401  (of the type that it is declared)
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        raise validation_problems(error, *place) from error


class Operation(APIRoute):
    """A route whose endpoint is called with a request that is here whole."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **described: Any) -> None:  # noqa: ANN401  (FastAPI's)
        super().__init__(path, endpoint, **described)
        self._arguments = [
            _binder(name, parameter) for name, parameter in inspect.signature(endpoint).parameters.items()
        ]

    async def answer(self, scope: Scope, body: bytes) -> Response:
        """Call the endpoint.

        Args:
            scope: ASGI's, with the parameters of the path.
            body: of the request.

        Raises:
            InvalidRequest: an argument is not what it is declared.
            Exception: whatever the endpoint raises.
        """
        arguments: list[object] = []
        problems: list[Problem] = []
        for bind in self._arguments:
            try:
                arguments.append(bind(scope, body))
            except InvalidRequest as error:  # the caller is told of every place
                problems += error.problems
        if problems:
            raise InvalidRequest(*problems)
        answered: Response = await self.endpoint(*arguments)
        return answered


Bind = Callable[[Scope, bytes], object]


def _binder(name: str, parameter: inspect.Parameter) -> Bind:
    declared, annotation = parameter.annotation.__metadata__[0], parameter.annotation.__origin__
    match declared:
        case params.Depends():
            return _bind_call
        case params.Query():
            return lambda scope, _: read_query(annotation, scope["query_string"])
        case params.Path():
            adapter = TypeAdapter(parameter.annotation)
            return lambda scope, _: _read(adapter, scope["path_params"][name], "path", name)
        case _:
            field = name.replace("_", "-")
            return lambda scope, _: info_of(scope).headers.get(field, parameter.default)


def _bind_call(scope: Scope, body: bytes) -> Call:
    info = info_of(scope)
    return Call(context_of(scope), info, info.headers, body, read_timeout_ms(info.headers))


class Operations:
    """Finds the operation of a request.

    Args:
        routers: have the operations, among other routes.
    """

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        self._exact: dict[tuple[str, str], Operation] = {}
        self._others: list[Operation] = []
        for router in routers:
            for route in router.routes:
                if isinstance(route, Operation):
                    self._add(route)

    def _add(self, operation: Operation) -> None:
        if operation.param_convertors:
            self._others.append(operation)
        else:
            self._exact.update({(method, operation.path): operation for method in operation.methods or ()})

    def find(self, scope: Scope) -> Operation | None:
        """Answer the operation; the scope gets its route, and the parameters of its path.

        Args:
            scope: ASGI's, of a request.
        """
        method, path = scope["method"], scope["path"]
        operation = self._exact.get((method, path))
        if operation is None:
            for operation in self._others:
                found = operation.path_regex.match(path)
                if found is not None and method in (operation.methods or ()):
                    scope["path_params"] = found.groupdict()
                    break
            else:
                return None
        scope["route"] = operation
        return operation
