"""Writes the fixed generators as packages: our service reads the folder, the peers open its `generator.onnx`.

    python -m benchmarks packages          → benchmarks/.work/models/{g28,g64,zero}/1

Shapes: G golden vectors, Z latent.
"""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.contenders.bare import open_session
from benchmarks.contenders.networks import LATENT_SIZE, NETWORKS, OPSET, Network, make
from benchmarks.workplace import MODELS, command, measured
from training.errors import ExportError
from training.export.publish import publish

GOLDEN_COUNT: Final = 4
VERSION: Final = 1
# Of values in [−1, 1]: instruction sets differ in the order of sums; a wrong weight deviates far more.
SAMPLE_TOLERANCE: Final = 1e-4
TOLERANCES: Final = tuple(
    {"provider": provider, "precision": "fp32", "sample": SAMPLE_TOLERANCE * factor, "pixels": 1, "logit": 1.0}
    for provider, factor in (("CPUExecutionProvider", 1), ("CUDAExecutionProvider", 10))
)


def folder_of(name: str, models: Path = MODELS) -> Path:
    """Folder of a fixed generator's package, which is written if it is missing.

    Args:
        name: a key of `NETWORKS`.
        models: folder of packages.
    """
    folder = models / name / str(VERSION)
    if not folder.is_dir():
        try:
            publish(_files(name, make(name)), models, name, VERSION)
        except ExportError:
            if not folder.is_dir():
                raise  # else another process has written it meanwhile: the same bytes
    return folder


def _files(name: str, network: Network) -> dict[str, bytes]:
    """Every file of the package by bare name."""
    files = {"generator.onnx": network.model, "golden.npz": _golden(network)}
    manifest = json.dumps(_manifest(name, network, files), indent=2).encode()
    return files | {"manifest.json": manifest}


def _golden(network: Network) -> bytes:
    latent = np.random.default_rng(0).standard_normal((GOLDEN_COUNT, LATENT_SIZE)).astype(np.float32)
    session = open_session(network.model, threads=1)
    sample, pixels = session.run(["sample", "pixels"], {"latent": latent})
    buffer = io.BytesIO()
    arrays = {"generator.latent": latent, "generator.sample": sample, "generator.pixels": pixels}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _manifest(name: str, network: Network, files: dict[str, bytes]) -> dict[str, object]:
    channels, height, width = network.shape
    hash_of_nothing = hashlib.sha256(b"").hexdigest()

    def tensor(role: str, datatype: str, *shape: int) -> dict[str, object]:
        return {"name": role, "datatype": datatype, "shape": [-1, *shape], "role": role}

    return {
        "schema_version": 1,
        "name": name,
        "version": VERSION,
        "created": "2026-01-01T00:00:00Z",
        "summary": "An untrained generator for timing.",
        "license": "MIT",
        "files": {
            file: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for file, content in files.items()
        },
        "latent": {"size": LATENT_SIZE, "prior": "standard_normal"},
        "sample": {
            "kind": "image",
            "layout": "NCHW",
            "channels": channels,
            "height": height,
            "width": width,
            "range": [-1.0, 1.0],
        },
        "generator": {
            "file": "generator.onnx",
            "opset": OPSET,
            "inputs": [tensor("latent", "FP32", LATENT_SIZE)],
            "outputs": [
                tensor("sample", "FP32", channels, height, width),
                tensor("pixels", "UINT8", height, width, channels),
            ],
        },
        "golden": {"file": "golden.npz", "count": GOLDEN_COUNT, "tolerances": list(TOLERANCES)},
        "provenance": {
            "objective": "none",
            "config": {},
            "config_sha256": hash_of_nothing,
            "data": {"name": "none", "sha256": hash_of_nothing},
            "commit": None,
            "samples_seen": 0,
            "metrics": {},
        },
    }


def main(arguments: list[str]) -> None:
    """Write the missing packages, and print the folders of all."""
    command("packages", __doc__, "").parse_args(arguments)
    for folder in measured(map(folder_of, NETWORKS), "writing packages", len(NETWORKS)):
        sys.stdout.write(f"{folder}\n")
