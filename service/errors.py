"""Every error that the service raises, whose fault it is, and its HTTP status.

    GanymedeError
    ├── RequestError            the caller's fault: say what to change
    │   ├── MalformedRequest        400  cannot be read at all
    │   ├── Unauthorized            401  a key is needed, and there is none that the service knows
    │   ├── Forbidden               403  not for this caller
    │   ├── NotFound                404  no such model, version or path
    │   ├── NotAcceptable           406  no media type that the caller accepts
    │   ├── RequestTooSlow          408  the headers or the body came too slowly
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedMediaType    415
    │   ├── InvalidRequest          422  well-formed, but not valid; carries the list of places
    │   ├── HeadersTooLarge         431
    │   ├── NotSupported            501  a part of HTTP that is not supported
    │   └── VersionNotSupported     505  another HTTP than 1.1 or 1.0
    ├── TryAgainError           not a fault: the same request may succeed later
    │   ├── QueueFull               429
    │   ├── QuotaExceeded           429  of the caller's key
    │   ├── NotReady                503  loading or draining
    │   └── DeadlinePassed          504
    ├── PackageError            the publisher's fault: refused at load, never on a request
    │   ├── ManifestRefused
    │   ├── FileDamaged
    │   ├── GraphRefused
    │   │   └── NotReproducible     in no batch size the same bytes run after run
    │   ├── GoldenMismatch
    │   └── OverBudget              it takes more memory than the budget leaves
    ├── NotFinite                   500  the publisher's fault, met on a request; the caller is told which package
    └── ServiceFault                500  the service's fault; the caller is told only the request's id
        └── SessionFailed

A message is one sentence that its reader can act on. Only messages for the operator (PackageError) hold paths of this
host or text of a library.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


class GanymedeError(Exception):
    """Anything that the service raises on purpose."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR


class RequestError(GanymedeError):
    """The request cannot be served as it stands."""

    status = HTTPStatus.BAD_REQUEST


class MalformedRequest(RequestError):
    """The request cannot be read: broken JSON, a broken multipart body."""


class Unauthorized(RequestError):
    """The request needs a key, and has none that the service knows."""

    status = HTTPStatus.UNAUTHORIZED


class Forbidden(RequestError):
    """The caller may not do this."""

    status = HTTPStatus.FORBIDDEN


class NotFound(RequestError):
    """No such model, version or path."""

    status = HTTPStatus.NOT_FOUND


class NotAcceptable(RequestError):
    """The answer has no media type that the caller accepts."""

    status = HTTPStatus.NOT_ACCEPTABLE


class RequestTooSlow(RequestError):
    """The headers or the body came too slowly."""

    status = HTTPStatus.REQUEST_TIMEOUT


class BodyTooLarge(RequestError):
    """The body is larger than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(RequestError):
    """The body has a media type that the endpoint does not read."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class Problem:
    """One place in a request that is wrong.

    Attributes:
        loc: the path to the value, as in `("body", "seeds", 3)`.
        msg: what is wrong with it, one sentence.
    """

    loc: tuple[str | int, ...]
    msg: str


class InvalidRequest(RequestError):
    """The request is well-formed but its values are not valid.

    Args:
        problems: every place that is wrong; at least one.
    """

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.msg for problem in problems))
        self.problems = problems


class HeadersTooLarge(RequestError):
    """The headers are larger than the limit."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class NotSupported(RequestError):
    """The request uses a part of HTTP that the service does not support."""

    status = HTTPStatus.NOT_IMPLEMENTED


class VersionNotSupported(RequestError):
    """The request has a version of HTTP that the service does not support."""

    status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED


class TryAgainError(GanymedeError):
    """The service cannot answer now.

    Args:
        message: one sentence for the caller.
        retry_after_s: seconds after which the same request may succeed; None if unknown.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(TryAgainError):
    """The service holds as many samples or requests as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class QuotaExceeded(TryAgainError):
    """The caller's key has asked for as many samples as it may for now."""

    status = HTTPStatus.TOO_MANY_REQUESTS


class NotReady(TryAgainError):
    """The model is loading, or the service is draining.

    Args:
        message: as in `TryAgainError`, and so is `retry_after_s`.
        packages: the packages in each state, where the answer shall list them.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, packages: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__(message, retry_after_s)
        self.packages = packages


class DeadlinePassed(TryAgainError):
    """The request's own deadline passed before its samples were computed."""

    status = HTTPStatus.GATEWAY_TIMEOUT


class PackageError(GanymedeError):
    """A package cannot be served. The message names the file and the damage, for the operator."""


class ManifestRefused(PackageError):
    """`manifest.json` is missing, unreadable, invalid, or has an unknown schema version."""


class FileDamaged(PackageError):
    """A file of the package is missing, or its size or SHA-256 differs from the manifest."""


class GraphRefused(PackageError):
    """An ONNX graph does what is forbidden, or is not what the manifest says."""


class NotReproducible(GraphRefused):
    """What computes a graph gives its samples other bytes from run to run, in every batch size."""


class GoldenMismatch(PackageError):
    """A graph does not reproduce the golden outputs within the stated tolerance."""


class OverBudget(PackageError):
    """A package takes more memory than the operator's budget leaves beside what is never unloaded."""


class NotFinite(GanymedeError):
    """A graph computed numbers that are not finite from a valid request. The message names the package."""


class ServiceFault(GanymedeError):
    """A fault of the service itself."""


class SessionFailed(ServiceFault):
    """An inference session raised, or returned a tensor of the wrong shape."""
