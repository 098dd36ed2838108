"""What the keys of a manifest must say of each other, which JSON Schema cannot.

A graph's files are listed, a latent tensor has the latent's size, a sample tensor the sample's shape, quantiles
ascend. One table says which roles each graph takes and answers, and one function what a tensor of a role must look
like in this package; everything else follows. Pure: a manifest in, sentences out.

Shapes: −1 the batch, Z latent coordinates, C channels, H height, W width, P samples judged together.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from service.engine.model_spec import Datatype, Role
from service.packages.files import MANIFEST
from service.packages.schema import (
    Discriminator,
    Graph,
    ImageSample,
    ItemSample,
    Manifest,
    PiecewiseLinear,
    Tensor,
    UnknownLabel,
    VectorSample,
)

BATCH = -1
Expected = tuple[Datatype, tuple[int, ...]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Roles:
    """Which tensors a kind of graph has; of each role at most one.

    Attributes:
        needed: must be there.
        possible: may be there, where the manifest describes them.
    """

    needed: frozenset[Role]
    possible: frozenset[Role]


INPUTS: Final[Mapping[str, Roles]] = {
    "generator": Roles(frozenset({"latent"}), frozenset({"label", "code", "condition"})),
    # BiGAN's discriminator judges a sample together with its latent.
    "discriminator": Roles(frozenset({"sample"}), frozenset({"latent", "label", "code", "condition"})),
    "encoder": Roles(frozenset({"sample"}), frozenset({"label", "condition"})),
}
OUTPUTS: Final[Mapping[str, Roles]] = {
    "generator": Roles(frozenset({"sample"}), frozenset({"pixels"})),
    # InfoGAN's code head may stand in the discriminator's graph, or be the encoder's.
    "discriminator": Roles(frozenset({"logit"}), frozenset({"code"})),
    "encoder": Roles(frozenset(), frozenset({"latent", "label", "code"})),
}


def find_inconsistencies(manifest: Manifest) -> Iterator[str]:
    """Find where a manifest contradicts itself.

    Args:
        manifest: valid key by key.

    Yields:
        A sentence for each contradiction, which begins with the path to the key.
    """
    yield from _optional_keys(manifest)
    yield from _created(manifest)
    yield from _files(manifest)
    yield from _vocabulary(manifest)
    yield from _sample(manifest)
    for kind, graph in manifest.graphs.items():
        yield from _tensors(manifest, kind, graph)
    yield from _generator(manifest)
    yield from _scores(manifest)
    yield from _golden(manifest)


def _optional_keys(manifest: Manifest) -> Iterator[str]:
    """The types read null as "left out"; the format does not."""
    tolerances = [(f"golden.tolerances[{i}].", tolerance) for i, tolerance in enumerate(manifest.golden.tolerances)]
    judge = [("discriminator.", manifest.discriminator)] if manifest.discriminator else []
    for where, part in (("", manifest), ("provenance.data.", manifest.provenance.data), *judge, *tolerances):
        for key in sorted(part.model_fields_set):
            if getattr(part, key) is None:
                yield f"{where}{key}: is null; leave the key out"


def _created(manifest: Manifest) -> Iterator[str]:
    try:
        datetime.fromisoformat(manifest.created)
    except ValueError:
        yield f"created: {manifest.created} is not a moment of the calendar"


def _files(manifest: Manifest) -> Iterator[str]:
    if MANIFEST in manifest.files:
        yield f"files: lists {MANIFEST}, which cannot hold its own hash"
    users = {f"{kind}.file": graph.file for kind, graph in manifest.graphs.items()} | {
        "golden.file": manifest.golden.file
    }
    for key, file in users.items():
        if file not in manifest.files:
            yield f"{key}: {file} is not listed in files"
    for file in _repeated(users.values()):
        yield f"files.{file}: is used for more than one of {', '.join(users)}"


def _vocabulary(manifest: Manifest) -> Iterator[str]:
    if manifest.labels is not None:
        for name in _repeated(manifest.labels.names):
            yield f"labels.names: {name!r} stands there twice"
    codes = manifest.codes
    if codes is None:
        return
    if codes.width == 0:
        yield "codes: states no code; leave the key out"
    for name in _repeated(codes.names):
        yield f"codes: {name!r} names two codes"
    for index, code in enumerate(codes.continuous):
        if code.low >= code.high:
            yield f"codes.continuous[{index}]: low {code.low:g} is not below high {code.high:g}"


def _sample(manifest: Manifest) -> Iterator[str]:
    if isinstance(manifest.sample, ImageSample):
        low, high = manifest.sample.range
        if low >= high:
            yield f"sample.range: {low:g} is not below {high:g}"


def tensors_of(manifest: Manifest, pack: int) -> dict[Role, Expected]:
    """Say what the tensor of each role looks like in this package.

    Args:
        manifest: of the package.
        pack: P for a discriminator, else 1.

    Returns:
        Role → element type and shape; a role of which the manifest says nothing is not there.
    """
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


def _tensors(manifest: Manifest, kind: str, graph: Graph) -> Iterator[str]:
    for name in _repeated(tensor.name for tensor in (*graph.inputs, *graph.outputs)):
        yield f"{kind}: {name!r} names two tensors"
    pack = manifest.discriminator.pack if kind == "discriminator" and manifest.discriminator else 1
    expected = tensors_of(manifest, pack)
    for side, tensors, roles in (("inputs", graph.inputs, INPUTS[kind]), ("outputs", graph.outputs, OUTPUTS[kind])):
        yield from _roles(f"{kind}.{side}", tensors, roles)
        for index, tensor in enumerate(tensors):
            yield from _tensor(f"{kind}.{side}[{index}]", tensor, expected.get(tensor.role))


def _roles(where: str, tensors: Sequence[Tensor], roles: Roles) -> Iterator[str]:
    found = Counter(tensor.role for tensor in tensors)
    for role in sorted(roles.needed - found.keys()):
        yield f"{where}: holds no tensor of the role {role}"
    for role in sorted(found.keys() - roles.needed - roles.possible):
        yield f"{where}: the role {role} does not belong here"
    for role, count in found.items():
        if count > 1:
            yield f"{where}: {count} tensors have the role {role}"


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
    outputs = [tensor.role for tensor in manifest.generator.outputs]
    if isinstance(manifest.sample, ImageSample) and outputs != ["sample", "pixels"]:
        yield f"generator.outputs: must be sample and pixels, in this order; are {', '.join(outputs)}"
    inputs = {tensor.role for tensor in manifest.generator.inputs}
    stated: Mapping[Role, object] = {"label": manifest.labels, "code": manifest.codes, "condition": manifest.condition}
    for role, value in stated.items():
        if value is not None and role not in inputs:
            yield f"generator.inputs: holds no {role}, although the manifest describes it"


def _scores(manifest: Manifest) -> Iterator[str]:
    discriminator = manifest.discriminator
    if discriminator is None:
        return
    yield from _reading("discriminator", discriminator)
    unknown = discriminator.unknown_label
    if unknown is None:
        return
    where, count = "discriminator.unknown_label", len(manifest.labels.names) if manifest.labels else 0
    if "label" not in {tensor.role for tensor in discriminator.inputs}:
        yield f"{where}: stands there, although the discriminator takes no label"
        return
    if len(unknown.offsets) != count:
        yield f"{where}.offsets: {len(unknown.offsets)} for {count} classes"
    if {len(unknown.weights), *map(len, unknown.weights)} != {count}:
        yield f"{where}.weights: are not {count} lists of {count}, one for each class"
    yield from _reading(where, unknown)


def _reading(where: str, part: Discriminator | UnknownLabel) -> Iterator[str]:
    """How numbers are read: a calibration, and the quantiles of a reference."""
    quantiles, calibration = part.reference_quantiles, part.calibration
    for name, values in (("real", quantiles.real), ("generated", quantiles.generated)):
        if not _ascends(values):
            yield f"{where}.reference_quantiles.{name}: does not ascend"
    if isinstance(calibration, PiecewiseLinear):
        if len(calibration.logits) != len(calibration.log_odds):
            yield f"{where}.calibration: {len(calibration.logits)} logits for {len(calibration.log_odds)} log_odds"
        if not _ascends(calibration.logits) or _repeated(calibration.logits):
            yield f"{where}.calibration.logits: does not ascend strictly"
        if not _ascends(calibration.log_odds):
            yield f"{where}.calibration.log_odds: does not ascend"


def _golden(manifest: Manifest) -> Iterator[str]:
    for provider, precision in _repeated((t.provider, t.precision) for t in manifest.golden.tolerances):
        yield f"golden.tolerances: two for {provider} at {precision}"


def _ascends(values: Sequence[float]) -> bool:
    return all(lower <= upper for lower, upper in itertools.pairwise(values))


def _repeated(values: Iterable[T]) -> list[T]:
    return [value for value, count in Counter(values).items() if count > 1]
