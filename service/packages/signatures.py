"""Which tensors the graphs of a package have. This is the only statement of it; everything else follows from it.

    graph           inputs                                        outputs
    generator       latent, label?, code?, condition?             sample, pixels (of images)
    discriminator   sample × P, label?, condition?  (latent code) logit  (code)
    encoder         sample, label?, condition?                    latent?, code?  (label)

`?` marks a role that a graph may leave out; a generator takes everything that the manifest describes. Roles in brackets
are valid in the format, but this service does not compute with them. The engine maps roles to tensors without further
checks (`engine/loading/signature.py`); the vetting child compares a graph's own tensors with the manifest's.

Shapes: −1 the batch, Z latent coordinates, K elements of the code tensor, C channels, H height, W width, D numbers of a
vector, P samples judged together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.engine.model_spec import Datatype, GraphKind, Role
from service.errors import GraphRefused
from service.packages.schema import Graph, ImageSample, ItemSample, Manifest, Tensor, VectorSample

BATCH = -1
Expected = tuple[Datatype, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles on one side of a graph, each at most once.

    Attributes:
        needed: required in every package.
        optional: allowed where the manifest describes them.
        unserved: allowed by the format as `optional` is, but this service does not compute with them.
    """

    needed: frozenset[Role] = frozenset()
    optional: frozenset[Role] = frozenset()
    unserved: frozenset[Role] = frozenset()

    @property
    def served(self) -> frozenset[Role]:
        """What this service computes with."""
        return self.needed | self.optional


CONDITIONING: Final[tuple[Role, ...]] = ("label", "code", "condition")
INPUTS: Final[Mapping[GraphKind, Roles]] = {
    "generator": Roles(frozenset({"latent"}), frozenset(CONDITIONING)),
    # BiGAN's discriminator judges a sample together with its latent, InfoGAN's may be given the code.
    "discriminator": Roles(
        frozenset({"sample"}), frozenset({"label", "condition"}), unserved=frozenset({"latent", "code"})
    ),
    "encoder": Roles(frozenset({"sample"}), frozenset({"label", "condition"})),
}
OUTPUTS: Final[Mapping[GraphKind, Roles]] = {
    "generator": Roles(frozenset({"sample"}), frozenset({"pixels"})),
    # InfoGAN's code head may stand in the discriminator's graph, or be the encoder's.
    "discriminator": Roles(frozenset({"logit"}), unserved=frozenset({"code"})),
    "encoder": Roles(optional=frozenset({"latent", "code"}), unserved=frozenset({"label"})),
}


def expected_tensors(manifest: Manifest, kind: GraphKind) -> dict[Role, Expected]:
    """Element type and shape of the tensor of each role; a role that the manifest does not describe is left out."""
    pack = manifest.discriminator.pack if kind == "discriminator" and manifest.discriminator else 1
    expected: dict[Role, Expected] = {
        "latent": ("FP32", (BATCH, manifest.latent.size)),
        "logit": ("FP32", (BATCH,)),
    }
    match manifest.sample:
        case ImageSample(channels=channels, height=height, width=width):
            expected["sample"] = "FP32", (BATCH, pack * channels, height, width)
            expected["pixels"] = "UINT8", (BATCH, height, width, channels)
        case VectorSample(size=size):
            expected["sample"] = "FP32", (BATCH, pack * size)
        case ItemSample():
            expected["sample"] = "INT64", (BATCH,) if pack == 1 else (BATCH, pack)
    if manifest.labels is not None:
        expected["label"] = "INT64", (BATCH,)
    if manifest.condition is not None:
        expected["condition"] = "INT64", (BATCH,)
    if manifest.codes is not None:
        expected["code"] = "FP32", (BATCH, manifest.codes.width)
    return expected


def find_mismatches(manifest: Manifest) -> Iterator[str]:
    """Find stated tensors that are not the expected ones; each sentence begins with the path to the key."""
    for kind, graph in manifest.graphs.items():
        names = Counter(tensor.name for tensor in (*graph.inputs, *graph.outputs))
        for name, count in names.items():
            if count > 1:
                yield f"{kind}: {name!r} names two tensors"
        expected = expected_tensors(manifest, kind)
        yield from _side(f"{kind}.inputs", graph.inputs, INPUTS[kind], expected)
        yield from _side(f"{kind}.outputs", graph.outputs, OUTPUTS[kind], expected)
    yield from _generator(manifest)


def _side(where: str, tensors: Sequence[Tensor], roles: Roles, expected: Mapping[Role, Expected]) -> Iterator[str]:
    found = Counter(tensor.role for tensor in tensors)
    for role in sorted(roles.needed - found.keys()):
        yield f"{where}: holds no tensor of the role {role}"
    for role in sorted(found.keys() - roles.served - roles.unserved):
        yield f"{where}: the role {role} does not belong here"
    for role, count in found.items():
        if count > 1:
            yield f"{where}: {count} tensors have the role {role}"
    for index, tensor in enumerate(tensors):
        yield from _tensor(f"{where}[{index}]", tensor, expected.get(tensor.role))


def _tensor(where: str, tensor: Tensor, expected: Expected | None) -> Iterator[str]:
    if expected is None:
        yield f"{where}.role: is {tensor.role}, of which the manifest says nothing"
        return
    datatype, shape = expected
    if tensor.datatype != datatype:
        yield f"{where}.datatype: a {tensor.role} of this package is {datatype}, not {tensor.datatype}"
    if tensor.shape != shape:
        yield f"{where}.shape: a {tensor.role} of this package has shape {list(shape)}, not {list(tensor.shape)}"


def _generator(manifest: Manifest) -> Iterator[str]:
    """What only the generator owes: both forms of an image, in order, and an input for all that is described."""
    outputs = [tensor.role for tensor in manifest.generator.outputs]
    if isinstance(manifest.sample, ImageSample) and outputs != ["sample", "pixels"]:
        yield f"generator.outputs: must be sample and pixels, in this order; are {', '.join(outputs)}"
    described, inputs = expected_tensors(manifest, "generator"), {tensor.role for tensor in manifest.generator.inputs}
    for role in CONDITIONING:
        if role in described and role not in inputs:
            yield f"generator.inputs: holds no {role}, although the manifest describes it"


def check_served(kind: GraphKind, graph: Graph) -> None:
    """Refuse a valid graph with a tensor that this service does not compute with.

    Raises:
        GraphRefused: it has one; the message lists those that are known.
    """
    for verb, tensors, roles in (("takes", graph.inputs, INPUTS[kind]), ("makes", graph.outputs, OUTPUTS[kind])):
        found = [tensor.role for tensor in tensors]
        if not roles.served.issuperset(found):
            known = ", ".join(sorted(roles.served))
            raise GraphRefused(f"the {kind} {verb} {', '.join(found)}; this service knows {known}, once each")
