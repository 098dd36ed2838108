"""Adopts foreign graphs as a package: found, bordered, proved, packed, published.

    generator (mapping, discriminator, encoder) ─▶ graphs of the package ─▶ golden vectors, card, preview ─▶ publish

The package appears in the folder of packages only when it is complete.
"""

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from training.adopt import packaging, roles, scores
from training.adopt.critics import Critic, adopt_discriminator, adopt_encoder
from training.adopt.decisions import Adoption, Decision, Options
from training.adopt.generators import AdoptedGenerator, AdoptedGraph, adopt_generator
from training.adopt.graph_files import GraphFile, inputs_of
from training.errors import ExportError
from training.export import golden, limits
from training.export.graphs.interface import LATENT
from training.export.graphs.parity import Parity
from training.export.graphs.runtime import Graph
from training.export.manifest import (
    CARD,
    DISCRIMINATOR,
    ENCODER,
    FILE_NAME,
    GENERATOR,
    GOLDEN,
    PREVIEW,
    DiscriminatorFacts,
    Manifest,
)
from training.export.publish import choose_version, publish

Say = Callable[[str], None]

MEBIBYTE: Final = 1 << 20
LOSSES: Final = (  # of the package format
    "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic", "f_divergence",
)  # fmt: skip
HALF_UNIT: Final = 2.0**-10  # rounding of half precision, which other kernels add up in another order


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The graphs to adopt.

    Attributes:
        generator: from latents to samples.
        mapping: the network before it, from latents to its input; None for none.
        discriminator: from samples to logits or probabilities; None for none.
        encoder: from samples to latents; None for none.
    """

    generator: GraphFile
    mapping: GraphFile | None = None
    discriminator: GraphFile | None = None
    encoder: GraphFile | None = None

    @property
    def files(self) -> dict[str, GraphFile]:
        """Those that there are, by role."""
        given = {
            "generator": self.generator,
            "mapping": self.mapping,
            "discriminator": self.discriminator,
            "encoder": self.encoder,
        }
        return {role: file for role, file in given.items() if file is not None}


def read_sources(arguments: argparse.Namespace) -> Sources:
    """Read the files that were named.

    Raises:
        ExportError: if one cannot be read.
    """

    def read(path: Path | None) -> GraphFile | None:
        return None if path is None else GraphFile.read(path)

    return Sources(
        generator=GraphFile.read(arguments.generator),
        mapping=read(arguments.mapping),
        discriminator=read(arguments.discriminator),
        encoder=read(arguments.encoder),
    )


def as_plain(found: Adoption) -> dict[str, object]:
    """What was decided, as plain values for JSON."""
    return {
        "name": found.name,
        "version": found.version,
        "package": None if found.package is None else str(found.package),
        "decisions": [dataclasses.asdict(decision) for decision in found.decisions],
        "missing": list(found.missing),
    }


def adopt(sources: Sources, options: Options, say: Say) -> Adoption:
    """Make a package of foreign graphs and publish it.

    Args:
        say: is told each decision and what is being done, line by line.

    Raises:
        ExportError: what cannot be served or is not known, and what to do; then nothing is left behind.
        DataError: if the data cannot be read.
    """
    limits.check_license(options.license)
    version = choose_version(options.models, options.name, options.version)
    _check_options(sources, options)
    decisions: list[Decision] = []

    def decide(found: Iterable[Decision], about: str = "") -> None:
        for each in found:
            decision = dataclasses.replace(each, subject=f"{about} {each.subject}".strip())
            decisions.append(decision)
            say(str(decision))

    generator, found = adopt_generator(sources.generator, sources.mapping, options)
    decide(found)
    critic: Critic | None = None
    encoder: Critic | None = None
    facts: DiscriminatorFacts | None = None
    real: scores.RealImages | None = None
    if sources.discriminator is not None:
        critic, found = adopt_discriminator(sources.discriminator, generator, options)
        decide(found, "discriminator's")
        if options.data is not None:
            real = scores.read_images(options.data, generator, critic, options)
            decide([Decision("data", note, f"the folder {real.origin['name']}") for note in real.notes])
        facts, found = scores.calibrated(critic, generator, real, options)
        decide(found, "discriminator's")
    if sources.encoder is not None:
        encoder, found = adopt_encoder(sources.encoder, generator, options)
        decide(found, "encoder's")
    face = dataclasses.replace(
        generator.face,
        labels=real.names if real is not None and real.names else generator.face.labels,
        judged_by_label=critic is not None and critic.takes_label,
        encodes_latents=encoder is not None,
    )
    generator = dataclasses.replace(generator, face=face)
    missing = tuple(_missing(options, facts, encoder))
    for sentence in missing:
        say(f"not available: {sentence}")
    adoption = Adoption(name=options.name, version=version, decisions=tuple(decisions), missing=missing, package=None)
    if options.dry_run:
        say("dry run: nothing was written")
        return adoption
    parts = _Parts(
        generator=generator,
        critic=critic,
        encoder=encoder,
        facts=facts,
        calibrated_on=None if real is None else real.origin,
    )
    files = _files(sources, options, adoption, parts)
    if options.checked:
        say(packaging.check_served(files, options.name, version))
    package = publish(files, options.models, options.name, version)
    say(f"published: {package}, {sum(map(len, files.values())) / MEBIBYTE:.2f} MiB")
    return dataclasses.replace(adoption, package=package)


def _check_options(sources: Sources, options: Options) -> None:
    """Refuse what no graph can use.

    Raises:
        ExportError: which flag, and why.
    """
    if options.data is not None and sources.discriminator is None:
        raise ExportError("--data calibrates a discriminator, and there is none; give --discriminator FILE too")
    if options.loss is not None and options.loss not in LOSSES:
        raise ExportError(f"--loss {options.loss} is none of {', '.join(LOSSES)}")
    names = [port.name for file in sources.files.values() for port in roles.ports(inputs_of(file))]
    for name in options.bound:
        if name not in names:
            raise ExportError(f"--set {name}: there is no such input; there are {', '.join(names)}")


def _missing(options: Options, facts: DiscriminatorFacts | None, encoder: Critic | None) -> Iterator[str]:
    if facts is None:
        yield "scores, and selection among candidates: there is no discriminator; adopt one with --discriminator FILE"
    elif facts.calibration is None:
        yield (
            "probabilities, percentiles, and selection among candidates: the discriminator is not calibrated; adopt it "
            "with --data FOLDER, real images that it was not trained on"
        )
    if encoder is None:
        yield "the latent of a given image: there is no encoder; adopt one with --encoder FILE"


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The graphs of a package.

    Attributes:
        facts: how the discriminator is read; None without one.
        calibrated_on: name and hash of the real images; None without any.
    """

    generator: AdoptedGenerator
    critic: Critic | None
    encoder: Critic | None
    facts: DiscriminatorFacts | None
    calibrated_on: dict[str, object] | None


