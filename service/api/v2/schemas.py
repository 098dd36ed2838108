"""Requests and responses of the Open Inference Protocol as pydantic models, and its errors for OpenAPI."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.schemas.requests import Seed, Version
from service.engine.interface import SamplerName
from service.engine.model_spec import Datatype
from service.server.openapi import WORDS

MAX_INT64: Final = 2**63 - 1
MAX_ID_CHARACTERS: Final = 1_024
# No graph has as many inputs or outputs, no tensor as many axes.
MAX_TENSORS: Final = 64
MAX_AXES: Final = 8

Axis = Annotated[int, Field(ge=0, le=MAX_INT64)]
Platform = Literal["onnxruntime_onnx"]
# MLServer's names for an array and for a table of columns; its others (text, dates, base64) are no tensors of ours.
ContentType = Literal["np", "pd"]
State = Literal["READY", "UNAVAILABLE", "LOADING", "UNLOADING"]


class Wire(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class V2Error(BaseModel):
    """Any answer whose status is not 200."""

    error: str = Field(description="one sentence to act on", examples=["`inputs`: `latent` is missing."])


class Annotations(Wire):
    """What MLServer's codecs write wherever there are parameters; it says nothing that a tensor does not say itself."""

    content_type: ContentType | None = Field(
        None, description="what was encoded: an array, or a column of a table; the tensor is the same", examples=["np"]
    )
    headers: None = Field(None, description="taken where it is null, as a codec leaves it")


class InputParameters(Annotations):
    """How an input tensor comes."""

    binary_data_size: int | None = Field(
        None, ge=0, le=MAX_INT64, description="bytes of it behind the JSON; it has no `data` then", examples=[64]
    )


class InputTensor(Wire):
    """One input tensor."""

    name: str = Field(description="one of the model's inputs", examples=["latent"])
    shape: list[Axis] = Field(
        max_length=MAX_AXES,
        fail_fast=True,
        description="its sizes; the first is how many samples",
        examples=[[1, 16]],
    )
    datatype: str = Field(description="as the model's metadata says", examples=["FP32"])
    parameters: InputParameters | None = Field(None, description="how it comes")
    data: list[Any] | None = Field(
        None, fail_fast=True, description="its elements, flat or nested, row-major", examples=[[0.3, -1.2]]
    )


class OutputParameters(Annotations):
    """How an output tensor is wanted."""

    binary_data: bool | None = Field(
        None, description="behind the JSON, as bytes; left out: as `binary_data_output` says", examples=[True]
    )


class RequestedOutput(Wire):
    """One output tensor that is wanted."""

    name: str = Field(description="one of the model's outputs", examples=["pixels"])
    parameters: OutputParameters | None = Field(None, description="how it is wanted")


class InferParameters(Annotations):
    """What holds for the whole request."""

    binary_data_output: bool | None = Field(
        False, description="whether outputs that do not say come as bytes", examples=[True]
    )
    timeout: int | None = Field(
        0, ge=0, le=MAX_INT64, description="deadline in microseconds, as X-Timeout-Ms; 0 for none", examples=[500_000]
    )
    seed: Seed | None = Field(
        None,
        description="of a generator: sample i has seed `seed + i`, and inputs that are left out are drawn from it, as "
        "/generate draws them",
        examples=[7],
    )
    n: int | None = Field(
        None,
        ge=1,
        description="how many samples `seed` draws; left out: as many as the inputs have, else 1",
        examples=[4],
    )
    sampler: SamplerName | None = Field("philox-1", description="how a seed becomes a latent", examples=["philox-1"])


