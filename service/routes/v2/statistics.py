"""GET /v2/models/stats and /v2/models/{name}/stats: exact counters, as load generators read them before and after.

They are the engine's own (`service/engine/statistics.py`), of a graph and not of a route: a sample that /generate draws
counts as much as one that was asked for here.
"""

from fastapi import APIRouter

from service.engine.statistics import GraphStatistics, StageTotals, Total
from service.routes.context import Parts
from service.routes.v2.errors import refusals
from service.routes.v2.graphs import Name, ServedGraph, Version, find_graph, graphs_of
from service.routes.v2.schemas import BatchStatistics, Duration, InferStatistics, ModelStatistics, Statistics

MS_PER_S = 1_000
NOTHING = Duration(count=0, ns=0)

router = APIRouter(prefix="/v2/models", tags=["open inference protocol"])


@router.get("/stats", operation_id="v2_statistics", summary="Counters of every model")
async def statistics(parts: Parts) -> Statistics:
    """Answer the counters of every version of every model that is ready."""
    packages = [status.package for status in parts.repository.statuses() if status.package is not None]
    return Statistics(model_stats=[await _of(graph, parts) for package in packages for graph in graphs_of(package)])


@router.get(
    "/{name}/stats",
    operation_id="v2_model_statistics",
    summary="Counters of a model",
    responses={**refusals(404)},
)
async def model_statistics(name: Name, parts: Parts) -> Statistics:
    """Answer the counters of the newest version."""
    return Statistics(model_stats=[await _of(find_graph(parts.repository, name), parts)])


@router.get(
    "/{name}/versions/{version}/stats",
    operation_id="v2_model_version_statistics",
    summary="Counters of a version",
    responses={**refusals(404)},
)
async def model_version_statistics(name: Name, version: Version, parts: Parts) -> Statistics:
    """Answer the counters of one version."""
    return Statistics(model_stats=[await _of(find_graph(parts.repository, name, version), parts)])


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
