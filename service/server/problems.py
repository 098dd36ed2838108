"""Errors as the caller reads them: RFC 9457 `application/problem+json`, or the inference protocol's `{"error": "…"}`.

Whatever goes wrong, in a layer or in a route, becomes a response here and nowhere else. A caller's mistake is
answered with the sentence that says what to change; a fault of the service is answered with nothing but the request
id, and its stack goes to the log.

References:
    Nottingham, Wilde, Dalal, "Problem Details for HTTP APIs", RFC 9457, 2023.
    Open Inference Protocol, Required API, "Inference Response JSON Error Object".
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice

import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from service.errors import (
    DeadlinePassed,
    GanymedeError,
    InvalidRequest,
    NotReady,
    PackageError,
    Problem,
    RequestTooSlow,
    ServiceFault,
    TryAgainError,
    Unauthorized,
)
from service.server.request_info import info_of

JSON = "application/json"
MEDIA_TYPE = "application/problem+json"
# A body of hundreds of unknown fields has hundreds of problems; a person reads the first few.
MAX_PROBLEMS = 32
# What a caller wrote is quoted no further: the longest name that means anything is a class's, of 100 characters.
MAX_QUOTED_CHARACTERS = 100
# Room for the twenty names that a sentence lists at most.
MAX_SENTENCE_CHARACTERS = 2_500
# Where pydantic's words are Python's, or depend on how a body was read.
WORDS: Mapping[str, str] = {
    "extra_forbidden": "unknown field",
    "model_type": "Input should be an object",
    "dict_type": "Input should be an object",
    "list_type": "Input should be a list",
}
# Before anything was measured: one ask a second is no load.
DEFAULT_RETRY_AFTER_S = 1.0
# Marks a union's branch in an error's location (see `api/schemas/requests.py`); no caller wrote it, so none reads it.
BRANCH_PREFIX = "branch:"

# Clients of the inference protocol read nothing but its own error object.
PROTOCOL_PATH = "/v2"

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ProblemPlace(BaseModel):
    """One place in the request that is wrong."""

    loc: list[str | int] = Field(description="path to the value", examples=[["body", "latents", 0, 3]])
    msg: str = Field(description="what is wrong with it", examples=["Input should be a finite number"])


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 words it."""

    type: str = Field("about:blank", description="the status says it all", examples=["about:blank"])
    title: str = Field(description="the status in words", examples=["Unprocessable Entity"])
    status: int = Field(description="the HTTP status", examples=[422])
    detail: str = Field(description="one sentence to act on", examples=["the request is not valid"])
    errors: list[ProblemPlace] | None = Field(None, description="every place that is wrong, where there are places")
    packages: dict[str, list[str]] | None = Field(
        None,
        description="of /readyz: the packages in each state",
        examples=[{"loading": ["mnist/4"], "ready": [], "failed": [], "unloaded": []}],
    )
    request_id: str = Field(description="quote it when asking the operator", examples=["8f14e45fceea4e7d"])


def invalid_request(errors: Iterable[ErrorDetails], *prefix: str) -> InvalidRequest:
    """Word pydantic's findings as one `InvalidRequest`.

    Args:
        errors: what pydantic found.
        prefix: where the validated value stands in the request, as in `"body"`.
    """
    problems = []
    for error in islice(errors, MAX_PROBLEMS):
        loc = tuple(part for part in error["loc"] if not str(part).startswith(BRANCH_PREFIX))
        problems.append(Problem((*prefix, *loc), WORDS.get(error["type"], error["msg"])))
    return InvalidRequest(*problems)


def json_error(error: ValidationError) -> str | None:
    """Answer why a text is not JSON; None where it is, and something else is wrong with it."""
    if error.error_count() > 1:
        return None
    (found,) = error.errors(include_url=False, include_input=False)
    return str(found["ctx"]["error"]) if found["type"] == "json_invalid" else None


def validation_problems(error: ValidationError, *place: str) -> InvalidRequest:
    """Word a `ValidationError`; what the caller sent is not repeated to them.

    pydantic describes every mistake before it tells the first, so what was validated must not hold many: lists and
    mappings end at their first, and the readers of bodies and of queries bound the number of fields.

    Args:
        error: what pydantic raised.
        place: where the validated value stands in the request, as in `"body"`.
    """
    return invalid_request(error.errors(include_url=False, include_context=False, include_input=False), *place)


def error_response(error: Exception, scope: Scope) -> Response:
    """Word an error for the caller of a request, in the form that its path promises.

    Args:
        error: anything that was raised while answering.
        scope: the request's.
    """
    if _is_protocols(scope["path"]):
        return protocol_error_response(error)
    return problem_response(error, info_of(scope).request_id)


