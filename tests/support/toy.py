"""Toy packages: small, real ONNX graphs with a manifest, golden vectors and hashes, made in milliseconds without torch.

`toy_shape.py` has the options: images, vectors or items; classes, codes or users; a plain, packing or batch-coupled
discriminator; an encoder. Weights come from a seed, so equal options give equal bytes. Of the service only the plain
dataclasses of `service/engine/model_spec.py` are imported, so that the test data do not depend on the reader's code.

Shapes: B batch, Z latent coordinates, P samples scored together.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import DensityRatio, GraphSpec, Line, PackageGraphs, PackageKey, TensorSpec, Tolerance
from tests.support.toy_models import OPSET, Arrays, discriminator_model, encoder_model, generator_model, replay
from tests.support.toy_shape import Toy, ToyOptions

REFERENCE_SAMPLES = 64
REFERENCE_POINTS = 21  # quantiles at 0, 5, … 100 %
HASH_OF_NOTHING = hashlib.sha256(b"").hexdigest()
TOLERANCES = (
    Tolerance(provider="CPUExecutionProvider", precision="fp32", sample=1e-5, pixels=1, logit=1e-4),
    Tolerance(
        provider="CUDAExecutionProvider", precision="fp32", sample=1e-4, pixels=1, logit=1e-3, latent=1e-3, code=1e-3
    ),
)


def draw_latents(toy: Toy, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw latents [count, Z] from the toy's prior."""
    shape = (count, toy.noise_size)
    match toy.prior:
        case "standard_normal":
            values = rng.standard_normal(shape)
        case "uniform":
            values = rng.uniform(-1, 1, shape)
        case "gumbel":
            values = rng.gumbel(size=shape)
    return values.astype(np.float32)


