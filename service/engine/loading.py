"""From a package's bytes to graphs that may serve: roles held, sessions made, everything proven.

    PackageGraphs ─▶ roles ─▶ ONNX Runtime or OpenVINO ─▶ proven runners ─▶ ProvenPackage

It takes seconds and runs on a thread of its own, so it knows nothing of the event loop, of queues or of jobs.

Shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass

from service.engine.batch_policy import BatchLimits
from service.engine.density_ratio import DensityRatio
from service.engine.graphs import GraphReport, GraphSpec, PackageGraphs, Role
from service.engine.job_checks import Offer
from service.engine.onnxruntime_runners import onnxruntime_runners
from service.engine.proof import Examination
from service.engine.roles import Tensors, discriminator_tensors, encoder_tensors, generator_tensors
from service.engine.runners import Runners
from service.engine.runtime import Runtime
from service.errors import GraphRefused


@dataclass(frozen=True, slots=True)
class ProvenGraph:
    """A graph that showed what it must.

    Attributes:
        runners: loaded and warm.
        inputs: by role.
        outputs: by role.
        report: what it showed.
        batch_coupled: as in `GraphSpec`.
        pack: likewise.
        density_ratio: likewise.
    """

    runners: Runners
    inputs: Tensors
    outputs: Tensors
    report: GraphReport
    batch_coupled: bool
    pack: int
    density_ratio: DensityRatio | None


@dataclass(frozen=True, slots=True)
class ProvenPackage:
    """A package that may serve.

    Attributes:
        offer: what it offers to jobs.
        generator: noise → sample and pixels.
        discriminator: sample → logit, where it has one.
        encoder: sample → latent or codes, where it has one.
    """

    offer: Offer
    generator: ProvenGraph
    discriminator: ProvenGraph | None
    encoder: ProvenGraph | None


def prove_package(package: PackageGraphs, runtime: Runtime, limits: BatchLimits) -> ProvenPackage:
    """Make and prove a package's sessions.

    Args:
        package: its graphs.
        runtime: how to make sessions.
        limits: how many samples may run together.

    Raises:
        GraphRefused: the backend cannot load a graph, or its tensors are not the stated ones.
        GoldenMismatch: a graph does not reproduce what its exporter saw.
    """

    def proven(name: str, spec: GraphSpec, tensors: tuple[Tensors, Tensors]) -> ProvenGraph:
        examination = Examination(spec, package.tolerances, limits.max_batch_samples, runtime.reproducibility)
        runners, report = _backend(runtime)(name, runtime, examination)
        return ProvenGraph(runners, *tensors, report, spec.batch_coupled, spec.pack, spec.density_ratio)

    generator = proven("generator", package.generator, generator_tensors(package))
    discriminator = encoder = None
    if (spec := package.discriminator) is not None:
        discriminator = proven("discriminator", spec, discriminator_tensors(package, spec))
    if (spec := package.encoder) is not None:
        encoder = proven("encoder", spec, encoder_tensors(package, spec))
    return ProvenPackage(_offer(package, generator, discriminator, encoder, limits), generator, discriminator, encoder)


def _backend(runtime: Runtime) -> Callable[[str, Runtime, Examination], tuple[Runners, GraphReport]]:
    if runtime.backend == "onnxruntime":
        return onnxruntime_runners
    try:
        from service.engine.openvino_runners import openvino_runners  # noqa: PLC0415  (an optional extra)
    except ModuleNotFoundError as error:
        raise GraphRefused("OpenVINO is asked for and not installed: pip install 'ganymede-gan[openvino]'") from error
    return openvino_runners


def _offer(
    package: PackageGraphs,
    generator: ProvenGraph,
    discriminator: ProvenGraph | None,
    encoder: ProvenGraph | None,
    limits: BatchLimits,
) -> Offer:
    pixels = generator.outputs.get("pixels")
    together = discriminator is not None and discriminator.batch_coupled

    def beside(graph: ProvenGraph | None) -> frozenset[Role]:
        return frozenset(() if graph is None else graph.inputs.keys() - {"sample"})

    return Offer(
        latent_size=package.latent_size,
        prior=package.prior,
        label_count=package.label_count,
        codes=package.codes,
        condition_count=package.condition_count,
        item_count=package.item_count,
        sample_shape=generator.outputs["sample"].shape[1:],
        pixels_shape=None if pixels is None else pixels.shape[1:],
        judged_by=beside(discriminator),
        encoded_by=beside(encoder),
        largest_group=limits.request_queue_samples if together else None,
    )
