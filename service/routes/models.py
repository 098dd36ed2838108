"""GET /models and below: what is served, ready or not and why, and what is known of it.

Read-only views of the repository; what a package says of itself is echoed from its manifest, what loading it showed
comes from the engine's report.
"""

from itertools import groupby
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from service.engine.graphs import GraphReport, Prior
from service.errors import NotFound
from service.packages.repository import PackageStatus, ServedPackage
from service.routes.context import Parts
from service.routes.documentation import problems
from service.routes.sample_shape import image_shape

router = APIRouter(prefix="/models", tags=["models"])

Name = Annotated[str, Path(description="package", examples=["mnist"])]


class VersionState(BaseModel):
    """Where one version of a model stands."""

    version: str = Field(description="its version", examples=["1"])
    state: Literal["loading", "ready", "refused"] = Field(description="only a ready one answers requests")
    reason: str | None = Field(None, description="why it was refused")


class Model(BaseModel):
    """One model and its versions."""

    name: str = Field(description="its name", examples=["mnist"])
    default: bool = Field(description="whether it answers requests that name none")
    versions: list[VersionState] = Field(description="the newest first; it answers requests that name no version")


class ModelList(BaseModel):
    """Every model that was found."""

    models: list[Model] = Field(description="by name")


class LatentInput(BaseModel):
    """What the generator turns into samples."""

    size: int = Field(description="numbers of one latent", examples=[128])
    prior: Prior = Field(description="their distribution; `uniform` is U(-1, 1)")


class ImageOutput(BaseModel):
    """What the generator makes, and what the discriminator takes."""

    kind: Literal["image"] = Field("image", description="what a sample is", examples=["image"])
    height: int = Field(description="pixels", examples=[28])
    width: int = Field(description="pixels", examples=[28])
    channels: int = Field(description="1 grey, 3 RGB", examples=[1])


class Judge(BaseModel):
    """What the manifest says of the discriminator."""

    loss_family: str = Field(description="what its logit was trained to be", examples=["non_saturating"])
    batch_coupled: bool = Field(description="whether a score depends on what is scored beside it")
    calibration_method: str = Field(description="how logits become probabilities", examples=["platt"])
    expected_calibration_error: float = Field(description="on held-out samples, in [0, 1]", examples=[0.012])


class GraphOnDevice(BaseModel):
    """What loading a graph showed on this machine."""

    provider: str = Field(description="ONNX Runtime's name of what runs it", examples=["CPUExecutionProvider"])
    buckets: list[int] = Field(description="batch sizes in use; empty where requests are never batched together")
    reproducible: bool = Field(description="whether a sample's bytes were proven equal in all of them")
    largest_deviation: float = Field(description="largest absolute difference between any two batch sizes tried")
    golden_deviation: float = Field(description="largest absolute difference from the exporter's own outputs")


class VersionDetails(VersionState):
    """One version of a model; the rest is there once it is ready."""

    name: str = Field(description="its model", examples=["mnist"])
    package_sha256: str | None = Field(None, description="SHA-256 of the manifest, which holds every file's hash")
    created: str | None = Field(None, description="when it was exported, UTC", examples=["2026-01-01T00:00:00Z"])
    summary: str | None = Field(None, description="one sentence for people")
    license: str | None = Field(None, description="of the weights")
    latent: LatentInput | None = Field(None, description="what the generator takes")
    labels: list[str] | None = Field(None, description="classes in the order of their integers, where there are some")
    sample: ImageOutput | None = Field(None, description="what the generator makes")
    discriminator: Judge | None = Field(
        None, description="what the manifest says of the discriminator, where there is one"
    )
    generator_on_device: GraphOnDevice | None = Field(None, description="what loading the generator showed")
    discriminator_on_device: GraphOnDevice | None = Field(None, description="what loading the discriminator showed")
    load_s: float | None = Field(None, description="seconds from bytes to ready, golden replay and warm-up included")
    provenance: dict[str, object] | None = Field(None, description="echoed from the package: objective, data, metrics")


@router.get("", operation_id="list_models", summary="What is served", response_model_exclude_none=True)
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
        if model.name == name:
            return model
    raise NotFound("There is no model of this name; GET /models lists what there is.")


@router.get(
    "/{name}/versions/{version}",
    operation_id="get_version",
    summary="One version of a model",
    response_model_exclude_none=True,
    responses={**problems(404)},
)
async def get_version(
    name: Name, version: Annotated[str, Path(description="its version", examples=["1"])], parts: Parts
) -> VersionDetails:
    """Show what one version takes and makes, what loading it showed, and where it comes from."""
    for status in parts.repository.statuses():
        if (status.key.name, str(status.key.version)) == (name, version):
            return _details(status)
    raise NotFound("There is no such version of this model; GET /models lists what there is.")


def _models(statuses: list[PackageStatus], default: str) -> list[Model]:
    return [
        Model(name=name, default=name == default, versions=[_state(status) for status in of_model])
        for name, of_model in groupby(statuses, key=lambda status: status.key.name)
    ]


def _state(status: PackageStatus) -> VersionState:
    return VersionState(version=str(status.key.version), state=status.state, reason=status.reason)


def _details(status: PackageStatus) -> VersionDetails:
    known = VersionDetails(
        name=status.key.name, version=str(status.key.version), state=status.state, reason=status.reason
    )
    return known if status.package is None else known.model_copy(update=_of_package(status.package))


def _of_package(package: ServedPackage) -> dict[str, object]:
    manifest, report = package.manifest, package.report
    height, width, channels = image_shape(package)
    judge = manifest.discriminator
    return {
        "package_sha256": package.sha256,
        "created": manifest.created,
        "summary": manifest.summary,
        "license": manifest.license,
        "latent": LatentInput(size=manifest.latent.size, prior=manifest.latent.prior),
        "labels": list(manifest.labels.names) if manifest.labels else None,
        "sample": ImageOutput(height=height, width=width, channels=channels),
        "discriminator": judge
        and Judge(
            loss_family=judge.loss_family,
            batch_coupled=judge.batch_coupled,
            calibration_method=judge.calibration.method,
            expected_calibration_error=judge.calibration.expected_calibration_error,
        ),
        "generator_on_device": _on_device(report.generator),
        "discriminator_on_device": report.discriminator and _on_device(report.discriminator),
        "load_s": report.load_s,
        "provenance": manifest.provenance.model_dump(mode="json"),
    }


def _on_device(report: GraphReport) -> GraphOnDevice:
    return GraphOnDevice(
        provider=report.provider,
        buckets=list(report.buckets),
        reproducible=report.reproducible,
        largest_deviation=report.largest_deviation,
        golden_deviation=report.golden_deviation,
    )
