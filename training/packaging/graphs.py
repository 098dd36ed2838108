"""Torch networks as ONNX graphs that stand on their own: one file, no code, no noise, no trace of this machine.

    network -> plain copy (evaluation mode, spectral norm folded) -> torch.onnx -> cleaned -> checked -> bytes

The graphs of a package are functions of their inputs alone. Quantisation happens inside the generator's graph, so that
whoever runs it sends the same bytes. Opset 18 is what torch's exporter writes natively, so nothing is converted after
it; ONNX Runtime, OpenVINO and TensorRT all read it.

Convolutions swallow the batch normalisation that follows them (the exporter sees to it). One that follows a reshaped
linear layer stays: it is one pass over the smallest map.

Shapes: B batch, Z latent, C H W channels, height and width.
"""

import copy
import logging
import warnings
from typing import Final, cast

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.data.pixels import to_bytes
from training.errors import ExportError

OPSET: Final = 18
BATCH_NAME: Final = "batch"
LATENT, SAMPLE, PIXELS, LOGIT = "latent", "sample", "pixels", "logit"  # the tensors' names are their roles
EXAMPLE_BATCH = 2  # torch.export takes an example of 0 or 1 for a constant, not for a batch
RANDOM_OPERATORS: Final = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
}  # fmt: skip


class _GeneratorGraph(nn.Module):
    """Latents to samples and to the bytes that are sent."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Shape [B, Z] to float32 [B, C, H, W] and uint8 [B, H, W, C]."""
        sample = self.generator(latents)
        return sample, to_bytes(sample).permute(0, 2, 3, 1)


def generator_graph(generator: nn.Module, latent_size: int) -> bytes:
    """Write a generator.

    Args:
        generator: maps [B, Z] to [B, C, H, W] in the range of `training.data.pixels`.
        latent_size: Z.

    Returns:
        A serialized graph `latent` -> `sample` float32 [B, C, H, W], `pixels` uint8 [B, H, W, C].

    Raises:
        ExportError: if the network has no faithful graph.
    """
    example = torch.zeros(EXAMPLE_BATCH, latent_size)
    return _serialise(_GeneratorGraph(plain(generator)), example, LATENT, (SAMPLE, PIXELS))


def discriminator_graph(discriminator: nn.Module, image_shape: tuple[int, int, int]) -> bytes:
    """Write a discriminator.

    Args:
        discriminator: maps [B, C, H, W] to logits [B].
        image_shape: C, H, W.

    Returns:
        A serialized graph `sample` -> `logit` float32 [B].

    Raises:
        ExportError: if the network has no faithful graph.
    """
    return _serialise(plain(discriminator), torch.zeros(EXAMPLE_BATCH, *image_shape), SAMPLE, (LOGIT,))


def plain(network: nn.Module) -> nn.Module:
    """Copy a network as it is served: in evaluation mode, every parametrized weight replaced by its value.

    Args:
        network: left as it is.

    Returns:
        A network that computes the same.
    """
    served = copy.deepcopy(network).eval()
    for module in served.modules():
        if parametrize.is_parametrized(module):
            _fold_parametrizations(module)
    return served.requires_grad_(False)


def opset_of(graph: bytes) -> int:
    """The version of the operators that a serialized graph really uses; an exporter may write another than asked."""
    version: int = onnx.load_model_from_string(graph).opset_import[0].version
    return version


def _fold_parametrizations(module: nn.Module) -> None:
    """Replace weights by their values, for this module alone.

    torch's `remove_parametrizations` also takes the property off the module's class, which a copy shares with its
    original: the original would lose its weights.
    """
    values = {name: getattr(module, name).detach() for name in cast("nn.ModuleDict", module.parametrizations)}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _serialise(network: nn.Module, example: Tensor, input_name: str, output_names: tuple[str, ...]) -> bytes:
    model = _export(network, example, input_name, output_names)
    _clean(model)
    _check(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _export(network: nn.Module, example: Tensor, input_name: str, output_names: tuple[str, ...]) -> onnx.ModelProto:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of every library it could translate and does not find
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own deprecations here
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                external_data=False,
                input_names=[input_name],
                output_names=list(output_names),
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
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
    """Drop what a graph does not need: stack traces with this machine's paths above all."""
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
