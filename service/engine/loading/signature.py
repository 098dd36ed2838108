"""Which tensors the engine can use: a graph's inputs and outputs by what they mean.

It holds the graphs to each other and to the package's own facts (latent size, labels, codes, condition) before a
session is made, so that the way of a job (`core/pipeline.py`) can look tensors up by role and need not doubt
them.

Shapes: N samples, Z latent coordinates, K elements of the code tensor, P samples judged together, C channels, H height,
W width.
"""

from collections.abc import Mapping, Sequence

from service.engine.model_spec import Datatype, GraphSpec, PackageGraphs, Role, TensorSpec
from service.errors import GraphRefused

Tensors = Mapping[Role, TensorSpec]

FLOATS: tuple[Datatype, ...] = ("FP32", "FP16")
DATATYPES: Mapping[Role, tuple[Datatype, ...]] = {
    "latent": FLOATS,
    "label": ("INT64",),
    "code": FLOATS,
    "condition": ("INT64",),
    "pixels": ("UINT8",),
    "logit": FLOATS,
}


def generator_tensors(package: PackageGraphs) -> tuple[Tensors, Tensors]:
    """The generator's inputs and outputs by role.

    Raises:
        GraphRefused: it takes anything but latents [N, Z] and the package's labels [N], codes [N, K] and conditions
            [N], or makes anything but samples and, of images [N, C, H, W], pixels [N, H, W, C].
    """
    spec, described = package.generator, _described(package)
    inputs = _by_role("generator takes", spec.inputs, {"latent"}, {"label", "code", "condition"}, package)
    outputs = _by_role("generator makes", spec.outputs, {"sample"}, {"pixels"}, package)
    _hold_shape(inputs["latent"], (-1, package.latent_size))
    _hold_described("generator", inputs, described)
    for role in described:
        if role not in inputs:
            raise GraphRefused(f"the package has {role}s, but its generator takes none")
    if package.item_count is not None:
        _hold_shape(outputs["sample"], (-1,))
    if "pixels" in outputs:
        _, *channels, height, width = outputs["sample"].shape
        _hold_shape(outputs["pixels"], (-1, height, width, *channels))
    return inputs, outputs


def discriminator_tensors(package: PackageGraphs, spec: GraphSpec) -> tuple[Tensors, Tensors]:
    """The discriminator's inputs and outputs by role.

    Raises:
        GraphRefused: it takes anything but the generator's samples, P of them side by side, and the package's labels
            and conditions, or answers anything but one logit each.
    """
    inputs = _by_role("discriminator takes", spec.inputs, {"sample"}, {"label", "condition"}, package)
    outputs = _by_role("discriminator makes", spec.outputs, {"logit"}, set(), package)
    _hold_shape(inputs["sample"], _packed(_generated(package), spec.pack))
    _hold_described("discriminator", inputs, _described(package))
    _hold_shape(outputs["logit"], (-1,))
    return inputs, outputs


def encoder_tensors(package: PackageGraphs, spec: GraphSpec) -> tuple[Tensors, Tensors]:
    """The encoder's inputs and outputs by role.

    Raises:
        GraphRefused: it takes anything but the generator's samples and the package's labels and conditions, or answers
            anything but latents [N, Z] and the package's codes [N, K].
    """
    inputs = _by_role("encoder takes", spec.inputs, {"sample"}, {"label", "condition"}, package)
    outputs = _by_role("encoder makes", spec.outputs, set(), {"latent", "code"}, package)
    described = _described(package)
    _hold_shape(inputs["sample"], _generated(package))
    _hold_described("encoder", inputs, described)
    _hold_described("encoder", outputs, described)
    if "latent" in outputs:
        _hold_shape(outputs["latent"], (-1, package.latent_size))
    return inputs, outputs


def _described(package: PackageGraphs) -> dict[Role, tuple[int, ...]]:
    """What the package says that its generator takes beside the latent, and the shape of each."""
    described: dict[Role, tuple[int, ...]] = {}
    if package.label_count is not None:
        described["label"] = (-1,)
    if package.codes is not None:
        described["code"] = -1, package.codes.width
    if package.condition_count is not None:
        described["condition"] = (-1,)
    return described


def _generated(package: PackageGraphs) -> tuple[int, ...]:
    _, outputs = generator_tensors(package)
    return outputs["sample"].shape


def _packed(shape: tuple[int, ...], pack: int) -> tuple[int, ...]:
    """The shape of `pack` samples side by side."""
    batch, *axes = shape
    if not axes:
        return (batch,) if pack == 1 else (batch, pack)
    return batch, pack * axes[0], *axes[1:]


def _by_role(
    what: str, tensors: Sequence[TensorSpec], needed: set[Role], allowed: set[Role], package: PackageGraphs
) -> Tensors:
    roles = [tensor.role for tensor in tensors]
    if len(roles) > len(set(roles)) or not needed <= set(roles) <= needed | allowed:
        known = ", ".join(sorted(needed | allowed))
        raise GraphRefused(f"the {what} {', '.join(roles)}; this service knows {known}, once each")
    samples: tuple[Datatype, ...] = FLOATS if package.item_count is None else ("INT64",)
    for tensor in tensors:
        datatypes = samples if tensor.role == "sample" else DATATYPES[tensor.role]
        if tensor.datatype not in datatypes:
            raise GraphRefused(f"the {what} {tensor.name} as {tensor.datatype}, not {datatypes[0]}")
    return {tensor.role: tensor for tensor in tensors}


def _hold_described(graph: str, tensors: Tensors, described: Mapping[Role, tuple[int, ...]]) -> None:
    """Hold labels, codes and conditions to what the package says of them."""
    for role in ("label", "code", "condition"):
        if role not in tensors:
            continue
        if role not in described:
            raise GraphRefused(f"the {graph} has {role}s among its tensors, but the package has none")
        _hold_shape(tensors[role], described[role])


def _hold_shape(tensor: TensorSpec, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise GraphRefused(f"tensor {tensor.name} has shape {list(tensor.shape)}, not {list(shape)}")
