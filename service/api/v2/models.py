"""Graphs as the protocol's models: NAME is a package's generator, NAME.discriminator and NAME.encoder its other graphs.

A package's name has no dot, so the names do not collide. Tensors have the graph's own names and shapes, with one
exception: clients that batch take the first axis for the batch and need another, so a tensor with one element per
sample, [N] to its graph, is [N, 1] here, as with Triton's `reshape`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Path

from service.api.context import Parts
from service.api.limits import MAX_WHOLE_BYTES
from service.api.v2.schemas import (
    ConfigTensor,
    DynamicBatching,
    InstanceGroup,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    Reshape,
    TensorMetadata,
    refusals,
)
from service.engine.config import CUDA
from service.engine.model_spec import GraphKind, GraphReport
from service.errors import NotFound
from service.media.tensors import DTYPES
from service.packages.registry import PackageStatus, Repository, ServedPackage
from service.packages.schema import Discriminator, Graph, Tensor
from service.settings import Settings

_SUFFIXES: Final[dict[GraphKind, str]] = {"generator": "", "discriminator": ".discriminator", "encoder": ".encoder"}


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """One graph of a package that is ready."""

    package: ServedPackage
    kind: GraphKind
    spec: Graph
    report: GraphReport

    @property
    def name(self) -> str:
        """Its name in the protocol."""
        return self.package.key.name + _SUFFIXES[self.kind]

    @property
    def version(self) -> str:
        """The package's version."""
        return str(self.package.key.version)

    @property
    def judges_together(self) -> bool:
        """Whether a sample's output depends on the others of its batch."""
        return isinstance(self.spec, Discriminator) and self.spec.batch_coupled

    def largest_request(self, settings: Settings) -> int:
        """Most samples in one request, so that all their outputs fit one response."""
        row_bytes = sum(row_size(tensor) * DTYPES[tensor.datatype].itemsize for tensor in self.spec.outputs)
        limits = [settings.max_samples, MAX_WHOLE_BYTES // row_bytes]
        if self.judges_together:
            limits.append(settings.request_queue_samples)
        return max(1, min(limits))


def wire_shape(tensor: Tensor) -> list[int]:
    """A tensor's shape in the protocol, with -1 for the number of samples."""
    return list(tensor.shape) if len(tensor.shape) > 1 else [*tensor.shape, 1]


def row_size(tensor: Tensor) -> int:
    """Elements of a tensor for one sample."""
    return math.prod(tensor.shape[1:])


def graphs_of(package: ServedPackage) -> Iterator[ServedGraph]:
    """A package's graphs, the generator first."""
    specs, loaded = package.manifest.graphs, package.report
    reports: dict[GraphKind, GraphReport | None] = {
        "generator": loaded.generator, "discriminator": loaded.discriminator, "encoder": loaded.encoder
    }  # fmt: skip
    for kind, report in reports.items():
        if report is not None:
            yield ServedGraph(package, kind, specs[kind], report)


def names_of(status: PackageStatus) -> list[str]:
    """The models of a package; one that is not ready has its generator at least."""
    if status.package is None:
        return [status.key.name]
    return [graph.name for graph in graphs_of(status.package)]


Name = Annotated[str, Path(description="package, NAME.discriminator or NAME.encoder", examples=["mnist"])]
Version = Annotated[str, Path(description="its version", examples=["1"])]


def find_graph(repository: Repository, name: str, version: str | None = None, *, demand: bool = True) -> ServedGraph:
    """Find a graph that is ready by its name in the protocol; in the newest version that is ready where none is named.

    Args:
        repository: where to look.
        name: in the protocol.
        version: of the package.
        demand: as in `Repository.find`.

    Raises:
        NotFound: there is no such package, or it has no such graph.
        NotReady: it is still loading, or out of memory.
    """
    model, dot, kind = name.partition(".")
    package = repository.find(model, version, demand=demand)
    names = {graph.name: graph for graph in graphs_of(package)}
    name = package.key.name + dot + kind  # of an alias
    if name not in names:
        raise NotFound(f"the package {package.key} has no such graph; it has {', '.join(names)}")
    return names[name]


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
    return ModelReady(name=find_graph(parts.repository, name, demand=False).name)


@router.get("/versions/{version}/ready", operation_id="v2_model_version_ready", summary="Can a version be asked?")
async def model_version_ready(name: Name, version: Version, parts: Parts) -> ModelReady:
    """Answer once this version is ready."""
    return ModelReady(name=find_graph(parts.repository, name, version, demand=False).name)


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
