"""From a package's bytes to graphs that may serve: roles held, sessions made, everything proven.

    PackageGraphs ─▶ roles ─▶ Session ─▶ prove ─▶ ProvenPackage

It takes seconds and runs on a thread of its own, so it knows nothing of the event loop, of queues or of jobs.

Shapes: C channels, H height, W width.
"""

from dataclasses import dataclass

from service.engine.batch_policy import BatchLimits
from service.engine.graphs import GraphReport, GraphSpec, PackageGraphs
from service.engine.job_checks import Offer
from service.engine.proof import prove
from service.engine.roles import Tensors, discriminator_tensors, generator_tensors
from service.engine.session import Runtime, Session


@dataclass(frozen=True, slots=True)
class ProvenGraph:
    """A graph that showed what it must.

    Attributes:
        session: loaded and warm.
        inputs: by role.
        outputs: by role.
        report: what it showed.
        batch_coupled: as in `GraphSpec`.
        pack: likewise.
    """

    session: Session
    inputs: Tensors
    outputs: Tensors
    report: GraphReport
    batch_coupled: bool
    pack: int


@dataclass(frozen=True, slots=True)
class ProvenPackage:
    """A package that may serve.

    Attributes:
        offer: what it offers to jobs.
        generator: noise → sample and pixels.
        discriminator: sample → logit, where it has one.
    """

    offer: Offer
    generator: ProvenGraph
    discriminator: ProvenGraph | None


def prove_package(package: PackageGraphs, runtime: Runtime, limits: BatchLimits) -> ProvenPackage:
    """Make and prove a package's sessions.

    Args:
        package: its graphs.
        runtime: how to make sessions.
        limits: how many samples may run together.

    Raises:
        GraphRefused: ONNX Runtime cannot load a graph, or its tensors are not the stated ones.
        GoldenMismatch: a graph does not reproduce what its exporter saw.
    """

    def proven(name: str, spec: GraphSpec, tensors: tuple[Tensors, Tensors]) -> ProvenGraph:
        session = Session(name, spec, runtime)
        report = prove(session, spec, package.tolerances, limits.max_batch_samples, runtime.reproducibility)
        return ProvenGraph(session, *tensors, report, spec.batch_coupled, spec.pack)

    generator = proven("generator", package.generator, generator_tensors(package))
    spec = package.discriminator
    discriminator = None if spec is None else proven("discriminator", spec, discriminator_tensors(package, spec))
    return ProvenPackage(_offer(package, generator, discriminator, limits), generator, discriminator)


def _offer(
    package: PackageGraphs, generator: ProvenGraph, discriminator: ProvenGraph | None, limits: BatchLimits
) -> Offer:
    pixels = generator.outputs.get("pixels")
    together = discriminator is not None and discriminator.batch_coupled
    return Offer(
        latent_size=package.latent_size,
        prior=package.prior,
        label_count=package.label_count,
        sample_shape=generator.outputs["sample"].shape[1:],
        pixels_shape=None if pixels is None else pixels.shape[1:],
        judges_by_label=discriminator is not None and "label" in discriminator.inputs,
        largest_group=limits.request_queue_samples if together else None,
    )
