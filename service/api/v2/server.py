"""GET /v2, /v2/health and the statistics of models, as the protocol words them."""

from fastapi import APIRouter

from service import __version__
from service.api.context import Parts
from service.api.endpoints.health import readyz
from service.api.v2.models import Name, ServedGraph, Version, find_graph, graphs_of
from service.api.v2.schemas import (
    BatchStatistics,
    Duration,
    InferStatistics,
    ModelStatistics,
    ServerLive,
    ServerMetadata,
    ServerReady,
    Statistics,
    refusals,
)
from service.engine.statistics import GraphStatistics, StageTotals, Total

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


MS_PER_S = 1_000
NOTHING = Duration(count=0, ns=0)

statistics_router = APIRouter(prefix="/v2/models", tags=["open inference protocol"])


@statistics_router.get("/stats", operation_id="v2_statistics", summary="Counters of every model")
async def statistics(parts: Parts) -> Statistics:
    """Answer the counters of every version of every model that is ready."""
    packages = [status.package for status in parts.repository.statuses() if status.package is not None]
    return Statistics(model_stats=[await _of(graph, parts) for package in packages for graph in graphs_of(package)])


@statistics_router.get(
    "/{name}/stats",
    operation_id="v2_model_statistics",
    summary="Counters of a model",
    responses={**refusals(404)},
)
async def model_statistics(name: Name, parts: Parts) -> Statistics:
    """Answer the counters of the newest version."""
    return Statistics(model_stats=[await _of(find_graph(parts.repository, name, demand=False), parts)])


@statistics_router.get(
    "/{name}/versions/{version}/stats",
    operation_id="v2_model_version_statistics",
    summary="Counters of a version",
    responses={**refusals(404)},
)
async def model_version_statistics(name: Name, version: Version, parts: Parts) -> Statistics:
    """Answer the counters of one version."""
    return Statistics(model_stats=[await _of(find_graph(parts.repository, name, version, demand=False), parts)])


async def _of(graph: ServedGraph, parts: Parts) -> ModelStatistics:
    counted = (await parts.engine.statistics(graph.package.key))[graph.kind]
    return ModelStatistics(
        name=graph.name,
        version=graph.version,
        last_inference=round((counted.last_answer or 0) * MS_PER_S),
        inference_count=counted.samples,
        execution_count=counted.runs,
        inference_stats=_of_requests(counted),
        batch_stats=[_of_batch(size, stages) for size, stages in sorted(counted.batches.items())],
    )


def _of_requests(counted: GraphStatistics) -> InferStatistics:
    return InferStatistics(
        success=_duration(counted.answered),
        fail=_duration(counted.failed),
        queue=_duration(counted.queued),
        compute_input=_duration(counted.stages.inputs),
        compute_infer=_duration(counted.stages.run),
        compute_output=_duration(counted.stages.outputs),
        cache_hit=NOTHING,
        cache_miss=NOTHING,
    )


def _of_batch(size: int, stages: StageTotals) -> BatchStatistics:
    return BatchStatistics(
        batch_size=size,
        compute_input=_duration(stages.inputs),
        compute_infer=_duration(stages.run),
        compute_output=_duration(stages.outputs),
    )


def _duration(total: Total) -> Duration:
    return Duration(count=total.count, ns=total.ns)
