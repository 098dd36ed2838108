"""A package on disk: every file read and verified, golden vectors included, and handed to the engine in its words.

Golden vectors are what the exporter fed to each graph and saw come out; the engine replays them. Their NPZ file is a
ZIP of NPY files, and both formats can misstate what they hold. So the manifest says beforehand which arrays there are,
of which type and shape; the file must hold exactly those, and nothing is unpacked beyond their size.

Shapes: G golden vectors.
"""

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import (
    CodeSpec,
    Datatype,
    GraphKind,
    GraphSpec,
    PackageGraphs,
    PackageKey,
    TensorSpec,
    Tolerance,
)
from service.errors import FileDamaged, ManifestRefused
from service.media.decoders import MAX_NPY_HEADER_BYTES, parse_npy
from service.packages.calibration import Calibration
from service.packages.files import MANIFEST, read_verified
from service.packages.manifest import parse_manifest, read_manifest_bytes
from service.packages.schema import Discriminator, Graph, ImageSample, ItemSample, Manifest, Tensor, VectorSample
from service.packages.signatures import check_served

Arrays = dict[str, NDArray[np.generic]]

# Two graphs of 2 GiB, the most that one ONNX file can hold; all files are in memory at once while they are read.
MAX_PACKAGE_BYTES = 4 * 1024**3
NPY_TYPES: Final[Mapping[Datatype, str]] = {"FP32": "<f4", "FP16": "<f2", "UINT8": "|u1", "INT64": "<i8"}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what np.savez and np.savez_compressed write
# 16 vectors of a 1024×1024 RGB generator, with room. The process holds all of them.
MAX_GOLDEN_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Package:
    """The content of a package's folder, verified against the manifest.

    Attributes:
        sha256: of the manifest's bytes; it identifies the package, since the manifest holds every other hash.
        models: graph kind → the graph's bytes.
        golden: graph kind → tensor name → array [G, …].
        reference: the NPY file of the reference sample, as it is served; None without one.
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    models: dict[GraphKind, bytes] = field(repr=False)
    golden: dict[GraphKind, Arrays] = field(repr=False)
    reference: bytes | None = field(default=None, repr=False)


def read_package(folder: Path, max_graph_bytes: int = MAX_PACKAGE_BYTES, key: PackageKey | None = None) -> Package:
    """Read and verify every file of a package; no graph is parsed.

    Args:
        folder: of the package.
        max_graph_bytes: a graph that states more is refused before a byte of it is read.
        key: that the manifest must state; None is what the folder is called, `NAME/VERSION`.

    Raises:
        ManifestRefused: the manifest cannot be accepted, or is another package's.
        FileDamaged: a file is missing or not what the manifest says.
    """
    content = read_manifest_bytes(folder)
    manifest = parse_manifest(content)
    stated, found = f"{manifest.name}/{manifest.version}", str(key or f"{folder.parent.name}/{folder.name}")
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
        reference=_read_reference(files, manifest),
    )


def engine_graphs(package: Package) -> PackageGraphs:
    """Translate a vetted package into the engine's words.

    Raises:
        GraphRefused: a graph has a tensor that this service does not compute with.
    """
    manifest = package.manifest
    for kind, graph in manifest.graphs.items():
        check_served(kind, graph)
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


def _spec(package: Package, kind: GraphKind, graph: Graph) -> GraphSpec:
    calibration = Calibration.of(graph) if isinstance(graph, Discriminator) else None
    return GraphSpec(
        model=package.models[kind],
        inputs=_specs(graph.inputs),
        outputs=_specs(graph.outputs),
        golden=package.golden[kind],
        batch_coupled=isinstance(graph, Discriminator) and graph.batch_coupled,
        pack=graph.pack if isinstance(graph, Discriminator) else 1,
        density_ratio=None if calibration is None else calibration.density_ratio,
    )


def _specs(tensors: tuple[Tensor, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**tensor.model_dump()) for tensor in tensors)


@dataclass(frozen=True, slots=True)
class _Expected:
    dtype: str
    shape: tuple[int, ...]

    @property
    def max_file_bytes(self) -> int:
        return MAX_NPY_HEADER_BYTES + math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_golden(content: bytes, manifest: Manifest) -> dict[GraphKind, Arrays]:
    """Read the golden vectors of every graph from the content of the golden file.

    Returns:
        Graph kind → tensor name → array [G, …], finite, for every input and output.

    Raises:
        FileDamaged: it is no NPZ file, or does not hold exactly the arrays that the manifest says.
    """
    expected = {
        f"{kind}.{tensor.name}": _Expected(NPY_TYPES[tensor.datatype], (manifest.golden.count, *tensor.shape[1:]))
        for kind, graph in manifest.graphs.items()
        for tensor in (*graph.inputs, *graph.outputs)
    }
    file = manifest.golden.file
    unpacked = sum(array.max_file_bytes for array in expected.values())
    if unpacked > MAX_GOLDEN_BYTES:
        raise FileDamaged(f"{file}: would unpack to {unpacked} bytes; at most {MAX_GOLDEN_BYTES} are read")
    try:
        found = dict(_arrays(content, expected))
    except ValueError as error:
        raise FileDamaged(f"{file}: {error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise FileDamaged(f"{file}: not a readable NPZ file") from error
    missing = sorted(expected.keys() - found.keys())
    if missing:
        raise FileDamaged(f"{file}: holds no array {missing[0]}")
    return {
        kind: {tensor.name: found[f"{kind}.{tensor.name}"] for tensor in (*graph.inputs, *graph.outputs)}
        for kind, graph in manifest.graphs.items()
    }


def _read_reference(files: Mapping[str, bytes], manifest: Manifest) -> bytes | None:
    """The file of the reference sample, which holds what the manifest says; None without one.

    Raises:
        FileDamaged: it is no NPY file of finite vectors, as many and as large as the manifest says.
    """
    reference, sample = manifest.reference, manifest.sample
    if reference is None or not isinstance(sample, VectorSample):
        return None
    expected = _Expected(NPY_TYPES["FP32"], (reference.count, sample.size))
    content = files[reference.file]
    try:
        _array("the array", content, expected)
    except ValueError as error:
        raise FileDamaged(f"{reference.file}: {error}") from error
    return content


def _arrays(content: bytes, expected: Mapping[str, _Expected]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Unpack the expected arrays one by one; anything else is a ValueError with the reason."""
    seen: set[str] = set()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name not in expected:
                raise ValueError(f"holds {entry.filename[:80]!r}, which is no tensor of the manifest")
            if name in seen:
                raise ValueError(f"holds {name} twice")
            seen.add(name)
            if entry.compress_type not in METHODS:
                raise ValueError(f"{name} is packed by a method other than store and deflate")
            with archive.open(entry) as packed:
                file = packed.read(expected[name].max_file_bytes + 1)
            yield name, _array(name, file, expected[name])


def _array(name: str, file: bytes, expected: _Expected) -> NDArray[np.generic]:
    if len(file) > expected.max_file_bytes:
        raise ValueError(f"{name} unpacks to more than the {expected.max_file_bytes} bytes of its shape")
    try:
        array = parse_npy(file, (expected.dtype,))
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error
    if array.shape != expected.shape:
        raise ValueError(f"{name} has shape {list(array.shape)}; expected {list(expected.shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array
