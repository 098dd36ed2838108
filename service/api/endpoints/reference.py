"""GET /models/NAME/versions/VERSION/reference.npy: held-out real vectors, to compare generated ones with."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from service.api.caching import IMMUTABLE, OWN_IMMUTABLE, names
from service.api.context import Parts
from service.api.sample_types import Vectors, kind_of
from service.errors import NotFound
from service.packages.registry import ServedPackage
from service.server.openapi import BINARY, problems

router = APIRouter(prefix="/models", tags=["models"])

NPY: Final = "application/x-npy"
_HEADERS: Final = {
    "ETag": "SHA-256 of the bytes",
    "Cache-Control": f"`{IMMUTABLE}`",
    "X-Model": "package that answered",
    "X-Model-Version": "its version",
    "X-Package-Sha256": "SHA-256 of its manifest",
}
_RESPONSES: Final[dict[int | str, dict[str, object]]] = {
    200: {
        "description": "The file: float32 [N, D].",
        "content": {NPY: BINARY},
        "headers": {name: {"schema": {"type": "string"}, "description": said} for name, said in _HEADERS.items()},
    },
    304: {"description": "The caller has these bytes: `If-None-Match` names their ETag."},
    **problems(404, 503),
}


@router.get(
    "/{name}/versions/{version}/reference.npy",
    operation_id="get_reference",
    summary="Real samples to compare with",
    response_class=Response,
    responses=_RESPONSES,
)
async def get_reference(
    name: Annotated[str, Path(description="package", examples=["ring"])],
    version: Annotated[str, Path(description="its version", examples=["1"])],
    parts: Parts,
    request: Request,
) -> Response:
    """Answer the reference sample of a package of vectors: real ones that the generator was not trained on.

    The bytes of a URL never change, since a version never does.
    """
    package = parts.repository.find(name, version)
    content, sha256 = _file_of(package)
    etag = f'"{sha256}"'
    fresh = {"etag": etag, "cache-control": OWN_IMMUTABLE if parts.settings.keys_file else IMMUTABLE}
    if names(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=fresh)
    of = {
        "x-model": package.key.name,
        "x-model-version": str(package.key.version),
        "x-package-sha256": package.sha256,
    }
    return Response(content, headers=fresh | of, media_type=NPY)


def _file_of(package: ServedPackage) -> tuple[bytes, str]:
    """The NPY file, and its SHA-256."""
    manifest = package.manifest
    if package.reference is not None and manifest.reference is not None:
        return package.reference, manifest.files[manifest.reference.file].sha256
    kind = kind_of(manifest.sample)
    if isinstance(kind, Vectors):
        raise NotFound(f"The package {package.key} was published without a reference sample.")
    raise NotFound(f"Only packages of vectors have a reference sample; {package.key} makes {kind.words}.")