class InferRequest(Wire):
    """Tensors in, tensors wanted. With the binary extension the body is this JSON with the blobs behind it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [{"name": "latent", "shape": [1, 2], "datatype": "FP32", "data": [0.3, -1.2]}],
                    "outputs": [{"name": "sample"}],
                },
                {"inputs": [], "parameters": {"seed": 7, "n": 4}, "outputs": [{"name": "sample"}]},
            ]
        }
    )

    id: str | None = Field(None, max_length=MAX_ID_CHARACTERS, description="echoed", examples=["42"])
    model_name: str | None = Field(
        None, description="the model, which the address states; accepted where both agree", examples=["mnist"]
    )
    model_version: Version | None = Field(
        None, description="its version; without one in the address, the version that answers", examples=["1"]
    )
    parameters: InferParameters | None = Field(None, description="what holds for all of it")
    inputs: list[InputTensor] = Field(
        max_length=MAX_TENSORS, fail_fast=True, description="all of the model's inputs, but for what `seed` draws"
    )
    outputs: list[RequestedOutput] | None = Field(
        None, max_length=MAX_TENSORS, fail_fast=True, description="those wanted; left out: all of them"
    )


class OutputTensor(BaseModel):
    """One output tensor."""

    name: str = Field(description="the graph's own name for it", examples=["pixels"])
    datatype: Datatype = Field(description="of its elements", examples=["UINT8"])
    shape: list[int] = Field(description="its sizes", examples=[[1, 28, 28, 1]])
    parameters: dict[str, int] | None = Field(
        None, description="`binary_data_size`: bytes of it behind the JSON, in the order of the outputs"
    )
    data: list[float] | None = Field(None, description="its elements, flat, row-major, where it is not binary")


class InferProvenance(BaseModel):
    """What the outputs depend on beside the inputs."""

    package_sha256: str = Field(description="SHA-256 of the manifest, which holds every file's hash")
    sampler: str | None = Field(None, description="where a seed drew inputs", examples=["philox-1"])


class InferHead(BaseModel):
    """What an answer says beside its outputs."""

    model_name: str = Field(description="who answered", examples=["mnist"])
    model_version: str = Field(description="its version", examples=["1"])
    id: str | None = Field(None, description="the request's")
    parameters: InferProvenance = Field(description="what the outputs depend on beside the inputs")


class InferAnswer(InferHead):
    """Output tensors."""

    outputs: list[OutputTensor] = Field(description="in the order asked for")


class ServerMetadata(BaseModel):
    """Who answers, and what it knows beside the required part of the protocol."""

    name: Literal["ganymede"] = Field("ganymede", description="the server", examples=["ganymede"])
    version: str = Field(description="its version", examples=["1.0.0"])
    extensions: list[str] = Field(description="what it knows", examples=[["binary_tensor_data", "statistics"]])


class ServerLive(BaseModel):
    """The process answers."""

    live: Literal[True] = Field(True, description="no answer at all is the other case", examples=[True])


class ServerReady(BaseModel):
    """Every configured model is golden-checked and warm."""

    ready: Literal[True] = Field(True, description="anything else is an error with the status 503", examples=[True])


class ModelReady(ServerReady):
    """The model answers requests."""

    name: str = Field(description="the model", examples=["mnist"])


class TensorMetadata(BaseModel):
    """One input or output of a model."""

    name: str = Field(description="its name", examples=["latent"])
    datatype: Datatype = Field(description="of its elements", examples=["FP32"])
    shape: list[int] = Field(description="its sizes; -1 is how many samples", examples=[[-1, 128]])


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str = Field(description="a package's generator by the package's name, its other graphs as NAME.discriminator")
    versions: list[str] = Field(description="those that are ready, the newest first", examples=[["2", "1"]])
    platform: Platform = Field("onnxruntime_onnx", description="what runs it", examples=["onnxruntime_onnx"])
    inputs: list[TensorMetadata] = Field(description="in their order")
    outputs: list[TensorMetadata] = Field(description="in their order")


class Reshape(BaseModel):
    """How the graph itself has a tensor that the protocol has otherwise."""

    shape: list[int] = Field(description="its sizes without that of the batch", examples=[[]])


class ConfigTensor(BaseModel):
    """One input or output in a model's configuration."""

    name: str = Field(description="its name", examples=["latent"])
    data_type: str = Field(description="of its elements", examples=["TYPE_FP32"])
    dims: list[int] = Field(description="its sizes without that of the batch", examples=[[128]])
    reshape: Reshape | None = Field(None, description="where the graph has one element a sample and no other axis")


class DynamicBatching(BaseModel):
    """Requests of different callers share runs."""

    preferred_batch_size: list[int] = Field(description="batch sizes in use", examples=[[1, 2, 4, 8]])
    max_queue_delay_microseconds: int = Field(0, description="nothing waits for more to come", examples=[0])


