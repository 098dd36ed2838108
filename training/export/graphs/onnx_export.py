"""Exports torch networks as self-contained ONNX graphs: one file, no code, no noise, no paths of this machine.

    network as it is served -> torch.onnx -> cleaned -> checked -> bytes

The graphs of a package are functions of their inputs alone. Opset 18 is the exporter's native one, so nothing is
converted; ONNX Runtime, OpenVINO and TensorRT all read it.

The exporter folds batch normalisation into the convolution before it. After a reshaped linear layer it stays, which
costs one pass over the smallest map.
"""

import logging
import warnings
from collections.abc import Sequence
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
    model = _export(network, inputs, outputs)
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


def opset_of(graph: bytes) -> int:
    """Read the opset of a serialized graph; an exporter may write another than requested."""
    version: int = onnx.load_model_from_string(graph).opset_import[0].version
    return version


def _export(network: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> onnx.ModelProto:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of every optional library that is missing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own deprecations here
            program = torch.onnx.export(
                _Arguments(network),
                (tuple(port.example(EXAMPLE_BATCH) for port in inputs),),
                dynamo=True,
                external_data=False,
                input_names=[port.name for port in inputs],
                output_names=[port.name for port in outputs],
                dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs),),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ExportError(f"the network cannot be written as ONNX: {reason}") from error
    finally:
        logger.setLevel(level)
    return cast("torch.onnx.ONNXProgram", program).model_proto


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
