"""Publishes a package's next version: the same graphs with a calibration of scores without a label.

    models/NAME/1 ─┬─ graphs, golden vectors, preview ──────────────────────────────────────────┐
                   └─ logits of held-out and of generated samples ──▶ calibration ──▶ manifest ─┴─▶ models/NAME/2

For packages exported before this calibration existed, or by other programs. The labelled calibration and everything
else in the manifest is kept.
"""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from training import config as configuration
from training import data as sources
from training import keys
from training.data import ImageData, InteractionData, VectorData
from training.data.image_data import FEWEST_HELD_OUT, Labels
from training.data.pixels import HIGH, LOW
from training.errors import ExportError
from training.evaluation import reference_rows
from training.export.calibration import Curve, PiecewiseLinear, Platt
from training.export.card import UNLABELLED, unlabelled
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, LATENT, LOGIT, PIXELS, SAMPLE, Interface
from training.export.graphs.pair import Floats, LabelledSamples, Samples, Say
from training.export.graphs.runtime import Arrays, Graph
from training.export.manifest import CARD, FILE_NAME, file_entry, moment, written
from training.export.provenance import commit
from training.export.publish import choose_version, publish
from training.export.unknown_label import MOST_CLASSES, UnknownLabel, calibrate_unknown_label

Json = Any  # a manifest as read; its types are in the schema


class _Package:
    """The parts of a published package that are needed here.

    Attributes:
        files: content by bare name, the manifest left out.

    Raises:
        ExportError: if it cannot be read, or cannot be calibrated here.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.content = (folder / FILE_NAME).read_bytes()
            self.manifest: Json = json.loads(self.content)
            self.files = {name: (folder / name).read_bytes() for name in self.manifest["files"]}
        except (OSError, ValueError, KeyError) as error:
            raise ExportError(f"{folder} is no package that can be read: {error}") from error
        self.face = self._interface(folder)
        self._generator, self._discriminator = (
            Graph(self.files[self.manifest[kind]["file"]]) for kind in ("generator", "discriminator")
        )

    def _interface(self, folder: Path) -> Interface:
        manifest = self.manifest
        names, sample = tuple(manifest.get("labels", {}).get("names", ())), manifest["sample"]
        judge = manifest.get("discriminator")
        if judge is None or LABEL not in _names(judge, "inputs"):
            raise ExportError(
                f"{folder} has no discriminator that is told a class; its scores need no label as they are"
            )
        if len(names) > MOST_CLASSES:
            raise ExportError(
                f"{folder} has {len(names):,} classes; scores without a label judge {MOST_CLASSES} at most"
            )
        told = {"generator": {LATENT, LABEL}, "discriminator": {SAMPLE, LABEL}}
        if judge["pack"] != 1 or any(set(_names(manifest[kind], "inputs")) != roles for kind, roles in told.items()):
            raise ExportError(f"{folder} has graphs that take more than a latent or one sample, and a label")
        shape: tuple[int, ...]
        match sample["kind"]:
            case "image":
                shape = (sample["channels"], sample["height"], sample["width"])
            case "vector":
                shape = (sample["size"],)
            case _:
                raise ExportError(f"{folder} makes items, whose classes are not judged here")
        latent = manifest["latent"]
        return Interface(sample_shape=shape, latent_size=latent["size"], prior=latent["prior"], labels=names)

    @property
    def labelled(self) -> Curve:
        """Map from a logit under a sample's own class to log-odds."""
        stated = self.manifest["discriminator"]["calibration"]
        if stated["method"] == "platt":
            return Platt(stated["slope"], stated["intercept"])
        return PiecewiseLinear(tuple(stated["logits"]), tuple(stated["log_odds"]))

    def generated(self, count: int) -> tuple[Samples, Labels]:
        """Draw samples as they are sent, with their requested classes."""
        inputs, graph = draw(Purpose.CALIBRATION, count, self.face), self.manifest["generator"]
        fed, given = _renamed(inputs, _names(graph, "inputs")), _names(graph, "outputs")
        samples: Samples
        if self.face.kind == "image":
            pixels = self._generator.output(given[PIXELS], fed).transpose(0, 3, 1, 2)
            samples = np.ascontiguousarray(pixels).astype(np.uint8, copy=False)
        else:
            samples = self._generator.output(given[SAMPLE], fed).astype(np.float32, copy=False)
        return samples, inputs[LABEL].astype(np.int64, copy=False)

    def logits(self, samples: Samples) -> Floats:
        """Compute logits of samples under every class; [N, K]."""
        graph, columns = self.manifest["discriminator"], []
        inputs, outputs = _names(graph, "inputs"), _names(graph, "outputs")
        for shown in LabelledSamples(samples, None).under_every_class(len(self.face.labels)):
            fed = _renamed(shown.inputs(), inputs)
            if self.face.kind == "image":
                low, high = self.manifest["sample"]["range"]
                if (low, high) != (LOW, HIGH):
                    unit = (fed[inputs[SAMPLE]].astype(np.float32) - LOW) / (HIGH - LOW)
                    fed[inputs[SAMPLE]] = (low + (high - low) * unit).astype(np.float32)
            columns.append(self._discriminator.output(outputs[LOGIT], fed).astype(np.float32))
        return np.stack(columns, axis=1)


