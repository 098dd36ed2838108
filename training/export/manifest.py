"""Writes a package's manifest.

The format is `models/manifest.schema.json`, which reader and writer share as data and not as code. This writer takes
every fact once, derives what the format repeats (tensors from the latent's size and the sample's shape, hashes from the
files), and refuses to write what the schema does not allow.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import jsonschema

from training.errors import ExportError
from training.export.calibration import Calibration
from training.export.golden import Tolerance
from training.export.graphs.interface import CONDITION_NAME, Interface, TensorSpec
from training.export.unknown_label import UnknownLabel

FILE_NAME: Final = "manifest.json"
GENERATOR, DISCRIMINATOR, ENCODER, GOLDEN, REFERENCE, CARD, PREVIEW = (
    "generator.onnx",
    "discriminator.onnx",
    "encoder.onnx",
    "golden.npz",
    "reference.npy",
    "card.md",
    "preview.png",
)
SCHEMA_VERSION: Final = 1
# Beside the packages of a checkout; an installed copy has no such file and relies on the types below.
SCHEMA_PATH: Final = Path(__file__).parents[2] / "models" / "manifest.schema.json"

Entry = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class DiscriminatorFacts:
    """What is known of the discriminator.

    Attributes:
        batch_coupled: whether a score depends on the other rows of its batch.
        calibration: from logits to log-odds; None where there was no real sample to calibrate with.
        real_quantiles: of held-out real samples' logits; empty without a calibration, as are the following.
        generated_quantiles: of generated samples' logits.
        unknown_label: reading of logits without a label; None where there is none.
    """

    opset: int
    loss_family: str
    batch_coupled: bool
    calibration: Calibration | None
    real_quantiles: list[float]
    generated_quantiles: list[float]
    unknown_label: UnknownLabel | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.

    Attributes:
        version: a positive integer.
        created: time of the export, with its time zone.
        summary: one sentence for people.
        files: content by bare name, `GENERATOR` and `GOLDEN` among them.
        encoder_opset: of the encoder's graph; None without an encoder.
        discriminator: None without one.
        golden_count: rows of the golden file.
        tolerances: of a replay, one a provider and precision.
        reference_count: held-out vectors in `REFERENCE`; None without that file.
    """

    name: str
    version: int
    created: datetime
    summary: str
    license: str | None
    files: Mapping[str, bytes]
    interface: Interface
    generator_opset: int
    encoder_opset: int | None = None
    discriminator: DiscriminatorFacts | None
    golden_count: int
    tolerances: list[Tolerance]
    reference_count: int | None = None
    provenance: Entry

    def to_json(self) -> bytes:
        """Write the manifest.

        Returns:
            UTF-8, indented, keys in the order of the format.

        Raises:
            ExportError: if the schema does not allow it; checked where the schema exists.
        """
        return written(self._entries())

    def _entries(self) -> Entry:
        face = self.interface
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "version": self.version,
            "created": moment(self.created),
            "summary": self.summary,
            **({} if self.license is None else {"license": self.license}),
            "files": {name: file_entry(content) for name, content in self.files.items()},
            "latent": {"size": face.latent_size, "prior": face.prior},
            **({"labels": {"names": list(face.labels)}} if face.labels else {}),
            **({} if face.codes is None else {"codes": face.codes.entry()}),
            **({"condition": {"name": CONDITION_NAME, "count": face.conditions}} if face.conditions else {}),
            "sample": face.sample_entry(),
            "generator": _graph(GENERATOR, self.generator_opset, face.generator_inputs, face.generator_outputs),
            **({} if self.encoder_opset is None else {"encoder": self._encoder(self.encoder_opset)}),
            **({} if self.discriminator is None else {"discriminator": self._discriminator(self.discriminator)}),
            "golden": {
                "file": GOLDEN,
                "count": self.golden_count,
                "tolerances": [tolerance.entry() for tolerance in self.tolerances],
            },
            **({} if self.reference_count is None else {"reference": self._reference(self.reference_count)}),
            "provenance": self.provenance,
        }

    def _encoder(self, opset: int) -> Entry:
        return _graph(ENCODER, opset, self.interface.encoder_inputs, self.interface.encoder_outputs)

    def _reference(self, count: int) -> Entry:
        return {"file": REFERENCE, "count": count}

    def _reading(self, facts: DiscriminatorFacts, calibration: Calibration) -> Entry:
        """How logits are read."""
        return {
            "calibration": calibration.entry(),
            "reference_quantiles": {"real": facts.real_quantiles, "generated": facts.generated_quantiles},
        }

    def _discriminator(self, facts: DiscriminatorFacts) -> Entry:
        face = self.interface
        return {
            **_graph(DISCRIMINATOR, facts.opset, face.discriminator_inputs, face.discriminator_outputs),
            "pack": 1,
            "loss_family": facts.loss_family,
            "batch_coupled": facts.batch_coupled,
            **({} if facts.calibration is None else self._reading(facts, facts.calibration)),
            **({} if facts.unknown_label is None else {"unknown_label": facts.unknown_label.entry()}),
        }


def written(entries: Entry) -> bytes:
    """Write a manifest's keys.

    Args:
        entries: in the order of the format.

    Returns:
        UTF-8, indented.

    Raises:
        ExportError: if the schema does not allow them; checked where the schema exists.
    """
    _validate(entries)
    return (json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def moment(created: datetime) -> str:
    """Format a time for the manifest."""
    return created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_entry(content: bytes) -> Entry:
    """The manifest's entry of a file."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _graph(file: str, opset: int, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Entry:
    return {
        "file": file,
        "opset": opset,
        "inputs": [port.entry() for port in inputs],
        "outputs": [port.entry() for port in outputs],
    }


def _validate(entries: Entry) -> None:
    if not SCHEMA_PATH.is_file():
        return
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    plain = json.loads(json.dumps(entries))  # converts tuples to lists
    error = jsonschema.exceptions.best_match(jsonschema.Draft7Validator(schema).iter_errors(plain))
    if error is not None:
        place = ".".join(str(part) for part in error.absolute_path) or "the manifest"
        raise ExportError(f"the manifest would not be valid: {place}: {error.message}")
