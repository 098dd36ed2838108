"""Reads a foreign ONNX file as a plain graph: one file, standard operators of a served opset, inference only.

    file ─▶ external data taken in ─▶ functions inlined ─▶ training nodes dropped ─▶ opset raised ─▶ checked

Every refusal is one sentence that names the file, the node or tensor, and what to do.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.inliner
import onnxscript.optimizer
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from training.errors import ExportError
from training.export.graphs.onnx_export import OPSET, RANDOM_OPERATORS

LAST_PLAIN_RESIZE: Final = 10  # later, `Resize` says how it maps coordinates, and the converter does not
HIGHEST_OPSET: Final = 26  # of the package format; below `OPSET`, operators are converted to it
OLDEST_IR: Final = 8  # the first that has opset 18; versions before 4 want weights among the inputs
LARGEST_BYTES: Final = 2**31 - 1  # of one protobuf message, and so of a package's graph
NOISE_SEED: Final = 0
SMALL: Final = 1024  # elements of constants that are folded: shapes and conditions, no weights
OF_PYTORCH: Final = "a file of PyTorch and no ONNX file; load it in Python and give the module to `ganymede.publish`"
# By their first bytes: what is given by mistake.
OTHER_FILES: Final = {
    b"PK\x03\x04": OF_PYTORCH,
    b"\x80": OF_PYTORCH,
    b"\x89HDF": "a file of Keras and no ONNX file; convert the model with `python -m tf2onnx.convert`",
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself; fetch it with `git lfs pull`",
}
STANDARD_DOMAINS: Final = {"", "ai.onnx"}
LONGEST_REASON: Final = 200  # characters of a library's own words


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file in memory.

    Attributes:
        name: of the file, for messages and provenance.
        content: serialized, without external data.
        sha256: of the file, or of its bytes and then those of its data files.
    """

    name: str
    content: bytes
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "GraphFile":
        """A graph that is in memory."""
        return cls(name, content, hashlib.sha256(content).hexdigest())

    @classmethod
    def read(cls, path: Path) -> "GraphFile":
        """Read a file, and the data files that it names.

        Raises:
            ExportError: if it cannot be read, is no ONNX file, or has more than 2 GiB with its external data.
        """
        try:
            size, content = path.stat().st_size, b""
            if size <= LARGEST_BYTES:
                content = path.read_bytes()
        except OSError as error:
            raise ExportError(f"cannot read {path}: {error.strerror}") from error
        if size > LARGEST_BYTES:
            raise ExportError(f"{path.name} has {size:,} bytes; a served graph has {LARGEST_BYTES:,} at most")
        model = parse(path.name, content)
        external = [tensor for tensor in _tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
        if not external:
            return cls.of(path.name, content)
        _check_external(path, external)
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
            whole: bytes = model.SerializeToString()
        except (OSError, ValueError, EncodeError, onnx.checker.ValidationError) as error:
            raise ExportError(
                f"{path.name}: the external data of {external[0].name!r} cannot be read ({short(error)}); "
                "put its data file beside it"
            ) from error
        return cls.of(path.name, whole)


def parse(name: str, content: bytes) -> ModelProto:
    """Parse a serialized graph.

    Raises:
        ExportError: if it is none.
    """
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise ExportError(f"{name} is {_kind(content)}") from error
    if not model.graph.node or not model.graph.output:
        raise ExportError(f"{name} is no ONNX graph: it has no nodes or no outputs")
    return model


@dataclass(frozen=True)
class PlainGraph:
    """A graph that could be served, but for its tensors.

    Attributes:
        name: of its file.
        done: what was done to it, as sentences.
        reference: what it is compared with: the file itself, or, where it had training nodes or noise of its own, the
            graph without them.
    """

    name: str
    model: ModelProto
    done: list[str]
    reference: bytes


def _kind(content: bytes) -> str:
    """What a file is that is no graph, and what to do with it."""
    found = next((words for begins, words in OTHER_FILES.items() if content[: len(begins)] == begins), None)
    return found or "no ONNX file, or is cut off; export or copy it again"


def plain(file: GraphFile, *, freeze_noise: bool) -> PlainGraph:
    """Make a graph plain: inlined, without training nodes, of a served opset.

    Args:
        freeze_noise: whether random operators become constants.

    Raises:
        ExportError: which node or tensor cannot be served, and what to do.
    """
    model, done = parse(file.name, file.content), []
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
        done.append("functions inlined")
    _check_domains(file.name, model)
    inputs = inputs_of(file)
    if len(inputs) < len(model.graph.input):
        done.append("weights removed from the inputs")
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    dropped = _drop_training_nodes(model.graph)
    done += dropped
    model.ir_version = max(model.ir_version, OLDEST_IR)  # before IR 4, weights had to be among the inputs
    _check_valid(file.name, model)
    model = _raise_opset(file.name, model, done)
    for index, node in enumerate(model.graph.node):
        if node.op_type in RANDOM_OPERATORS and not freeze_noise:
            raise ExportError(
                f"{file.name}: {where(index, node)} draws random numbers, so a seed would not give one sample; export "
                "it with the noise as an input, or make it constant with --freeze-noise"
            )
    frozen = _freeze_noise(file.name, model) if freeze_noise else []
    clear_notes(model)
    changed = frozen or dropped
    if any(_is_flow(node) for node in model.graph.node):
        model = folded(model)
        done.append("branches on constants replaced by what they choose")
    _check_flow(file.name, model)
    return PlainGraph(
        file.name, model, done + frozen, model.SerializeToString(deterministic=True) if changed else file.content
    )


def _check_valid(name: str, model: ModelProto) -> None:
    """Refuse what the library's own check refuses, and weights that are cut off, which it lets pass."""
    try:
        onnx.checker.check_model(model)
        for tensor in model.graph.initializer:
            numpy_helper.to_array(tensor)
    except (onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise ExportError(f"{name} is not valid ONNX: {short(error)}; export it again") from error


def where(index: int, node: NodeProto) -> str:
    """Name a node in a message."""
    return f"node {node.name or index!r} ({node.op_type})"


def _is_flow(node: NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def folded(model: ModelProto) -> ModelProto:
    """Fold what constants and known shapes decide: branches, as torch's `squeeze` leaves them, and sizes."""
    found = ModelProto()
    found.CopyFrom(model)
    onnxscript.optimizer.fold_constants(
        found,
        onnx_shape_inference=True,
        input_size_limit=SMALL,
        output_size_limit=SMALL,
        should_fold=lambda node: True if node.op_type == "ConstantOfShape" else None,
    )
    remove_unused(found.graph)
    clear_notes(found)
    return found


def _check_flow(name: str, model: ModelProto) -> None:
    """Refuse control flow."""
    for index, node in enumerate(model.graph.node):
        if _is_flow(node):
            raise ExportError(
                f"{name}: {where(index, node)} is control flow, which a served graph cannot have; export it traced, "
                "with the branch that inference takes"
            )


def inputs_of(file: GraphFile) -> list[onnx.ValueInfoProto]:
    """The inputs of a file that are no weights."""
    graph = parse(file.name, file.content).graph
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def remove_unused(graph: GraphProto) -> None:
    """Remove nodes and weights that no output depends on."""
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(name for name in node.input if name)
    kept.reverse()
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _check_external(path: Path, external: list[TensorProto]) -> None:
    """Refuse weights that would not fit into one file."""
    total = sum(
        math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize for tensor in external
    )
    if total > LARGEST_BYTES:
        largest = max(external, key=lambda tensor: math.prod(tensor.dims))
        raise ExportError(
            f"{path.name} has {total:,} bytes of external data, most of it in {largest.name!r}; a served graph is one "
            f"file of {LARGEST_BYTES:,} bytes at most: export it with float16 weights"
        )


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors that may hold external data, those of subgraphs included."""
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    yield attribute.t
                elif attribute.type == AttributeProto.GRAPH:
                    graphs.append(attribute.g)


def _check_domains(name: str, model: ModelProto) -> None:
    for index, node in enumerate(model.graph.node):
        if node.domain not in STANDARD_DOMAINS:
            raise ExportError(
                f"{name}: {where(index, node)} is of the domain {node.domain!r}; a served graph has standard operators "
                "alone: export it without custom operators, and without the optimisations of one runtime"
            )
        node.ClearField("domain")
    standard = [each for each in model.opset_import if each.domain in STANDARD_DOMAINS]
    if not standard:
        raise ExportError(f"{name} states no opset of ai.onnx; export it again")
    version = standard[0].version
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))
    if not 1 <= version <= HIGHEST_OPSET:
        raise ExportError(f"{name} has opset {version}; export it with {OPSET} (1 to {HIGHEST_OPSET} can be taken)")


def _drop_training_nodes(graph: GraphProto) -> list[str]:
    """Replace dropout by its input, and batch statistics by the running ones; returns what was done."""
    done: list[str] = []
    replaced: dict[str, str] = {}
    kept: list[NodeProto] = []
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type == "Dropout" and node.output[0] not in outputs:
            replaced[node.output[0]] = replaced.get(node.input[0], node.input[0])
            continue
        for place, taken in enumerate(node.input):
            node.input[place] = replaced.get(taken, taken)
        if node.op_type == "Dropout":
            identity = onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]])
            node.CopyFrom(identity)
            done.append("dropout removed")
        if node.op_type == "BatchNormalization":
            training = [each for each in node.attribute if each.name in {"training_mode", "is_test"}]
            if len(node.output) > 1 or any(each.name == "training_mode" and each.i for each in training):
                done.append("normalisations made to use their running statistics, since it was exported in training")
            for each in training:
                node.attribute.remove(each)
            del node.output[1:]
        kept.append(node)
    if replaced:
        done.append("dropout removed")
    del graph.node[:]
    graph.node.extend(kept)
    return list(dict.fromkeys(done))


def _raise_opset(name: str, model: ModelProto, done: list[str]) -> ModelProto:
    """Convert operators to a served opset."""
    model.ir_version = max(model.ir_version, OLDEST_IR)
    version = model.opset_import[0].version
    if version >= OPSET:
        return model
    try:
        raised: ModelProto = onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises RuntimeError, and its own types by operator
        raise ExportError(
            f"{name} has opset {version}, and the library cannot convert it to {OPSET} ({short(error)}); export it "
            f"again with opset {OPSET}"
        ) from error
    raised.ir_version = max(raised.ir_version, OLDEST_IR)
    if version <= LAST_PLAIN_RESIZE:
        _resize_as_before(raised.graph)
    done.append(f"opset {version} raised to {OPSET}")
    return raised


def _resize_as_before(graph: GraphProto) -> None:
    """Have converted `Upsample` and `Resize` map coordinates as they did, which no longer is the default."""
    for node in graph.node:
        stated = {attribute.name for attribute in node.attribute}
        if node.op_type == "Resize" and "coordinate_transformation_mode" not in stated:
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            if "nearest_mode" not in stated:
                node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def _freeze_noise(name: str, model: ModelProto) -> list[str]:
    """Replace every random operator by one draw, the same for all samples."""
    noise, frozen, chance = [], 0, np.random.default_rng(NOISE_SEED)
    shapes: dict[str, list[int]] = {}
    if any(node.op_type.endswith("Like") or node.op_type == "Bernoulli" for node in model.graph.node):
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        for value in (*inferred.value_info, *inferred.input, *inferred.output):
            dims = value.type.tensor_type.shape.dim
            shapes[value.name] = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in dims]
    kept = []
    for index, node in enumerate(model.graph.node):
        if node.op_type not in RANDOM_OPERATORS:
            kept.append(node)
            continue
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        shape = list(attributes.get("shape", shapes.get(node.input[0] if node.input else "", [])))
        shape[:1] = [1] if len(shape) > 1 else shape[:1]  # one draw for every sample of a batch
        if node.op_type in {"Bernoulli", "Multinomial"} or not shape or min(shape) < 1:
            raise ExportError(
                f"{name}: {where(index, node)} draws random numbers of a shape that is not known, so --freeze-noise "
                "cannot make it constant; export it with the noise as an input"
            )
        if "Normal" in node.op_type:
            drawn = attributes.get("mean", 0.0) + attributes.get("scale", 1.0) * chance.standard_normal(shape)
        else:
            drawn = chance.uniform(attributes.get("low", 0.0), attributes.get("high", 1.0), shape)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(attributes.get("dtype", TensorProto.FLOAT))
        noise.append(numpy_helper.from_array(drawn.astype(dtype), node.output[0]))
        frozen += 1
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(noise)
    return [f"{frozen} random operators made constant (--freeze-noise)"] if frozen else []


def clear_notes(model: ModelProto) -> None:
    """Drop what a graph does not need, such as paths of the machine that made it, and shapes of its example batch."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.value_info[:]
    del graph.quantization_annotation[:]


def short(error: Exception) -> str:
    """A library's own words on one line."""
    words = " ".join(str(error).split())
    return words[:LONGEST_REASON] or type(error).__name__
