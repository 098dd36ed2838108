"""GET /models and below: what is served, ready or not and why, and what is known of it.

Read-only views of the repository; what a package says of itself is echoed from its manifest, what loading it showed
comes from the engine's report.
"""

from itertools import groupby
from typing import Annotated, Final

from fastapi import APIRouter, Path

from service.api.context import Parts
from service.api.sample_types import Images, Items, Kind, Vectors, kind_of
from service.api.schemas.responses import (
    CodesInput,
    ConditionInput,
    Device,
    EncoderOutputs,
    GraphOnDevice,
    ImageOutput,
    ItemOutput,
    Judge,
    LatentInput,
    Model,
    ModelList,
    PixelDifference,
    ReferenceSample,
    Told,
    UnlabelledJudge,
    VectorOutput,
    VersionDetails,
    VersionState,
)
from service.api.stack import stack_id
from service.engine.model_spec import GraphReport
from service.errors import NotFound
from service.packages.registry import PackageStatus, ServedPackage
from service.packages.schema import Discriminator, Graph
from service.server.openapi import link, problems

router = APIRouter(prefix="/models", tags=["models"])

Name = Annotated[str, Path(description="package", examples=["mnist"])]


_NEXT: Final = {
    "versions": link("get_model", "the first model", name="$response.body#/models/0/name"),
    "details": link(
        "get_version",
        "the newest version of the first model",
        name="$response.body#/models/0/name",
        version="$response.body#/models/0/versions/0/version",
    ),
}
_SAMPLES: Final = {
    operation_id: link(
        operation_id,
        "a sample that may be kept for ever",
        name="$response.body#/name",
        version="$response.body#/version",
        seed="7",
        form="npy",
        stack="$response.body#/stack",
    )
    for operation_id in ("get_sample", "head_sample")
}


@router.get(
    "",
    operation_id="list_models",
    summary="What is served",
    response_model_exclude_none=True,
    responses={200: {"links": _NEXT}},
)
async def list_models(parts: Parts) -> ModelList:
    """List every model in the folder, ready or not and why."""
    return ModelList(models=_models(parts.repository.statuses(), parts.settings.default_model))


@router.get(
    "/{name}",
    operation_id="get_model",
    summary="One model and its versions",
    response_model_exclude_none=True,
    responses={**problems(404)},
)
async def get_model(name: Name, parts: Parts) -> Model:
    """Show one model's versions, ready or not and why."""
    for model in _models(parts.repository.statuses(), parts.settings.default_model):
        if model.name == parts.repository.resolve(name):
            return model
    raise NotFound("There is no model of this name; GET /models lists what there is.")


@router.get(
    "/{name}/versions/{version}",
    operation_id="get_version",
    summary="One version of a model",
    response_model_exclude_none=True,
    responses={200: {"links": _SAMPLES}, **problems(404)},
)
async def get_version(
    name: Name, version: Annotated[str, Path(description="its version", examples=["1"])], parts: Parts
) -> VersionDetails:
    """Show what one version takes and makes, what loading it showed, and where it comes from."""
    for status in parts.repository.statuses():
        if (status.key.name, str(status.key.version)) == (parts.repository.resolve(name), version):
            return await parts.offload.run(_details, status)  # the first stack of a process costs some pictures
    raise NotFound("There is no such version of this model; GET /models lists what there is.")


def _models(statuses: list[PackageStatus], default: str) -> list[Model]:
    return [
        Model(name=name, default=name == default, versions=[_state(status) for status in of_model])
        for name, of_model in groupby(statuses, key=lambda status: status.key.name)
    ]


def _state(status: PackageStatus) -> VersionState:
    return VersionState.model_validate(_stated(status))


def _stated(status: PackageStatus) -> dict[str, object]:
    return {
        "version": str(status.key.version),
        "state": status.state,
        "reason": status.reason,
        "on_demand": status.on_demand,
        "memory_bytes": status.memory_bytes,
    }


def _details(status: PackageStatus) -> VersionDetails:
    known = VersionDetails.model_validate({"name": status.key.name, **_stated(status)})
    return known if status.package is None else known.model_copy(update=_of_package(status.package))


def _judge(stated: Discriminator) -> Judge | None:
    """How scores are read; None where they are not calibrated, and so not answered."""
    if stated.calibration is None:
        return None
    return Judge(
        loss_family=stated.loss_family,
        takes=_told(stated),
        batch_coupled=stated.batch_coupled,
        calibration_method=stated.calibration.method,
        expected_calibration_error=stated.calibration.expected_calibration_error,
        unknown_label=stated.unknown_label
        and UnlabelledJudge(
            calibration_method=stated.unknown_label.calibration.method,
            expected_calibration_error=stated.unknown_label.calibration.expected_calibration_error,
            label_accuracy=stated.unknown_label.label_accuracy,
        ),
    )


def _of_package(package: ServedPackage) -> dict[str, object]:
    manifest, report = package.manifest, package.report
    judge, encoder = manifest.discriminator, manifest.encoder
    return {
        "package_sha256": package.sha256,
        "stack": stack_id(package),
        "created": manifest.created,
        "summary": manifest.summary,
        "license": manifest.license,
        "latent": LatentInput(size=manifest.latent.size, prior=manifest.latent.prior),
        "labels": list(manifest.labels.names) if manifest.labels else None,
        "codes": manifest.codes and CodesInput.model_validate(manifest.codes.model_dump()),
        "condition": manifest.condition and ConditionInput.model_validate(manifest.condition.model_dump()),
        "sample": _output(kind_of(manifest.sample)),
        "reference": manifest.reference
        and ReferenceSample(count=manifest.reference.count, sha256=manifest.files[manifest.reference.file].sha256),
        "discriminator": judge and _judge(judge),
        "encoder": encoder
        and EncoderOutputs.model_validate(
            {"gives": [tensor.role for tensor in encoder.outputs], "takes": _told(encoder)}
        ),
        "generator_on_device": _on_device(report.generator),
        "discriminator_on_device": report.discriminator and _on_device(report.discriminator),
        "encoder_on_device": report.encoder and _on_device(report.encoder),
        "load_s": report.load_s,
        "provenance": manifest.provenance.model_dump(mode="json"),
    }


def _told(graph: Graph) -> list[Told]:
    """What a graph is told beside the sample."""
    roles = {tensor.role for tensor in graph.inputs}
    told: tuple[Told, ...] = ("label", "condition")
    return [each for each in told if each in roles]


def _output(kind: Kind) -> ImageOutput | VectorOutput | ItemOutput:
    match kind:
        case Images(height=height, width=width, channels=channels):
            return ImageOutput(height=height, width=width, channels=channels)
        case Vectors(size=size):
            return VectorOutput(size=size)
        case Items(count=count):
            return ItemOutput(count=count)


def _on_device(report: GraphReport) -> GraphOnDevice:
    return GraphOnDevice(
        provider=report.provider,
        runtime=report.runtime,
        precision=report.precision,
        buckets=list(report.buckets),
        reproducible=report.reproducible,
        largest_deviation=report.largest_deviation,
        golden_deviation=report.golden_deviation,
        pixel_difference=report.pixel_difference and PixelDifference.model_validate(report.pixel_difference),
        device=report.device and Device.model_validate(report.device),
    )
