"""Toy packages: small, real ONNX graphs with a manifest, golden vectors and hashes, made without torch.

They are what a training run would publish, but in milliseconds and of any shape: conditional or not, with a plain, a
packing or a batch-coupled discriminator. Weights come from a seed, so two calls with the same options write the same
bytes. Nothing here imports the service but for the plain dataclasses of `service/engine/graphs.py`, so a mistake of
the reader cannot hide in its own test data.

Shapes: B batch, Z latent coordinates, K classes, P samples judged together, C channels, H height, W width.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.engine.graphs import Datatype, GraphSpec, PackageGraphs, PackageKey, Prior, TensorSpec, Tolerance

OPSET = 20
IR_VERSION = 10  # the IR of opset 20's releases: old runtimes read it as well
EMBEDDING_SIZE = 4
FEATURES = 4  # feature maps between two convolutions: the least that is still a convolution
REFERENCE_SAMPLES = 64
REFERENCE_POINTS = 21  # quantiles at 0, 5, … 100 %
HASH_OF_NOTHING = hashlib.sha256(b"").hexdigest()
ONNX_TYPES: Mapping[Datatype, int] = {
    "FP32": TensorProto.FLOAT,
    "FP16": TensorProto.FLOAT16,
    "UINT8": TensorProto.UINT8,
    "INT64": TensorProto.INT64,
}
TOLERANCES = (
    Tolerance(provider="CPUExecutionProvider", precision="fp32", sample=1e-5, pixels=1, logit=1e-4),
    Tolerance(provider="CUDAExecutionProvider", precision="fp32", sample=1e-4, pixels=1, logit=1e-3),
)

Arrays = dict[str, NDArray[np.generic]]


class ToyOptions(TypedDict, total=False):
    """What a toy may look like; `Toy` has the defaults."""

    conditional: bool
    discriminator: bool
    height: int
    width: int
    channels: Literal[1, 3]
    latent_size: int
    prior: Prior
    sample_range: tuple[float, float]
    label_count: int
    pack: int
    batch_coupled: bool
    golden_count: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """One toy package's shape.

    Attributes:
        conditional: whether both graphs take a `label`.
        discriminator: whether there is one.
        height: H.
        width: W.
        channels: C.
        latent_size: Z.
        prior: the latent's distribution.
        sample_range: (lo, hi) of the sample's values.
        label_count: K, where conditional.
        pack: P, samples that one logit judges together, side by side in the channels.
        batch_coupled: whether the discriminator subtracts the batch's mean.
        golden_count: golden vectors of each graph.
        seed: of the weights and of the golden inputs.
    """

    conditional: bool = False
    discriminator: bool = True
    height: int = 8
    width: int = 8
    channels: Literal[1, 3] = 1
    latent_size: int = 16
    prior: Prior = "standard_normal"
    sample_range: tuple[float, float] = (-1.0, 1.0)
    label_count: int = 10
    pack: int = 1
    batch_coupled: bool = False
    golden_count: int = 4
    seed: int = 0

    @property
    def label_inputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("label", "INT64", (-1,), "label"),) if self.conditional else ()

    @property
    def generator_inputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("latent", "FP32", (-1, self.latent_size), "latent"), *self.label_inputs)

    @property
    def generator_outputs(self) -> tuple[TensorSpec, ...]:
        return (
            TensorSpec("sample", "FP32", (-1, self.channels, self.height, self.width), "sample"),
            TensorSpec("pixels", "UINT8", (-1, self.height, self.width, self.channels), "pixels"),
        )

    @property
    def discriminator_inputs(self) -> tuple[TensorSpec, ...]:
        shape = (-1, self.channels * self.pack, self.height, self.width)
        return (TensorSpec("sample", "FP32", shape, "sample"), *self.label_inputs)

    @property
    def discriminator_outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("logit", "FP32", (-1,), "logit"),)


class GraphWriter:
    """Collects nodes and weights; each method adds one and returns the name of its output."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(values, name))
        return name

    def weights(self, *shape: int, fan_in: int) -> str:
        """Add normal weights [shape] that keep the variance of their input."""
        return self.constant((self._rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def node(self, op: str, *inputs: str, output: str = "", **attributes: int | float | list[int]) -> str:
        output = output or f"{op.lower()}_{len(self._nodes)}"
        node = helper.make_node(op, inputs, [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output

    def model(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
        def value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
            shape = ["batch" if axis < 0 else axis for axis in spec.shape]
            return helper.make_tensor_value_info(spec.name, ONNX_TYPES[spec.datatype], shape)

        graph = helper.make_graph(
            self._nodes, "toy", [value_info(i) for i in inputs], [value_info(o) for o in outputs], self._initializers
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="toy")
        return bytes(model.SerializeToString())


def generator_model(toy: Toy) -> bytes:
    """Serialize latent [B, Z] (and label [B]) → sample [B, C, H, W] and pixels [B, H, W, C]."""
    graph = GraphWriter(np.random.default_rng((toy.seed, 0)))
    hidden, fan_in = "latent", toy.latent_size
    if toy.conditional:
        embedding = graph.node("Gather", graph.weights(toy.label_count, EMBEDDING_SIZE, fan_in=1), "label")
        hidden, fan_in = graph.node("Concat", hidden, embedding, axis=1), fan_in + EMBEDDING_SIZE
    area = toy.height * toy.width
    hidden = graph.node("Gemm", hidden, graph.weights(fan_in, FEATURES * area, fan_in=fan_in))
    hidden = graph.node("Reshape", hidden, graph.constant(np.array([-1, FEATURES, toy.height, toy.width])))
    kernel = graph.weights(toy.channels, FEATURES, 3, 3, fan_in=FEATURES * 9)
    unit = graph.node("Tanh", graph.node("Conv", hidden, kernel, pads=[1, 1, 1, 1]))
    low, high = np.array(toy.sample_range, dtype=np.float32)
    scaled = graph.node("Mul", unit, graph.constant(np.asarray((high - low) / 2)))
    sample = graph.node("Add", scaled, graph.constant(np.asarray((high + low) / 2)), output="sample")

    zero, one, steps = (graph.constant(np.asarray(value, dtype=np.float32)) for value in (0, 1, 255))
    span = graph.constant(np.asarray(high - low))
    fraction = graph.node("Div", graph.node("Sub", sample, graph.constant(np.asarray(low))), span)
    rounded = graph.node("Round", graph.node("Mul", graph.node("Clip", fraction, zero, one), steps))  # half to even
    quantised = graph.node("Cast", rounded, to=TensorProto.UINT8)
    graph.node("Transpose", quantised, perm=[0, 2, 3, 1], output="pixels")
    return graph.model(toy.generator_inputs, toy.generator_outputs)


def discriminator_model(toy: Toy) -> bytes:
    """Serialize sample [B, P·C, H, W] (and label [B]) → logit [B]."""
    graph = GraphWriter(np.random.default_rng((toy.seed, 1)))
    channels, fan_in = toy.channels * toy.pack, FEATURES * toy.height * toy.width
    kernel = graph.weights(FEATURES, channels, 3, 3, fan_in=channels * 9)
    hidden = graph.node("LeakyRelu", graph.node("Conv", "sample", kernel, pads=[1, 1, 1, 1]), alpha=0.2)
    if toy.batch_coupled:
        batch_axis = graph.constant(np.array([0]))
        hidden = graph.node("Sub", hidden, graph.node("ReduceMean", hidden, batch_axis, keepdims=1))
    hidden = graph.node("Flatten", hidden)
    if toy.conditional:
        embedding = graph.node("Gather", graph.weights(toy.label_count, EMBEDDING_SIZE, fan_in=1), "label")
        hidden, fan_in = graph.node("Concat", hidden, embedding, axis=1), fan_in + EMBEDDING_SIZE
    column = graph.node("Gemm", hidden, graph.weights(fan_in, 1, fan_in=fan_in))
    graph.node("Reshape", column, graph.constant(np.array([-1])), output="logit")
    return graph.model(toy.discriminator_inputs, toy.discriminator_outputs)


def replay(model: bytes, inputs: Arrays) -> Arrays:
    """Run a graph once on one CPU thread; returns its outputs by name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def draw_latents(toy: Toy, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw latents [count, Z] from the toy's prior."""
    shape = (count, toy.latent_size)
    match toy.prior:
        case "standard_normal":
            values = rng.standard_normal(shape)
        case "uniform":
            values = rng.uniform(-1, 1, shape)
        case "gumbel":
            values = rng.gumbel(size=shape)
    return values.astype(np.float32)


def draw_inputs(toy: Toy, count: int, graph_index: int) -> Arrays:
    """Draw `count` rows for each input of the generator (0) or of the discriminator (1)."""
    rng = np.random.default_rng((toy.seed, 2, graph_index))
    if graph_index == 0:
        inputs: Arrays = {"latent": draw_latents(toy, count, rng)}
    else:
        shape = (count, *toy.discriminator_inputs[0].shape[1:])
        inputs = {"sample": rng.uniform(*toy.sample_range, shape).astype(np.float32)}
    if toy.conditional:
        inputs["label"] = rng.integers(0, toy.label_count, count)
    return inputs


def golden_of(toy: Toy, model: bytes, graph_index: int) -> Arrays:
    """What the graph is fed and answers: every input and output, [golden_count, …] each."""
    inputs = draw_inputs(toy, toy.golden_count, graph_index)
    return inputs | replay(model, inputs)


def generator_spec(toy: Toy) -> GraphSpec:
    model = generator_model(toy)
    return GraphSpec(model, toy.generator_inputs, toy.generator_outputs, golden_of(toy, model, graph_index=0))


def discriminator_spec(toy: Toy) -> GraphSpec:
    model = discriminator_model(toy)
    return GraphSpec(
        model,
        toy.discriminator_inputs,
        toy.discriminator_outputs,
        golden_of(toy, model, graph_index=1),
        batch_coupled=toy.batch_coupled,
        pack=toy.pack,
    )


def toy_graphs(name: str = "toy", version: int = 1, **options: Unpack[ToyOptions]) -> PackageGraphs:
    """Make a toy package as the engine sees it, without a file.

    Args:
        name: of the package.
        version: of the package.
        **options: see `Toy`.

    Returns:
        The graphs, their tensors and their golden vectors.
    """
    toy = Toy(**options)
    return PackageGraphs(
        key=PackageKey(name, version),
        generator=generator_spec(toy),
        discriminator=discriminator_spec(toy) if toy.discriminator else None,
        latent_size=toy.latent_size,
        prior=toy.prior,
        label_count=toy.label_count if toy.conditional else None,
        sample_range=toy.sample_range,
        tolerances=TOLERANCES,
    )


def file_entry(content: bytes) -> dict[str, object]:
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def tensor_entries(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [{"name": s.name, "datatype": s.datatype, "shape": list(s.shape), "role": s.role} for s in specs]


def reference_quantiles(toy: Toy, generator: GraphSpec, discriminator: GraphSpec) -> dict[str, list[float]]:
    """Quantiles of the discriminator's logits of noise (for real samples) and of the generator's own samples."""
    noise = draw_inputs(toy, REFERENCE_SAMPLES, graph_index=1)
    drawn = draw_inputs(toy, REFERENCE_SAMPLES * toy.pack, graph_index=0)
    generated = replay(generator.model, drawn)["sample"].reshape(noise["sample"].shape)
    points = np.linspace(0, 1, REFERENCE_POINTS)

    def quantiles(sample: NDArray[np.generic]) -> list[float]:
        logits = replay(discriminator.model, noise | {"sample": sample})["logit"]
        return [float(value) for value in np.quantile(logits.astype(np.float64), points)]

    return {"real": quantiles(noise["sample"]), "generated": quantiles(generated)}


def toy_manifest(graphs: PackageGraphs, toy: Toy, files: Mapping[str, bytes]) -> dict[str, object]:
    """Write the manifest of a toy: valid under `models/manifest.schema.json`."""
    lo, hi = toy.sample_range
    manifest: dict[str, object] = {
        "schema_version": 1,
        "name": graphs.key.name,
        "version": graphs.key.version,
        "created": "2026-01-01T00:00:00Z",
        "summary": "A toy: noise in, noise out.",
        "license": "MIT",
        "files": {file: file_entry(content) for file, content in files.items()},
        "latent": {"size": toy.latent_size, "prior": toy.prior},
        "sample": {
            "kind": "image",
            "layout": "NCHW",
            "channels": toy.channels,
            "height": toy.height,
            "width": toy.width,
            "range": [lo, hi],
        },
        "generator": {
            "file": "generator.onnx",
            "opset": OPSET,
            "inputs": tensor_entries(toy.generator_inputs),
            "outputs": tensor_entries(toy.generator_outputs),
        },
        "golden": {
            "file": "golden.npz",
            "count": toy.golden_count,
            "tolerances": [
                {
                    "provider": t.provider,
                    "precision": t.precision,
                    "sample": t.sample,
                    "pixels": t.pixels,
                    "logit": t.logit,
                }
                for t in graphs.tolerances
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
    if toy.conditional:
        manifest["labels"] = {"names": [f"class {label}" for label in range(toy.label_count)]}
    if graphs.discriminator is not None:
        manifest["discriminator"] = {
            "file": "discriminator.onnx",
            "opset": OPSET,
            "inputs": tensor_entries(toy.discriminator_inputs),
            "outputs": tensor_entries(toy.discriminator_outputs),
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
            "reference_quantiles": reference_quantiles(toy, graphs.generator, graphs.discriminator),
        }
    return manifest


def toy_files(graphs: PackageGraphs) -> dict[str, bytes]:
    """Serialize a toy's graphs and golden vectors: bare file name → bytes."""
    files = {"generator.onnx": graphs.generator.model}
    golden = {f"generator.{tensor}": values for tensor, values in graphs.generator.golden.items()}
    if graphs.discriminator is not None:
        files["discriminator.onnx"] = graphs.discriminator.model
        golden |= {f"discriminator.{tensor}": values for tensor, values in graphs.discriminator.golden.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **golden)
    return files | {"golden.npz": buffer.getvalue()}


def write_toy_package(models_dir: Path, name: str = "toy", version: int = 1, **options: Unpack[ToyOptions]) -> Path:
    """Publish a toy package the way a training run does: a temporary sibling, then a rename.

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
    manifest = json.dumps(toy_manifest(graphs, toy, files), indent=2).encode()
    folder = models_dir / name / str(version)
    temporary = models_dir / name / f".{version}.tmp"
    temporary.mkdir(parents=True)
    for file, content in (files | {"manifest.json": manifest}).items():
        (temporary / file).write_bytes(content)
    temporary.rename(folder)
    return folder


def republish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files of a package, or add some, and state their new sizes and hashes in its manifest.

    What is wrong with such a package is in the files themselves, not in their hashes.

    Args:
        folder: the package's folder.
        files: bare name → new content.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    for file, content in files.items():
        (folder / file).write_bytes(content)
        manifest["files"][file] = file_entry(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