def calibrate_package(package: Path, say: Say, *, config_name: str | None = None, data_path: str | None = None) -> Path:
    """Publish a package again, with the calibration of scores without a label.

    Args:
        config_name: a configuration whose `[data]` has the held-out samples; None takes the package's own.
        data_path: the data's path, instead of the configuration's.

    Returns:
        The folder of the next version.

    Raises:
        TrainingError: if the package or the data cannot be read, or do not fit; then nothing is left behind.
    """
    package = package.resolve()
    found = _Package(package)
    models_dir, name = package.parents[1], str(found.manifest["name"])
    version = choose_version(models_dir, name, None)
    data = _held_out(package, found, config_name, data_path)
    rows = reference_rows(data)
    if data.held_out_labels is None:
        raise ExportError(f"the held-out samples of {data.name} have no labels")
    classes = len(found.face.labels)
    say(f"calibration: {len(rows):,} held-out and as many generated samples, under {classes} classes each")
    generated, asked = found.generated(len(rows))
    unknown = calibrate_unknown_label(
        found.logits(data.held_out[rows]), data.held_out_labels[rows], found.logits(generated), asked, found.labelled
    )
    say(f"without a label: {unknown}")
    folder = publish(_files(found, version, data, unknown), models_dir, name, version)
    say(f"published: {folder}")
    return folder


def _held_out(package: Path, found: _Package, config_name: str | None, data_path: str | None) -> ImageData | VectorData:
    """Load the data, which must have the package's classes and shape."""
    provenance = found.manifest["provenance"]
    config = (
        configuration.from_tables(provenance["config"])
        if config_name is None
        else configuration.load(keys.find(config_name))
    )
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    data = sources.load(config.data)
    if config_name is None and data.sha256 != provenance["data"]["sha256"]:
        raise ExportError(f"{package} was trained on other data than {data.name} as it is now")
    if isinstance(data, InteractionData) or data.sample_shape != found.face.sample_shape:
        raise ExportError(f"{data.name} has samples of {data.sample_shape}, {package} of {found.face.sample_shape}")
    if data.label_names != found.face.labels:
        raise ExportError(f"{data.name} has the classes {data.label_names}, {package} has {found.face.labels}")
    if len(data.held_out) < FEWEST_HELD_OUT:
        raise ExportError(
            f"{data.name} holds out {len(data.held_out)} samples; to calibrate takes {FEWEST_HELD_OUT} or more"
        )
    return data


def _files(found: _Package, version: int, data: ImageData | VectorData, unknown: UnknownLabel) -> dict[str, bytes]:
    """The next version's files: the former ones with a new card and manifest."""
    former = found.manifest
    files = dict(found.files)
    if CARD in files:
        files[CARD] = _card(files[CARD].decode(), f"# {former['name']} {version}", unknown).encode()
    provenance, metrics = former["provenance"], former["provenance"]["metrics"]
    judged = {**metrics.get("discriminator", {}), "unknown_label": unknown.figures()}
    manifest = {
        **former,
        "version": version,
        "created": moment(datetime.now(UTC)),
        "files": {name: file_entry(content) for name, content in files.items()},
        "discriminator": {**former["discriminator"], "unknown_label": unknown.entry()},
        "provenance": {
            **provenance,
            "metrics": {**metrics, "discriminator": judged},
            "recalibrated": {
                "from_version": former["version"],
                "from_manifest_sha256": hashlib.sha256(found.content).hexdigest(),
                "data": {"name": data.name, "sha256": data.sha256},
                "commit": commit(),
            },
        },
    }
    return {**files, FILE_NAME: written(manifest)}


def _card(former: str, title: str, unknown: UnknownLabel) -> str:
    """The former card under its new title, with the section on scores without a label before the limits."""
    sections = re.split(r"^(?=## )", former, flags=re.MULTILINE)
    kept = [section for section in sections if not section.startswith(f"## {UNLABELLED}\n")]
    kept[0] = re.sub(r"\A# .*$", title, kept[0], count=1, flags=re.MULTILINE)
    place = next((i for i, section in enumerate(kept) if section.startswith("## Limits")), len(kept))
    kept.insert(place, f"## {UNLABELLED}\n\n" + "\n".join(unlabelled(unknown)) + "\n\n")
    return "".join(kept).rstrip() + "\n"


def _names(graph: Json, side: str) -> dict[str, str]:
    """A graph's tensor names of one side, by role."""
    return {tensor["role"]: tensor["name"] for tensor in graph[side]}


def _renamed(arrays: Arrays, names: dict[str, str]) -> Arrays:
    return {names[role]: values for role, values in arrays.items()}