class InstanceGroup(BaseModel):
    """Where the model runs."""

    kind: Literal["KIND_CPU", "KIND_GPU"] = Field(description="on what", examples=["KIND_CPU"])
    count: int = Field(1, description="sessions", examples=[1])


class ModelConfig(BaseModel):
    """A model's configuration, as Triton words it."""

    name: str = Field(description="the model", examples=["mnist"])
    platform: Platform = Field("onnxruntime_onnx", description="what runs it", examples=["onnxruntime_onnx"])
    backend: Literal["onnxruntime"] = Field("onnxruntime", description="what runs it", examples=["onnxruntime"])
    max_batch_size: int = Field(description="most samples in one request", examples=[4096])
    input: list[ConfigTensor] = Field(description="in their order")
    output: list[ConfigTensor] = Field(description="in their order")
    instance_group: list[InstanceGroup] = Field(description="where it runs")
    dynamic_batching: DynamicBatching | None = Field(
        None, description="left out where a sample's output depends on those beside it, so that requests run alone"
    )


class Duration(BaseModel):
    """Durations added up."""

    count: int = Field(description="how many", examples=[12])
    ns: int = Field(description="their sum in nanoseconds", examples=[48_000_000])


class InferStatistics(BaseModel):
    """What became of a model's requests, and where their time went."""

    success: Duration = Field(description="answered, from arrival to answer")
    fail: Duration = Field(description="refused, late, cancelled or failed in the session")
    queue: Duration = Field(description="of those answered: waiting for a session")
    compute_input: Duration = Field(description="of those answered: making the session's inputs")
    compute_infer: Duration = Field(description="of those answered: in the session")
    compute_output: Duration = Field(description="of those answered: taking the results out")
    cache_hit: Duration = Field(description="always zero: nothing is cached")
    cache_miss: Duration = Field(description="always zero: nothing is cached")


class BatchStatistics(BaseModel):
    """The runs of one batch size."""

    batch_size: int = Field(description="rows of a run, padding included", examples=[8])
    compute_input: Duration = Field(description="making the session's inputs, once a run")
    compute_infer: Duration = Field(description="in the session, once a run")
    compute_output: Duration = Field(description="taking the results out, once a run")


class ModelStatistics(BaseModel):
    """One model's counters since it was loaded; all requests to its graph count, by whatever route they came."""

    name: str = Field(description="the model", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    last_inference: int = Field(description="when a request was last answered, ms since 1970; 0 where none was")
    inference_count: int = Field(description="samples of requests that were answered", examples=[64])
    execution_count: int = Field(description="runs of the session", examples=[1])
    inference_stats: InferStatistics = Field(description="by request")
    batch_stats: list[BatchStatistics] = Field(description="by batch size, ascending")


class Statistics(BaseModel):
    """Counters of one model or of all."""

    model_stats: list[ModelStatistics] = Field(description="one a model and version")


class IndexRequest(Wire):
    """Which models to list."""

    ready: bool | None = Field(False, description="only those that are ready", examples=[False])


class IndexEntry(BaseModel):
    """Where one version of one model stands."""

    name: str = Field(description="the model", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    state: State = Field(description="only a READY one answers requests", examples=["READY"])
    reason: str = Field(description="why it is not ready; else empty", examples=[""])


class UnloadParameters(Wire):
    """How to unload."""

    unload_dependents: bool | None = Field(False, description="accepted; no model depends on another", examples=[False])


class LoadParameters(Wire):
    """Nothing: a package is loaded as it was published, never with another configuration or other files."""


class LoadRequest(Wire):
    """How to load a model."""

    parameters: LoadParameters | None = Field(None, description="there are none")


class UnloadRequest(Wire):
    """How to unload a model."""

    parameters: UnloadParameters | None = Field(None, description="how")


class Done(BaseModel):
    """It was done."""


# Bodies that endpoints read themselves, to be added to the OpenAPI document.
BODIES: Final = (InferRequest, IndexRequest, LoadRequest, UnloadRequest)


PROTOCOL_WORDS: Mapping[int, str] = {
    **WORDS,
    HTTPStatus.BAD_REQUEST: "The request cannot be read, or does not fit the model; `error` says what to change.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is compressed in a way that is not read.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The errors of an endpoint for OpenAPI, as the protocol words them."""
    return {status: {"model": V2Error, "description": PROTOCOL_WORDS[status]} for status in statuses}