def error_response_at(path: str, error: Exception, request_id: str) -> Response:
    """Word an error as `error_response` does, for a request of which only this is known."""
    return protocol_error_response(error) if _is_protocols(path) else problem_response(error, request_id)


def _is_protocols(path: str) -> bool:
    return path == PROTOCOL_PATH or path.startswith(PROTOCOL_PATH + "/")


def problem_response(error: Exception, request_id: str) -> Response:
    """Word an error as a problem document.

    Args:
        error: anything that was raised while answering.
        request_id: the request's id.
    """
    told = _tell(error)
    body = ProblemDetails(
        title=told.status.phrase,
        status=told.status,
        detail=_sentence(told.detail) + _others(told.problems),
        errors=[
            ProblemPlace(loc=[_quoted(part) for part in problem.loc], msg=_sentence(problem.msg))
            for problem in told.problems
        ]
        or None,
        packages=error.packages if isinstance(error, NotReady) else None,
        request_id=request_id,
    )
    return Response(
        body.model_dump_json(exclude_none=True),
        status_code=int(told.status),
        headers=told.headers,
        media_type=MEDIA_TYPE,
    )


def protocol_error_response(error: Exception) -> Response:
    """Word an error as the inference protocol does; it has one status for every request that is not valid."""
    told = _tell(error)
    status = HTTPStatus.BAD_REQUEST if told.status is HTTPStatus.UNPROCESSABLE_ENTITY else told.status
    return JSONResponse({"error": _sentence(told.detail)}, int(status), told.headers)


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error that a route raised: FastAPI's exception handler for every class of the table."""
    info_of(request.scope).explain(error)
    return error_response(error, request.scope)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a caller is told of an error, in whatever form."""

    status: HTTPStatus
    detail: str
    problems: tuple[Problem, ...]
    headers: Mapping[str, str]


def _tell(error: Exception) -> _Told:
    headers: dict[str, str] = {}
    problems: tuple[Problem, ...] = ()
    match error:
        case RequestValidationError():
            return _tell(invalid_request(error.errors()))
        case HTTPException():
            status, detail = HTTPStatus(error.status_code), _routing_detail(error)
            headers.update(error.headers or {})
            if headers.get("Allow") == "GET":
                headers["Allow"] = "GET, HEAD"  # the middleware sees to it
        case ServiceFault() | PackageError():
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, _fault_detail()
        case GanymedeError():
            status, detail = error.status, str(error)
        case _:
            status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, _fault_detail()
    if isinstance(error, InvalidRequest):
        problems = error.problems
        detail = _first(problems)
    headers |= _next(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed", exc_info=error)
    return _Told(status, detail, problems, headers)


def _next(error: Exception) -> dict[str, str]:
    """Headers that say what the caller, or its connection, does next."""
    match error:
        case TryAgainError():
            return _retry_after(error)
        case Unauthorized():
            return {"www-authenticate": "Bearer"}
        case RequestTooSlow():
            return {"connection": "close"}  # the rest of a request that never comes must not hold the connection
        case _:
            return {}


def _retry_after(error: TryAgainError) -> dict[str, str]:
    """When to come back, in whole seconds; a passed deadline is not a matter of time."""
    if isinstance(error, DeadlinePassed):
        return {}
    seconds = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def _first(problems: tuple[Problem, ...]) -> str:
    first = problems[0]
    place = ".".join(str(_quoted(part)) for part in first.loc[1:])  # without `body` or `query`
    return f"`{place}`: {_sentence(first.msg)}" if place else first.msg


def _others(problems: tuple[Problem, ...]) -> str:
    return f" There are {len(problems) - 1} more; `errors` names each place." if len(problems) > 1 else ""


def _quoted(part: str | int) -> str | int:
    """A part of a place; a name that the caller made up may have any length."""
    if isinstance(part, str) and len(part) > MAX_QUOTED_CHARACTERS:
        return part[:MAX_QUOTED_CHARACTERS] + "…"
    return part


def _sentence(text: str) -> str:
    """Messages have many authors, pydantic among them; on the wire each is one sentence."""
    if len(text) > MAX_SENTENCE_CHARACTERS:
        text = text[:MAX_SENTENCE_CHARACTERS] + "…"
    return text[:1].upper() + text[1:].removesuffix(".") + "."


def _routing_detail(error: HTTPException) -> str:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return "there is nothing at this path; /docs lists what there is, where it is turned on"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return "this path does not answer this method; the Allow header names those it does"
        case _:
            return HTTPStatus(error.status_code).description or HTTPStatus(error.status_code).phrase


def _fault_detail() -> str:
    return "the service failed; the request id leads its operator to the cause"