def draw_codes(toy: Toy, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw code tensors [count, K]."""
    one_hot = [np.eye(size)[rng.integers(0, size, count)] for size in toy.categorical]
    numbers = [rng.uniform(low, high, (count, 1)) for low, high in toy.continuous]
    return np.concatenate(one_hot + numbers, axis=1).astype(np.float32)


def draw_inputs(toy: Toy, tensors: tuple[TensorSpec, ...], count: int, graph_index: int) -> Arrays:
    """Draw `count` rows for each input of the generator (0), the discriminator (1) or the encoder (2)."""
    rng = np.random.default_rng((toy.seed, 2, graph_index))
    inputs: Arrays = {}
    for tensor in tensors:
        shape = (count, *tensor.shape[1:])
        match tensor.role:
            case "latent":
                inputs[tensor.name] = draw_latents(toy, count, rng)
            case "code":
                inputs[tensor.name] = draw_codes(toy, count, rng)
            case "label":
                inputs[tensor.name] = rng.integers(0, toy.label_count, count)
            case "condition":
                inputs[tensor.name] = rng.integers(0, toy.condition_count, count)
            case _ if toy.kind == "item":
                inputs[tensor.name] = rng.integers(0, toy.item_count, shape)
            case _:
                inputs[tensor.name] = rng.uniform(*toy.sample_range, shape).astype(np.float32)
    return inputs


def spec_of(toy: Toy, graph_index: int) -> GraphSpec:
    """The generator (0), the discriminator (1) or the encoder (2), with its golden vectors."""
    write, inputs, outputs = (
        (generator_model, toy.generator_inputs, toy.generator_outputs),
        (discriminator_model, toy.discriminator_inputs, toy.discriminator_outputs),
        (encoder_model, toy.encoder_inputs, toy.encoder_outputs),
    )[graph_index]
    model = write(toy)
    fed = draw_inputs(toy, inputs, toy.golden_count, graph_index)
    return GraphSpec(model, inputs, outputs, fed | replay(model, fed))


def judge_of(toy: Toy, generator: GraphSpec) -> GraphSpec:
    """The discriminator, with its calibration: logits are log density ratios."""
    spec = spec_of(toy, 1)
    highest = reference_quantiles(toy, generator, spec)["generated"][-1]
    ratio = DensityRatio(Line(slope=1.0, intercept=0.0), highest)
    return replace(spec, batch_coupled=toy.batch_coupled, pack=toy.pack, density_ratio=ratio)


def toy_graphs(name: str = "toy", version: int = 1, **options: Unpack[ToyOptions]) -> PackageGraphs:
    """Make the engine's view of a toy package, without files.

    Args:
        name: of the package.
        version: of the package.
        **options: see `Toy`.

    Returns:
        The graphs, their tensors and their golden vectors.
    """
    toy = Toy(**options)
    generator = spec_of(toy, 0)
    return PackageGraphs(
        key=PackageKey(name, version),
        generator=generator,
        discriminator=judge_of(toy, generator) if toy.discriminator else None,
        encoder=spec_of(toy, 2) if toy.encoder else None,
        latent_size=toy.noise_size,
        prior=toy.prior,
        label_count=toy.label_count if toy.conditional else None,
        codes=toy.codes,
        condition_count=toy.condition_count or None,
        item_count=toy.item_count if toy.kind == "item" else None,
        sample_range=toy.sample_range if toy.kind == "image" else None,
        tolerances=TOLERANCES,
    )


def file_entry(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def tensor_entries(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape), "role": s.role} for s in specs]


def graph_entry(kind: str, graph: GraphSpec) -> dict[str, object]:
    return {
        "file": f"{kind}.onnx",
        "opset": OPSET,
        "inputs": tensor_entries(graph.inputs),
        "outputs": tensor_entries(graph.outputs),
    }


def sample_entry(toy: Toy) -> dict[str, object]:
    match toy.kind:
        case "image":
            size = {"channels": toy.channels, "height": toy.height, "width": toy.width}
            return {"kind": "image", "layout": "NCHW", **size, "range": list(toy.sample_range)}
        case "vector":
            return {"kind": "vector", "size": toy.vector_size}
        case "item":
            return {"kind": "item", "count": toy.item_count}


def reference_quantiles(toy: Toy, generator: GraphSpec, discriminator: GraphSpec) -> dict[str, list[float]]:
    """Quantiles of the discriminator's logits of noise (for real samples) and of the generator's own samples."""
    noise = draw_inputs(toy, discriminator.inputs, REFERENCE_SAMPLES, graph_index=1)
    drawn = draw_inputs(toy, generator.inputs, REFERENCE_SAMPLES * toy.pack, graph_index=0)
    generated = replay(generator.model, drawn)["sample"].reshape(noise["sample"].shape)
    points = np.linspace(0, 1, REFERENCE_POINTS)

    def quantiles(sample: NDArray[np.generic]) -> list[float]:
        logits = replay(discriminator.model, noise | {"sample": sample})["logit"]
        return [float(value) for value in np.quantile(logits.astype(np.float64), points)]

    return {"real": quantiles(noise["sample"]), "generated": quantiles(generated)}


def discriminator_entry(toy: Toy, generator: GraphSpec, discriminator: GraphSpec) -> dict[str, object]:
    return graph_entry("discriminator", discriminator) | {
        "pack": toy.pack,
        "loss_family": "non_saturating",
        "batch_coupled": toy.batch_coupled,
        "calibration": {
            "method": "platt",
            "slope": 1.0,
            "intercept": 0.0,
            "fit_samples": REFERENCE_SAMPLES,
            "evaluation_samples": REFERENCE_SAMPLES,
            "expected_calibration_error": 0.0,
        },
        "reference_quantiles": reference_quantiles(toy, generator, discriminator),
        **({"unknown_label": unknown_label_entry(toy)} if toy.unknown_label else {}),
    }


def unknown_label_entry(toy: Toy) -> dict[str, object]:
    """A class posterior from the seed, and a calibration that differs from the labelled one."""
    weights = np.random.default_rng((toy.seed, 3)).standard_normal((toy.label_count, toy.label_count))
    points = np.linspace(-3, 3, REFERENCE_POINTS)
    return {
        "weights": weights.tolist(),
        "offsets": np.linspace(-1, 1, toy.label_count).tolist(),
        "label_accuracy": 0.5,
        "calibration": {
            "method": "platt",
            "slope": 0.5,
            "intercept": 0.25,
            "fit_samples": REFERENCE_SAMPLES,
            "evaluation_samples": REFERENCE_SAMPLES,
            "expected_calibration_error": 0.125,
        },
        "reference_quantiles": {"real": (points + 1).tolist(), "generated": points.tolist()},
    }


def code_entry(toy: Toy) -> dict[str, object]:
    """Name codes `kind_0`, `kind_1` and so on, and `number_0` and so on."""
    return {
        "categorical": [{"name": f"kind_{i}", "size": size} for i, size in enumerate(toy.categorical)],
        "continuous": [{"name": f"number_{i}", "low": lo, "high": hi} for i, (lo, hi) in enumerate(toy.continuous)],
    }


def toy_manifest(graphs: PackageGraphs, toy: Toy, files: Mapping[str, bytes]) -> dict[str, object]:
    """The manifest of a toy, valid by `models/manifest.schema.json`."""
    manifest: dict[str, object] = {
        "schema_version": 1,
        "name": graphs.key.name,
        "version": graphs.key.version,
        "created": "2026-01-01T00:00:00Z",
        "summary": "A toy: noise in, noise out.",
        "license": "MIT",
        "files": {file: file_entry(content) for file, content in files.items()},
        "latent": {"size": toy.noise_size, "prior": toy.prior},
        "sample": sample_entry(toy),
        "generator": graph_entry("generator", graphs.generator),
        "golden": {
            "file": "golden.npz",
            "count": toy.golden_count,
            "tolerances": [
                {key: value for key, value in asdict(tolerance).items() if value is not None}
                for tolerance in graphs.tolerances
            ],
        },
        "provenance": {
            "objective": "toy",
            "config": {},
            "config_sha256": HASH_OF_NOTHING,
            "data": {"name": "noise", "sha256": HASH_OF_NOTHING},
            "commit": None,
            "samples_seen": 0,
            "metrics": {},
        },
    }
    if toy.reference_count:
        manifest["reference"] = {"file": "reference.npy", "count": toy.reference_count}
    if toy.conditional:
        manifest["labels"] = {"names": [f"class {label}" for label in range(toy.label_count)]}
    if toy.codes is not None:
        manifest["codes"] = code_entry(toy)
    if toy.condition_count:
        manifest["condition"] = {"name": "user", "count": toy.condition_count}
    if graphs.discriminator is not None:
        manifest["discriminator"] = discriminator_entry(toy, graphs.generator, graphs.discriminator)
    if graphs.encoder is not None:
        manifest["encoder"] = graph_entry("encoder", graphs.encoder)
    return manifest


def toy_files(graphs: PackageGraphs) -> dict[str, bytes]:
    """Serialize a toy's graphs and golden vectors: bare file name → bytes."""
    specs = {"generator": graphs.generator, "discriminator": graphs.discriminator, "encoder": graphs.encoder}
    there = {kind: spec for kind, spec in specs.items() if spec is not None}
    golden = {f"{kind}.{tensor}": values for kind, spec in there.items() for tensor, values in spec.golden.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **golden)
    return {f"{kind}.onnx": spec.model for kind, spec in there.items()} | {"golden.npz": buffer.getvalue()}


def reference_file(toy: Toy) -> bytes:
    """Normal vectors from the seed, as an NPY file."""
    shape = (toy.reference_count, toy.vector_size)
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng((toy.seed, 4)).standard_normal(shape).astype("<f4"))
    return buffer.getvalue()


def write_toy_package(models_dir: Path, name: str = "toy", version: int = 1, **options: Unpack[ToyOptions]) -> Path:
    """Publish a toy package as a training run does: a temporary sibling, then a rename.

    Args:
        models_dir: folder of packages.
        name: of the package.
        version: of the package.
        **options: see `Toy`.

    Returns:
        The package's folder, `models_dir/name/version`.
    """
    toy = Toy(**options)
    graphs = toy_graphs(name, version, **options)
    files = toy_files(graphs)
    if toy.reference_count:
        files["reference.npy"] = reference_file(toy)
    manifest = json.dumps(toy_manifest(graphs, toy, files), indent=2).encode()
    folder = models_dir / name / str(version)
    temporary = models_dir / name / f".{version}.tmp"
    temporary.mkdir(parents=True)
    for file, content in (files | {"manifest.json": manifest}).items():
        (temporary / file).write_bytes(content)
    temporary.rename(folder)
    return folder


def republish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace or add files of a package, and update sizes and hashes in its manifest, which so remain valid.

    Args:
        folder: the package's folder.
        files: bare name → new content.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    for file, content in files.items():
        (folder / file).write_bytes(content)
        manifest["files"][file] = file_entry(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
