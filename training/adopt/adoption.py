"""Adopts foreign graphs as a package: found, bordered, proved, packed, published.

    generator (mapping, discriminator, encoder) ─▶ graphs of the package ─▶ golden vectors, card, preview ─▶ publish

The package appears in the folder of packages only when it is complete.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.adopt import packaging
from training.adopt.decisions import Decision, Options
from training.adopt.generators import AdoptedGenerator, adopt_generator
from training.adopt.graph_files import GraphFile
from training.export import golden, limits
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LATENT
from training.export.graphs.parity import Parity
from training.export.graphs.runtime import Arrays, Graph
from training.export.manifest import CARD, FILE_NAME, GENERATOR, GOLDEN, PREVIEW, Manifest
from training.export.publish import choose_version, publish

Say = Callable[[str], None]

HALF_UNIT = 2.0**-10  # rounding of half precision, which other kernels add up in another order


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


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """What became of foreign graphs.

    Attributes:
        decisions: what was decided, in order.
        missing: what the package cannot do and what would change that, as sentences.
        package: its folder; None after a dry run.
    """

    name: str
    version: int
    decisions: tuple[Decision, ...]
    missing: tuple[str, ...]
    package: Path | None


def adopt(sources: Sources, options: Options, say: Say) -> Adoption:
    """Make a package of foreign graphs and publish it.

    Args:
        say: is told each decision and what is being done, line by line.

    Raises:
        ExportError: what cannot be served or is not known, and what to do; then nothing is left behind.
        DataError: if the data cannot be read.
    """
    limits.check_license(options.license)
    name, version = options.name, choose_version(options.models, options.name, options.version)
    generator, decisions = adopt_generator(sources.generator, sources.mapping, options)
    for decision in decisions:
        say(str(decision))
    face = generator.face
    missing = ["It has no discriminator: no scores, and no selection among candidates; adopt it with --discriminator."]
    for sentence in missing:
        say(f"not available: {sentence}")
    graph = Graph(generator.graph.content)
    arrays = _golden(graph, generator)
    drawn = packaging.preview(generator, graph)
    if options.dry_run:
        return Adoption(name=name, version=version, decisions=tuple(decisions), missing=tuple(missing), package=None)
    title = f"{name} {version}"
    files = {
        GENERATOR: generator.graph.content,
        GOLDEN: golden.pack(arrays),
        CARD: packaging.card(
            title, face, decisions, sources.files, missing, options.license, drawn=drawn is not None
        ).encode(),
        **({} if drawn is None else {PREVIEW: drawn}),
    }
    least = HALF_UNIT if generator.graph.half else 0.0
    parity = Parity(sample=max(generator.graph.gap, least), pixels=None, logit=0.0)
    manifest = Manifest(
        name=name,
        version=version,
        created=packaging.now(),
        summary=packaging.summary(face),
        license=options.license,
        files=files,
        interface=face,
        generator_opset=generator.graph.opset,
        discriminator=None,
        golden_count=len(arrays[f"generator.{LATENT}"]),
        tolerances=golden.tolerances(arrays, parity),
        provenance=packaging.provenance(sources.files, generator, decisions),
    )
    package = publish({**files, FILE_NAME: manifest.to_json()}, options.models, name, version)
    say(f"published: {package}")
    return Adoption(name=name, version=version, decisions=tuple(decisions), missing=tuple(missing), package=package)


def _golden(graph: Graph, generator: AdoptedGenerator) -> Arrays:
    inputs = draw(Purpose.GOLDEN, packaging.golden_count(generator.face), generator.face)
    outputs = packaging.run(graph, inputs, generator.face, one_by_one=generator.graph.one_by_one, what="golden vectors")
    return {f"generator.{tensor}": values for tensor, values in {**inputs, **outputs}.items()}
