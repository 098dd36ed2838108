"""GET /v2/models/{name} and below: what a model takes and gives, whether it is ready, how it is run.

Read-only views of a package's graphs in the protocol's words. Every one of them has two paths, with a version and
without, and one answer.
"""

from fastapi import APIRouter

from service.engine.runtime import CUDA
from service.packages.schema import Tensor
from service.routes.context import Parts
from service.routes.v2.errors import refusals
from service.routes.v2.graphs import Name, ServedGraph, Version, find_graph, names_of, wire_shape
from service.routes.v2.schemas import (
    ConfigTensor,
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    Reshape,
    TensorMetadata,
)

router = APIRouter(prefix="/v2/models/{name}", tags=["open inference protocol"], responses={**refusals(404)})


@router.get("", operation_id="v2_model", summary="What a model takes and gives")
async def model(name: Name, parts: Parts) -> ModelMetadata:
    """Describe the newest version's inputs and outputs."""
    return _metadata(find_graph(parts.repository, name), parts)


@router.get("/versions/{version}", operation_id="v2_model_version", summary="What a version takes and gives")
async def model_version(name: Name, version: Version, parts: Parts) -> ModelMetadata:
    """Describe one version's inputs and outputs."""
    return _metadata(find_graph(parts.repository, name, version), parts)


@router.get("/ready", operation_id="v2_model_ready", summary="Can a model be asked?")
async def model_ready(name: Name, parts: Parts) -> ModelReady:
    """Answer once a version of the model is ready."""
    return ModelReady(name=find_graph(parts.repository, name).name)


@router.get("/versions/{version}/ready", operation_id="v2_model_version_ready", summary="Can a version be asked?")
async def model_version_ready(name: Name, version: Version, parts: Parts) -> ModelReady:
    """Answer once this version is ready."""
    return ModelReady(name=find_graph(parts.repository, name, version).name)


@router.get("/config", operation_id="v2_model_config", summary="How a model is run", response_model_exclude_none=True)
async def model_config(name: Name, parts: Parts) -> ModelConfig:
    """Answer the newest version's configuration, as Triton words it."""
    return _config(find_graph(parts.repository, name), parts)


@router.get(
    "/versions/{version}/config",
    operation_id="v2_model_version_config",
    summary="How a version is run",
    response_model_exclude_none=True,
)
async def model_version_config(name: Name, version: Version, parts: Parts) -> ModelConfig:
    """Answer one version's configuration, as Triton words it."""
    return _config(find_graph(parts.repository, name, version), parts)


def _metadata(graph: ServedGraph, parts: Parts) -> ModelMetadata:
    ready = [status for status in parts.repository.statuses() if status.package is not None]
    return ModelMetadata(
        name=graph.name,
        versions=[str(status.key.version) for status in ready if graph.name in names_of(status)],
        inputs=[_tensor(tensor) for tensor in graph.spec.inputs],
        outputs=[_tensor(tensor) for tensor in graph.spec.outputs],
    )


def _tensor(tensor: Tensor) -> TensorMetadata:
    return TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=wire_shape(tensor))


def _config(graph: ServedGraph, parts: Parts) -> ModelConfig:
    batching = None
    if not graph.judges_together:
        batching = DynamicBatching(preferred_batch_size=list(graph.report.buckets))
    return ModelConfig(
        name=graph.name,
        max_batch_size=graph.largest_request(parts.settings),
        input=[_config_tensor(tensor) for tensor in graph.spec.inputs],
        output=[_config_tensor(tensor) for tensor in graph.spec.outputs],
        instance_group=[InstanceGroup(kind="KIND_GPU" if graph.report.provider == CUDA else "KIND_CPU")],
        dynamic_batching=batching,
    )


def _config_tensor(tensor: Tensor) -> ConfigTensor:
    dims, own = wire_shape(tensor)[1:], list(tensor.shape[1:])
    reshape = None if dims == own else Reshape(shape=own)
    return ConfigTensor(name=tensor.name, data_type=f"TYPE_{tensor.datatype}", dims=dims, reshape=reshape)
