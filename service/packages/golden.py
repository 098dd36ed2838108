"""Golden vectors: what the exporter fed to each graph and saw come out, read from `golden.npz`.

An NPZ file is a ZIP of NPY files, and both can lie about what they hold. So the manifest says beforehand which arrays
there are, of which type and shape; the file must hold exactly those, and nothing is unpacked beyond their size. It
knows nothing of sessions: the engine replays what is read here.

Shapes: G golden vectors.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import Datatype
from service.errors import FileDamaged
from service.media.decoders import MAX_NPY_HEADER_BYTES, parse_npy
from service.packages.schema import Manifest

Arrays = dict[str, NDArray[np.generic]]

NPY_TYPES: Final[Mapping[Datatype, str]] = {"FP32": "<f4", "FP16": "<f2", "UINT8": "|u1", "INT64": "<i8"}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what np.savez and np.savez_compressed write
# 16 vectors of a 1024×1024 RGB generator, with room; a check at start needs no more, and the process holds them all.
MAX_GOLDEN_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Expected:
    dtype: str
    shape: tuple[int, ...]

    @property
    def max_file_bytes(self) -> int:
        return MAX_NPY_HEADER_BYTES + math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_golden(content: bytes, manifest: Manifest) -> dict[str, Arrays]:
    """Read the golden vectors of every graph.

    Args:
        content: of the golden file, already hashed.
        manifest: which arrays it must hold.

    Returns:
        Graph kind → tensor name → array [G, …], finite, for every input and output.

    Raises:
        FileDamaged: it is no such file, or does not hold exactly what the manifest says.
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
    golden: dict[str, Arrays] = {kind: {} for kind in manifest.graphs}
    for name, array in found.items():
        kind, _, tensor = name.partition(".")
        golden[kind][tensor] = array
    return golden


def _arrays(content: bytes, expected: Mapping[str, _Expected]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Unpack one expected array after the other; anything else is a ValueError with the reason."""
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
