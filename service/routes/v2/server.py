"""GET /v2 and /v2/health: who answers, whether it lives, whether it can be asked.

The protocol's own words for what /healthz and /readyz say; one truth, two doors.
"""

from fastapi import APIRouter

from service import __version__
from service.routes.context import Parts
from service.routes.health import readyz
from service.routes.v2.schemas import ServerLive, ServerMetadata, ServerReady

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


@router.get("", operation_id="v2_server", summary="Who answers")
async def server() -> ServerMetadata:
    """Name the server, its version and the extensions it knows."""
    return ServerMetadata(version=__version__, extensions=list(EXTENSIONS))


@router.get("/health/live", operation_id="v2_live", summary="Does the process live?")
async def live() -> ServerLive:
    """Answer as long as the event loop turns."""
    return ServerLive()


@router.get("/health/ready", operation_id="v2_ready", summary="Can it answer requests?")
async def ready(parts: Parts) -> ServerReady:
    """Answer once every configured model is loaded, golden-checked and warm, and until the process drains."""
    await readyz(parts)
    return ServerReady()
