"""From a package's bytes to graphs that may serve: roles held, sessions made, everything proven.

    PackageGraphs ─▶ roles ─▶ ONNX Runtime or OpenVINO ─▶ proven runners ─▶ VerifiedPackage

It takes seconds and runs on a thread of its own, so it knows nothing of the event loop, of queues or of jobs.

Shapes: C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass

from service.engine.backends.base import InstanceGroup
from service.engine.batching.scheduler import BatchLimits
from service.engine.config import Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import onnxruntime_instances, openvino_instances
from service.engine.loading.signature import Tensors, tensors_by_role
from service.engine.model_spec import DensityRatio, GraphReport, GraphSpec, PackageGraphs


@dataclass(frozen=True, slots=True)
class VerifiedGraph:
    """A graph that showed what it must.

    Attributes:
        instances: loaded and warm.
        inputs: by role.
        outputs: by role.
        report: what it showed.
        batch_coupled: as in `GraphSpec`.
        pack: likewise.
        density_ratio: likewise.
    """

    instances: InstanceGroup
    inputs: Tensors
    outputs: Tensors
    report: GraphReport
    batch_coupled: bool
    pack: int
    density_ratio: DensityRatio | None


@dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """A package that may serve.

    Attributes:
        generator: noise → sample and pixels.
        discriminator: sample → logit, where it has one.
        encoder: sample → latent or codes, where it has one.
    """

    generator: VerifiedGraph
    discriminator: VerifiedGraph | None
    encoder: VerifiedGraph | None


def load_package(package: PackageGraphs, runtime: Runtime, limits: BatchLimits) -> VerifiedPackage:
    """Make and prove a package's sessions.

    Args:
        package: its graphs.
        runtime: how to make sessions.
        limits: how many samples may run together.

    Raises:
        GraphRefused: the backend cannot load a graph, or its tensors are not the stated ones.
        GoldenMismatch: a graph does not reproduce what its exporter saw.
    """

    def proven(name: str, spec: GraphSpec) -> VerifiedGraph:
        verification = VerificationSpec(spec, package.tolerances, limits.max_batch_samples, runtime.reproducibility)
        instances, report = _backend(runtime)(name, runtime, verification)
        return VerifiedGraph(
            instances, *tensors_by_role(spec), report, spec.batch_coupled, spec.pack, spec.density_ratio
        )

    return VerifiedPackage(
        generator=proven("generator", package.generator),
        discriminator=None if package.discriminator is None else proven("discriminator", package.discriminator),
        encoder=None if package.encoder is None else proven("encoder", package.encoder),
    )


def _backend(runtime: Runtime) -> Callable[[str, Runtime, VerificationSpec], tuple[InstanceGroup, GraphReport]]:
    return onnxruntime_instances if runtime.backend == "onnxruntime" else openvino_instances
