"""Loads a package: makes its sessions and verifies them, which takes seconds and runs on a thread of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from service.engine.backends.base import InstanceGroup
from service.engine.batching.device_thread import DeviceThread
from service.engine.config import Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import onnxruntime_instances, openvino_instances
from service.engine.loading.signature import Tensors, tensors_by_role
from service.engine.model_spec import DensityRatio, GraphKind, GraphReport, GraphSpec, PackageGraphs
from service.engine.scheduling.scheduler import BatchLimits


@dataclass(frozen=True, slots=True)
class VerifiedGraph:
    """A graph that may serve.

    Attributes:
        instances: loaded and warm.
        inputs: by role.
        outputs: by role.
        report: of its verification.
        batch_coupled: as in `GraphSpec`.
        density_ratio: as in `GraphSpec`.
    """

    instances: InstanceGroup
    inputs: Tensors
    outputs: Tensors
    report: GraphReport
    batch_coupled: bool
    density_ratio: DensityRatio | None


@dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """A package that may serve: the graphs that it has, the generator always."""

    graphs: Mapping[GraphKind, VerifiedGraph]

    @property
    def generator(self) -> VerifiedGraph:
        """Latents → sample and, for images, pixels."""
        return self.graphs["generator"]

    @property
    def discriminator(self) -> VerifiedGraph | None:
        """Sample → logit, where there is one."""
        return self.graphs.get("discriminator")

    @property
    def encoder(self) -> VerifiedGraph | None:
        """Sample → latent, codes or both, where there is one."""
        return self.graphs.get("encoder")


def load_package(
    package: PackageGraphs, runtime: Runtime, limits: BatchLimits, device: DeviceThread | None = None
) -> VerifiedPackage:
    """Make and verify a package's sessions.

    Args:
        package: its graphs.
        runtime: how they are run.
        limits: how many samples may run together.
        device: opens and runs sessions that are not on the CPU; None makes one for each graph.

    Raises:
        GraphRefused: the backend cannot load a graph, or its tensors are not the stated ones.
        GoldenMismatch: a graph does not reproduce what its exporter saw.
    """
    load = partial(onnxruntime_instances, device=device) if runtime.backend == "onnxruntime" else openvino_instances
    specs: dict[GraphKind, GraphSpec | None] = {
        "generator": package.generator,
        "discriminator": package.discriminator,
        "encoder": package.encoder,
    }
    graphs: dict[GraphKind, VerifiedGraph] = {}
    for kind, spec in specs.items():
        if spec is not None:
            verification = VerificationSpec(spec, package.tolerances, limits.max_batch_samples, runtime.reproducibility)
            instances, report = load(kind, runtime, verification)
            inputs, outputs = tensors_by_role(spec)
            graphs[kind] = VerifiedGraph(instances, inputs, outputs, report, spec.batch_coupled, spec.density_ratio)
    return VerifiedPackage(graphs)
