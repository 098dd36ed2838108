"""One package, from its folder to what the engine is told of it.

    folder ── read_package ──▶ Package ── engine_graphs ──▶ PackageGraphs

Reading verifies everything that the manifest says of files, once, and keeps the very bytes; translating leaves names to
the manifest and tells the engine numbers. Neither looks inside a graph (`vetting.py` has that done), runs one, or says
which graphs are served: the engine does (`service/engine/roles.py`).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from service.engine.graphs import CodeSpec, GraphSpec, PackageGraphs, PackageKey, TensorSpec, Tolerance
from service.errors import ManifestRefused
from service.packages.calibration import Calibration
from service.packages.files import MANIFEST, read_verified
from service.packages.golden import Arrays, read_golden
from service.packages.manifest import parse_manifest, read_manifest_bytes
from service.packages.schema import Discriminator, Graph, ImageSample, ItemSample, Manifest, Tensor

# Two graphs of 2 GiB, the most that one ONNX file can hold; all files are in memory at once while they are read.
MAX_PACKAGE_BYTES = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Package:
    """What a folder held, all of it verified against the manifest.

    Attributes:
        key: name and version.
        manifest: what the package says of itself.
        sha256: of the manifest's bytes; it identifies the package, since the manifest holds every other hash.
        models: graph kind → the graph's bytes.
        golden: graph kind → tensor name → array [G, …].
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    models: dict[str, bytes] = field(repr=False)
    golden: dict[str, Arrays] = field(repr=False)


def read_package(folder: Path, max_graph_bytes: int = MAX_PACKAGE_BYTES) -> Package:
    """Read and verify every file of a package.

    Args:
        folder: named `NAME/VERSION`.
        max_graph_bytes: largest graph; one that states more is refused before a byte of it is read.

    Returns:
        The package, none of whose graphs has been looked into.

    Raises:
        ManifestRefused: the manifest cannot be accepted, or is another package's.
        FileDamaged: a file is missing or not what the manifest says.
    """
    content = read_manifest_bytes(folder)
    manifest = parse_manifest(content)
    stated, found = f"{manifest.name}/{manifest.version}", f"{folder.parent.name}/{folder.name}"
    if stated != found:
        raise ManifestRefused(f"{MANIFEST}: name and version: are {stated}, but the folder is {found}")
    size = sum(file.size for file in manifest.files.values())
    if size > MAX_PACKAGE_BYTES:
        raise ManifestRefused(f"{MANIFEST}: files: take {size} bytes; at most {MAX_PACKAGE_BYTES} are read")
    for graph in manifest.graphs.values():
        if (stated_bytes := manifest.files[graph.file].size) > max_graph_bytes:
            raise ManifestRefused(
                f"{MANIFEST}: files: {graph.file} takes {stated_bytes} bytes; vetting has memory for {max_graph_bytes} "
                "(GANYMEDE_VETTING_MEMORY_BYTES)"
            )
    files = {name: read_verified(folder, name, file.size, file.sha256) for name, file in manifest.files.items()}
    return Package(
        key=PackageKey(manifest.name, manifest.version),
        manifest=manifest,
        sha256=hashlib.sha256(content).hexdigest(),
        models={kind: files[graph.file] for kind, graph in manifest.graphs.items()},
        golden=read_golden(files[manifest.golden.file], manifest),
    )


def engine_graphs(package: Package) -> PackageGraphs:
    """Translate a package into the engine's words.

    Args:
        package: verified, and its graphs vetted.

    Returns:
        Its generator and, where it has them, its discriminator and its encoder.
    """
    manifest = package.manifest
    sample, codes = manifest.sample, manifest.codes
    graphs = {kind: _spec(package, kind, graph) for kind, graph in manifest.graphs.items()}
    return PackageGraphs(
        key=package.key,
        generator=graphs["generator"],
        discriminator=graphs.get("discriminator"),
        encoder=graphs.get("encoder"),
        latent_size=manifest.latent.size,
        prior=manifest.latent.prior,
        label_count=len(manifest.labels.names) if manifest.labels else None,
        codes=CodeSpec(codes.sizes, codes.bounds) if codes else None,
        condition_count=manifest.condition.count if manifest.condition else None,
        item_count=sample.count if isinstance(sample, ItemSample) else None,
        sample_range=sample.range if isinstance(sample, ImageSample) else None,
        tolerances=tuple(Tolerance(**tolerance.model_dump()) for tolerance in manifest.golden.tolerances),
    )


def _spec(package: Package, kind: str, graph: Graph) -> GraphSpec:
    return GraphSpec(
        model=package.models[kind],
        inputs=_specs(graph.inputs),
        outputs=_specs(graph.outputs),
        golden=package.golden[kind],
        batch_coupled=isinstance(graph, Discriminator) and graph.batch_coupled,
        pack=graph.pack if isinstance(graph, Discriminator) else 1,
        density_ratio=Calibration.of(graph).density_ratio if isinstance(graph, Discriminator) else None,
    )


def _specs(tensors: tuple[Tensor, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**tensor.model_dump()) for tensor in tensors)
