"""Which tensors the engine can use: a graph's inputs and outputs by what they mean.

It holds the graphs to each other and to the package's own facts (latent size, labels) before a session is made, so that
the way of a job (`service/engine/pipeline.py`) can look tensors up by role and need not doubt them.

Shapes: N samples, Z latent coordinates, P samples judged together, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence

from service.engine.graphs import Datatype, GraphSpec, PackageGraphs, Role, TensorSpec
from service.errors import GraphRefused

Tensors = Mapping[Role, TensorSpec]

DATATYPES: Mapping[Role, tuple[Datatype, ...]] = {
    "latent": ("FP32", "FP16"),
    "label": ("INT64",),
    "sample": ("FP32", "FP16"),
    "pixels": ("UINT8",),
    "logit": ("FP32", "FP16"),
}


def generator_tensors(package: PackageGraphs) -> tuple[Tensors, Tensors]:
    """The generator's inputs and outputs by role.

    Raises:
        GraphRefused: it takes anything but latents [N, Z] and the package's labels [N], or makes anything but samples
            and, of images [N, C, H, W], pixels [N, H, W, C].
    """
    spec = package.generator
    inputs = _by_role("generator takes", spec.inputs, {"latent"}, {"label"})
    outputs = _by_role("generator makes", spec.outputs, {"sample"}, {"pixels"})
    _hold_shape(inputs["latent"], (-1, package.latent_size))
    _hold_labels("generator", inputs, package)
    if package.label_count is not None and "label" not in inputs:
        raise GraphRefused("the package has labels, but its generator takes none")
    if "pixels" in outputs:
        _, *channels, height, width = outputs["sample"].shape
        _hold_shape(outputs["pixels"], (-1, height, width, *channels))
    return inputs, outputs


def discriminator_tensors(package: PackageGraphs, spec: GraphSpec) -> tuple[Tensors, Tensors]:
    """The discriminator's inputs and outputs by role.

    Raises:
        GraphRefused: it takes anything but the generator's samples, P of them side by side, and the package's labels,
            or answers anything but one logit each.
    """
    inputs = _by_role("discriminator takes", spec.inputs, {"sample"}, {"label"})
    outputs = _by_role("discriminator makes", spec.outputs, {"logit"}, set())
    _, generated = generator_tensors(package)
    batch, channels, *rest = generated["sample"].shape
    _hold_shape(inputs["sample"], (batch, channels * spec.pack, *rest))
    _hold_labels("discriminator", inputs, package)
    _hold_shape(outputs["logit"], (-1,))
    return inputs, outputs


def _by_role(what: str, tensors: Sequence[TensorSpec], needed: set[Role], allowed: set[Role]) -> Tensors:
    roles = [tensor.role for tensor in tensors]
    if len(roles) > len(set(roles)) or not needed <= set(roles) <= needed | allowed:
        known = ", ".join(sorted(needed | allowed))
        raise GraphRefused(f"the {what} {', '.join(roles)}; this service knows {known}, once each")
    for tensor in tensors:
        if tensor.datatype not in DATATYPES[tensor.role]:
            raise GraphRefused(f"the {what} {tensor.name} as {tensor.datatype}, not {DATATYPES[tensor.role][0]}")
    return {tensor.role: tensor for tensor in tensors}


def _hold_labels(graph: str, inputs: Tensors, package: PackageGraphs) -> None:
    if "label" not in inputs:
        return
    if package.label_count is None:
        raise GraphRefused(f"the {graph} takes labels, but the package has none")
    _hold_shape(inputs["label"], (-1,))


def _hold_shape(tensor: TensorSpec, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise GraphRefused(f"tensor {tensor.name} has shape {list(tensor.shape)}, not {list(shape)}")
