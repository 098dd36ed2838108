"""What the keys of a manifest must say of each other, which JSON Schema cannot.

Which tensors each graph has is `signatures.py`'s part. Pure: a manifest in, sentences out.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from service.packages.files import MANIFEST
from service.packages.schema import (
    Discriminator,
    ImageSample,
    Manifest,
    PiecewiseLinear,
    UnknownLabel,
    VectorSample,
)
from service.packages.signatures import find_mismatches

# Of a reference sample, 4 MiB: every API process holds it, and a browser draws it.
MAX_REFERENCE_NUMBERS = 1_048_576

T = TypeVar("T")


def find_inconsistencies(manifest: Manifest) -> Iterator[str]:
    """Find where a manifest, valid key by key, contradicts itself; each sentence begins with the path to the key."""
    yield from _optional_keys(manifest)
    yield from _created(manifest)
    yield from _files(manifest)
    yield from _vocabulary(manifest)
    yield from _sample(manifest)
    yield from find_mismatches(manifest)
    yield from _scores(manifest)
    yield from _golden(manifest)
    yield from _reference(manifest)


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
    if manifest.reference is not None:
        users["reference.file"] = manifest.reference.file
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


def _scores(manifest: Manifest) -> Iterator[str]:
    discriminator = manifest.discriminator
    if discriminator is None:
        return
    yield from _reading("discriminator", discriminator)
    if (discriminator.calibration is None) != (discriminator.reference_quantiles is None):
        yield "discriminator: has one of calibration and reference_quantiles without the other"
    unknown = discriminator.unknown_label
    if unknown is None:
        return
    if discriminator.calibration is None:
        yield "discriminator.unknown_label: stands there without the calibration that it builds on"
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
    for name, values in (("real", quantiles.real), ("generated", quantiles.generated)) if quantiles else ():
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


def _reference(manifest: Manifest) -> Iterator[str]:
    if manifest.reference is None:
        return
    if not isinstance(manifest.sample, VectorSample):
        yield f"reference: stands there, although the samples are of kind {manifest.sample.kind}, not vector"
    elif (numbers := manifest.reference.count * manifest.sample.size) > MAX_REFERENCE_NUMBERS:
        yield f"reference.count: makes {numbers} numbers; at most {MAX_REFERENCE_NUMBERS} are read"


def _ascends(values: Sequence[float]) -> bool:
    return all(lower <= upper for lower, upper in itertools.pairwise(values))


def _repeated(values: Iterable[T]) -> list[T]:
    return [value for value, count in Counter(values).items() if count > 1]
