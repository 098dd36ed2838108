"""Exports torch networks as self-contained ONNX graphs: one file, no code, no noise, no paths of this machine.

    network as it is served -> torch.onnx -> cleaned -> checked -> bytes

The graphs of a package are functions of their inputs alone. Opset 18 is the exporter's native one, so nothing is
converted; ONNX Runtime, OpenVINO and TensorRT all read it.

The exporter folds batch normalisation into the convolution before it. After a reshaped linear layer it stays, which
costs one pass over the smallest map.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Final, cast

import onnx
import torch
from torch import Tensor, nn

from training.errors import ExportError
from training.export.graphs.interface import TensorSpec

OPSET: Final = 18
BATCH_NAME: Final = "batch"
EXAMPLE_BATCH = 2  # torch.export treats an axis of size 0 or 1 as a constant
RANDOM_OPERATORS: Final = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
}  # fmt: skip


def write(network: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
    """Write a network as a graph.

    Args:
        network: as it is served (`training.export.graphs.inference_networks`).
        inputs: its arguments, in order.
        outputs: its outputs, in order.

    Returns:
        A serialized graph whose first dimension is the batch everywhere.

    Raises:
        ExportError: if the network has no faithful graph.
    """
    examples = [port.example(EXAMPLE_BATCH) for port in inputs]
    model = convert(network, examples, [port.name for port in inputs], [port.name for port in outputs])
    _clean(model)
    _check(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


class _Arguments(nn.Module):
    """A network with its arguments in one tuple, so that any number of them can be named."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, arguments: tuple[Tensor, ...]) -> object:
        return self.network(*arguments)


def convert(
    network: nn.Module,
    examples: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    free_batch: bool = True,
    optimize: bool = True,
) -> onnx.ModelProto:
    """Convert a network to ONNX as it is, whatever a package may hold.

    Args:
        network: in the mode and on the device that it is traced in.
        examples: its arguments, in order; batches of 2 or more where the batch is to be free.
        inputs: names of its arguments.
        outputs: names of its outputs.
        free_batch: whether the first axis of every input is the batch; otherwise shapes are those of the examples.
        optimize: whether the graph is simplified, which also drops a term of 1e-8 that keeps a division finite.

    Raises:
        ExportError: if it cannot be traced or converted.
    """
    with _quiet():
        try:
            program = torch.onnx.export(
                _Arguments(network),
                (tuple(examples),),
                dynamo=True,
                external_data=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),) if free_batch else None,
                opset_version=OPSET,
                optimize=optimize,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise ExportError(f"the network cannot be written as ONNX: {reason}") from error
    return cast("torch.onnx.ONNXProgram", program).model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what torch says while it exports: libraries that are missing, deprecations, graphs that it cannot trace."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx.experimental.symbolic_shapes")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def opset_of(graph: bytes) -> int:
    """Read the opset of a serialized graph; an exporter may write another than requested."""
    version: int = onnx.load_model_from_string(graph).opset_import[0].version
    return version


def _clean(model: onnx.ModelProto) -> None:
    """Drop what a graph does not need, such as stack traces with this machine's paths."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH_NAME


def _check(model: onnx.ModelProto) -> None:
    """Refuse a graph that is not a function of its inputs alone."""
    onnx.checker.check_model(model, full_check=True)
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        raise ExportError("the network decides its course by its data; a package's graph is one straight computation")
    chance = sorted({node.op_type for node in model.graph.node} & RANDOM_OPERATORS)
    if chance:
        raise ExportError(
            f"the network draws random numbers of its own ({', '.join(chance)}); all noise must be an input"
        )
