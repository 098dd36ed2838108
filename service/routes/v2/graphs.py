"""Packages as the protocol names them: NAME is the generator, NAME.discriminator and NAME.encoder the other graphs.

A package's name has no dot, so the names cannot meet. The protocol's models know nothing of each other; that they are
one package shows only when one is loaded or unloaded, and all are.

Names are the graphs' own, and so are shapes, but for one: clients that batch take the first axis for the batch and need
another. So a tensor of one element a sample, [N] to its graph, is [N, 1] here, as Triton's `reshape` has it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Path

from service.engine.graphs import GraphKind, GraphReport
from service.errors import NotFound
from service.media.tensors import DTYPES
from service.packages.catalogue import PackageStatus, ServedPackage
from service.packages.schema import Discriminator, Graph, Tensor
from service.packages.served import Served
from service.routes.answer_sizes import MAX_WHOLE_BYTES
from service.settings import Settings

_SUFFIXES: Final[dict[GraphKind, str]] = {"generator": "", "discriminator": ".discriminator", "encoder": ".encoder"}


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """One graph of a package that is ready.

    Attributes:
        package: it.
        kind: which graph.
        spec: what the manifest says of it.
        report: what loading it showed.
    """

    package: ServedPackage
    kind: GraphKind
    spec: Graph
    report: GraphReport

    @property
    def name(self) -> str:
        """What the protocol calls it."""
        return self.package.key.name + _SUFFIXES[self.kind]

    @property
    def version(self) -> str:
        """Of the package."""
        return str(self.package.key.version)

    @property
    def judges_together(self) -> bool:
        """Whether a sample's output depends on those beside it."""
        return isinstance(self.spec, Discriminator) and self.spec.batch_coupled

    def largest_request(self, settings: Settings) -> int:
        """Most samples in one request: as many as all outputs of them fit one answer."""
        row_bytes = sum(row_size(tensor) * DTYPES[tensor.datatype].itemsize for tensor in self.spec.outputs)
        limits = [settings.max_samples, MAX_WHOLE_BYTES // row_bytes]
        if self.judges_together:
            limits.append(settings.request_queue_samples)
        return max(1, min(limits))


def wire_shape(tensor: Tensor) -> list[int]:
    """A tensor's shape as the protocol has it, -1 for how many samples."""
    return list(tensor.shape) if len(tensor.shape) > 1 else [*tensor.shape, 1]


def row_size(tensor: Tensor) -> int:
    """How many elements a tensor has for one sample."""
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
    """What the protocol calls a package's graphs; of one that is not ready, only its generator is sure to be there."""
    if status.package is None:
        return [status.key.name]
    return [graph.name for graph in graphs_of(status.package)]


Name = Annotated[str, Path(description="package, NAME.discriminator or NAME.encoder", examples=["mnist"])]
Version = Annotated[str, Path(description="its version", examples=["1"])]


def find_graph(repository: Served, name: str, version: str | None = None) -> ServedGraph:
    """Find a graph that is ready.

    Args:
        repository: what is served.
        name: what the protocol calls the graph.
        version: of the package; None is the newest that is ready.

    Raises:
        NotFound: there is no such package, or it has no such graph.
        NotReady: it is still loading.
    """
    package = repository.find(name.partition(".")[0], version)
    names = {graph.name: graph for graph in graphs_of(package)}
    if name not in names:
        raise NotFound(f"the package {package.key} has no such graph; it has {', '.join(names)}")
    return names[name]