def _files(sources: Sources, options: Options, adoption: Adoption, parts: _Parts) -> dict[str, bytes]:
    """The files of the package, manifest included."""
    generator, critic, encoder = parts.generator, parts.critic, parts.encoder
    graph, face = Graph(generator.graph.content), generator.face
    arrays = packaging.golden_vectors(graph, generator, critic, encoder)
    drawn = packaging.preview(generator, graph)
    half = any(each.half for each in (generator.graph, *(one.graph for one in (critic, encoder) if one is not None)))
    parity = Parity(
        sample=_gap(generator.graph, half=half),
        pixels=None,
        logit=0.0 if critic is None else _gap(critic.graph, half=half),
        encoded=None if encoder is None else _gap(encoder.graph, half=half),
    )
    title = f"{adoption.name} {adoption.version}"
    files = {
        GENERATOR: generator.graph.content,
        **({} if critic is None else {DISCRIMINATOR: critic.graph.content}),
        **({} if encoder is None else {ENCODER: encoder.graph.content}),
        GOLDEN: golden.pack(arrays),
        CARD: packaging.card(title, face, adoption, sources.files, options.license, drawn=drawn is not None).encode(),
        **({} if drawn is None else {PREVIEW: drawn}),
    }
    manifest = Manifest(
        name=adoption.name,
        version=adoption.version,
        created=datetime.now(UTC),
        summary=packaging.summary(face),
        license=options.license,
        files=files,
        interface=face,
        generator_opset=generator.graph.opset,
        encoder_opset=None if encoder is None else encoder.graph.opset,
        discriminator=parts.facts,
        golden_count=len(arrays[f"generator.{LATENT}"]),
        tolerances=golden.tolerances(arrays, parity),
        provenance=packaging.provenance(sources.files, parity, adoption, parts.calibrated_on),
    )
    return {**files, FILE_NAME: manifest.to_json()}


def _gap(graph: AdoptedGraph, *, half: bool) -> float:
    """What a replay may differ by, before the margin of `golden`."""
    return max(graph.gap, HALF_UNIT) if half else graph.gap
