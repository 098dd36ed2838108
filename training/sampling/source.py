"""What samples are drawn from: the averaged generator of a run's checkpoint, or the graph of a package.

A run's generator is prepared as the exporter prepares it (batch statistics gathered anew, weights folded, pixels
quantised), so that its samples are those of the package that would be made of it, but for rounding.

Shapes: N samples, C H W channels, height and width, D numbers of a vector.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from training import config as configuration
from training import data as sources
from training.data import ImageData
from training.errors import ExportError, TrainingError
from training.export.graphs import inference_networks
from training.export.graphs.interface import CONDITION_NAME, LATENT, PIXELS, SAMPLE, Interface
from training.export.graphs.pair import Say, renew_statistics
from training.export.graphs.runtime import Arrays, Graph, rows_of
from training.export.manifest import FILE_NAME, REFERENCE
from training.networks.base import Prior
from training.progress import progress
from training.sampling.seeds import CodeLayout
from training.state import checkpoint
from training.state.checkpoint import Choice, Run

BATCH: Final = 64  # bounds memory

Samples = NDArray[np.generic]
Kind = Literal["image", "vector", "item"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A generator, and what it takes.

    Attributes:
        title: what it is, for people.
        facts: what it is, for programs.
        kind: of its samples.
        latent_size: Z.
        label_count: K classes; 0 for an unconditional one.
        label_names: gives their names, or none where they are not known.
        conditions: number of ids (of users, ...); 0 where it takes none.
        condition_name: what the ids are of.
        codes: its codes; None without any.
        compute: inputs [N, ...] by role to samples as the service sends them: images uint8 [N, H, W, C], vectors
            float32 [N, D], items int64 [N].
        real: gives real vectors [M, D], for the frame of a plot; None where there are none at hand.
    """

    title: str
    facts: Mapping[str, object]
    kind: Kind
    latent_size: int
    prior: Prior
    label_count: int
    label_names: Callable[[], tuple[str, ...]]
    conditions: int
    condition_name: str
    codes: CodeLayout | None
    compute: Callable[[Arrays], Samples]
    real: Callable[[], Samples | None]


def find(place: Path, choice: Choice, data_path: str | None, say: Say) -> Source:
    """Open a run or a package.

    Args:
        choice: which checkpoint of a run.
        data_path: the data's path, if it has moved; read for the names of classes and the frame of a plot only.

    Raises:
        TrainingError: if there is neither, or it cannot be read.
    """
    if (place / FILE_NAME).is_file():
        if choice != "newest":
            raise TrainingError(f"{place} is a package, which has no checkpoints; leave out --checkpoint")
        return _package(place)
    return _run(place, choice, data_path, say)


def _run(place: Path, choice: Choice, data_path: str | None, say: Say) -> Source:
    run = checkpoint.load_run(place, choice)
    config, task = run.config, run.task
    face = Interface(
        sample_shape=task.sample_shape,
        items=task.items,
        latent_size=config.generator.latent_size,
        prior=config.generator.prior,
        labels=() if task.items else tuple(map(str, range(task.classes))),
        conditions=task.classes if task.items else 0,
        codes=config.codes,
    )

    def compute(inputs: Arrays) -> Samples:
        renew_statistics(run, face, say)
        network = inference_networks.generator(run)
        return _by_torch(network, [inputs[spec.name] for spec in face.generator_inputs], face.kind)

    def real() -> Samples | None:
        try:
            return _data(run, data_path).train
        except TrainingError:
            return None

    def names() -> tuple[str, ...]:
        try:
            data = _data(run, data_path)
        except TrainingError as error:
            say(f"note: classes have numbers only, because their names cannot be read: {error}")
            return ()
        return (data.label_names or ()) if isinstance(data, ImageData) else ()

    return Source(
        title=f"{place} at sample {run.samples_seen:,}",
        facts={"run": str(place), "checkpoint": choice, "samples_seen": run.samples_seen},
        kind=face.kind,
        latent_size=face.latent_size,
        prior=face.prior,
        label_count=len(face.labels),
        label_names=names,
        conditions=face.conditions,
        condition_name=CONDITION_NAME,
        codes=None if config.codes is None else _layout(config.codes.entry()),
        compute=compute,
        real=real,
    )


def _by_torch(network: torch.nn.Module, inputs: list[NDArray[np.generic]], kind: Kind) -> Samples:
    found = []
    starts = range(0, len(inputs[0]), BATCH)
    for start in progress(starts, "drawing", len(starts), "batch"):
        with torch.no_grad():
            made = network(*(torch.from_numpy(values[start : start + BATCH]) for values in inputs))
        found.append((made[1] if kind == "image" else made).numpy())
    return np.concatenate(found)


def _data(run: Run, data_path: str | None) -> sources.Data:
    config = run.config if data_path is None else configuration.with_data_path(run.config, data_path)
    return sources.load(config.data)


def _package(place: Path) -> Source:
    try:
        manifest = json.loads((place / FILE_NAME).read_text(encoding="utf-8"))
        graph = Graph((place / manifest["generator"]["file"]).read_bytes())
        return _served(place, manifest, graph)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ExportError(f"{place} is damaged ({error}); `python -m service check {place}` says more") from error


def _served(place: Path, manifest: dict[str, Any], graph: Graph) -> Source:
    kind: Kind = manifest["sample"]["kind"]
    output = next(
        tensor["name"]
        for tensor in manifest["generator"]["outputs"]
        if tensor["role"] == (PIXELS if kind == "image" else SAMPLE)
    )
    names = {tensor["role"]: tensor["name"] for tensor in manifest["generator"]["inputs"]}
    labels = tuple(manifest.get("labels", {}).get("names", ()))
    condition = manifest.get("condition", {"name": "", "count": 0})

    def compute(inputs: Arrays) -> Samples:
        named = {names[role]: values for role, values in inputs.items()}
        starts = range(0, len(inputs[LATENT]), BATCH)
        batches = progress(starts, "drawing", len(starts), "batch")
        return np.concatenate([graph.run(rows_of(named, slice(start, start + BATCH)))[output] for start in batches])

    return Source(
        title=f"{manifest['name']}/{manifest['version']}",
        facts={"package": str(place), "name": manifest["name"], "version": manifest["version"]},
        kind=kind,
        latent_size=manifest["latent"]["size"],
        prior=manifest["latent"]["prior"],
        label_count=len(labels),
        label_names=lambda: labels,
        conditions=condition["count"],
        condition_name=condition["name"],
        codes=_layout(manifest["codes"]) if "codes" in manifest else None,
        compute=compute,
        real=lambda: np.load(place / REFERENCE) if (place / REFERENCE).is_file() else None,
    )


def _layout(entry: Mapping[str, Any]) -> CodeLayout:
    """The codes of a manifest's entry."""
    return CodeLayout(
        tuple((code["name"], code["size"]) for code in entry.get("categorical", ())),
        tuple((code["name"], code["low"], code["high"]) for code in entry.get("continuous", ())),
    )
