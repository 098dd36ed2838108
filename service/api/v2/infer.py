"""POST /v2/models/NAME/infer: tensors in and out, as JSON or as JSON with binary tensors behind it.

Shapes: N samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.responses import Response

from service import tracing
from service.api.context import INLINE_BYTES
from service.api.limits import MAX_JSON_NUMBERS, MAX_SEED
from service.api.operations import Call, Operation, TheCall
from service.api.requests.body import validate_json
from service.api.v2.models import Name, ServedGraph, Version, find_graph, row_size, wire_shape
from service.api.v2.schemas import (
    InferAnswer,
    InferHead,
    InferParameters,
    InferProvenance,
    InferRequest,
    InputTensor,
    OutputTensor,
    refusals,
)
from service.engine.interface import NO_SHARE, InferJob
from service.errors import InvalidRequest, MalformedRequest, Problem
from service.media.compression import accepted_coding, compress, decompress
from service.media.tensors import (
    JSON_DATATYPES,
    Array,
    Loc,
    read_blob,
    read_numbers,
    split_blobs,
    split_body,
    write_blob,
    write_numbers,
)
from service.packages.schema import Tensor
from service.server.openapi import BINARY as BINARY_SCHEMA
from service.server.openapi import request_body
from service.server.problems import JSON
from service.settings import Settings

# Of requests and responses: the length of the JSON, behind which the binary tensors begin.
LENGTH_HEADER: Final = "Inference-Header-Content-Length"
BINARY: Final = "application/octet-stream"
_US_PER_S: Final = 1_000_000
_INPUTS: Final[Loc] = ("body", "inputs")
_OUTPUTS: Final[Loc] = ("body", "outputs")


@dataclass(frozen=True, slots=True)
class Inference:
    """A validated request for one graph.

    Attributes:
        job: with the deadline that the body states.
        binary: output name → whether it is answered as bytes; in the order asked for.
        id: echoed in the response.
    """

    graph: ServedGraph
    job: InferJob
    binary: Mapping[str, bool]
    id: str | None

    @property
    def count(self) -> int:
        """How many samples there are."""
        return max(map(len, self.job.inputs.values()), default=0) if self.job.seeds is None else len(self.job.seeds)


def read_inference(body: bytes, headers: Mapping[str, str], graph: ServedGraph, settings: Settings) -> Inference:
    """Read a request and validate it against the graph.

    Raises:
        MalformedRequest: the lengths of its parts do not fit, or it is not JSON.
        InvalidRequest: it does not fit the graph.
        BodyTooLarge: it would decompress to more than the limit.
        UnsupportedMediaType: its content coding is not supported.
    """
    unpacked = decompress(body, headers.get("content-encoding", ""), settings.max_body_bytes)
    length = headers.get(LENGTH_HEADER.lower())
    text, blobs = split_body(unpacked, length)
    if length is not None and not text:
        if headers.get("content-type", "").startswith(JSON):
            raise MalformedRequest(f"a body without JSON is not {JSON}; send it as application/octet-stream")
        return _raw(blobs, graph)
    asked = validate_json(InferRequest, text)
    _check_model(asked, graph)
    parameters = asked.parameters or InferParameters()
    limit = graph.largest_request(settings)
    inputs = _read_inputs(asked, blobs, graph, limit)
    seeds = _seeds(parameters, inputs, limit)
    # The engine refuses inputs whose numbers of rows differ.
    count = max(len(rows) for rows in (*inputs.values(), seeds if seeds is not None else ()))
    binary = _read_outputs(asked, graph, count, default=bool(parameters.binary_data_output))
    job = InferJob(
        package=graph.package.key,
        graph=graph.kind,
        inputs=inputs,
        outputs=tuple(binary),
        seeds=seeds,
        sampler=parameters.sampler or "philox-1",
        timeout_s=(parameters.timeout or 0) / _US_PER_S or None,
    )
    return Inference(graph, job, binary, asked.id)


def _check_model(asked: InferRequest, graph: ServedGraph) -> None:
    """Refuse a model in the body that is not the address's; some clients state it in both."""
    if asked.model_name not in {None, graph.name}:
        raise _invalid(("body", "model_name"), f"the address asks {graph.name}; name the same, or leave it out")
    if asked.model_version not in {None, graph.version}:
        words = f"version {graph.version} of {graph.name} answers at this address; name the same, or leave it out"
        raise _invalid(("body", "model_version"), words)


def _raw(blob: memoryview, graph: ServedGraph) -> Inference:
    """A body of nothing but the bytes of one sample, for a graph with one input; all outputs are answered as bytes."""
    if len(graph.spec.inputs) > 1:
        raise _invalid(_INPUTS, "a body without JSON can only be the one input of a model that has no other")
    tensor = graph.spec.inputs[0]
    row = read_blob(blob, tensor.datatype, (1, *tensor.shape[1:]), _INPUTS)
    outputs = {output.name: True for output in graph.spec.outputs}
    job = InferJob(package=graph.package.key, graph=graph.kind, inputs={tensor.name: row}, outputs=tuple(outputs))
    return Inference(graph, job, outputs, None)


def _read_inputs(asked: InferRequest, blobs: memoryview, graph: ServedGraph, limit: int) -> dict[str, Array]:
    stated = {tensor.name: tensor for tensor in graph.spec.inputs}
    sizes = [_blob_size(tensor) for tensor in asked.inputs]
    parts = iter(split_blobs(blobs, [size for size in sizes if size is not None]))
    inputs: dict[str, Array] = {}
    for index, given in enumerate(asked.inputs):
        loc: Loc = (*_INPUTS, index)
        if given.name not in stated:
            raise _invalid((*loc, "name"), f"the inputs of {graph.name} are {', '.join(stated)}; there are no others")
        if given.name in inputs:
            raise _invalid((*loc, "name"), "this input is given twice")
        _check_stated(given, stated[given.name], limit, loc)
        blob = None if sizes[index] is None else next(parts)
        inputs[given.name] = _read(given, blob, loc).reshape(-1, *stated[given.name].shape[1:])
    return inputs


def _blob_size(given: InputTensor) -> int | None:
    """Bytes of a tensor behind the JSON; None where its numbers are in the JSON."""
    return None if given.parameters is None else given.parameters.binary_data_size


def _check_stated(given: InputTensor, stated: Tensor, limit: int, loc: Loc) -> None:
    """Refuse a tensor whose type or shape is not that of the graph's input."""
    if given.datatype != stated.datatype:
        raise _invalid((*loc, "datatype"), f"`{given.name}` is {stated.datatype}")
    rows, *sizes = given.shape or [0]
    if rows == 0 or sizes not in (wire_shape(stated)[1:], list(stated.shape[1:])):
        words = f"the shape of `{given.name}` is {wire_shape(stated)} with 1 or more in place of -1, not {given.shape}"
        raise _invalid((*loc, "shape"), words)
    if rows > limit:
        raise _invalid((*loc, "shape"), f"at most {limit} samples in one request to this model")


def _read(given: InputTensor, blob: memoryview | None, loc: Loc) -> Array:
    match given.data, blob:
        case list(numbers), None:
            return read_numbers(numbers, given.datatype, given.shape, (*loc, "data"))
        case None, memoryview():
            return read_blob(blob, given.datatype, given.shape, loc)
        case _:
            raise _invalid(loc, "a tensor has either `data` or the parameter `binary_data_size`")


def _seeds(parameters: InferParameters, inputs: Mapping[str, Array], limit: int) -> NDArray[np.uint64] | None:
    """Seeds [N]; None where the request states none."""
    loc: Loc = ("body", "parameters")
    if parameters.seed is None:
        if parameters.n is not None:
            raise _invalid((*loc, "n"), "`n` needs a `seed` to draw samples from")
        return None
    count = parameters.n or max(map(len, inputs.values()), default=1)
    if count > limit:
        raise _invalid((*loc, "n"), f"at most {limit} samples in one request to this model")
    if parameters.seed + count - 1 > MAX_SEED:
        raise _invalid((*loc, "seed"), f"`seed` + {count - 1} would pass {MAX_SEED}")
    return np.uint64(parameters.seed) + np.arange(count, dtype=np.uint64)


def _read_outputs(asked: InferRequest, graph: ServedGraph, count: int, *, default: bool) -> dict[str, bool]:
    """Wanted outputs by name, each binary or not; `default` where the request does not say."""
    stated = {tensor.name: tensor for tensor in graph.spec.outputs}
    if not asked.outputs:
        binary = dict.fromkeys(stated, default)
    else:
        binary = {}
        for index, output in enumerate(asked.outputs):
            loc: Loc = (*_OUTPUTS, index, "name")
            if output.name not in stated:
                raise _invalid(loc, f"the outputs of {graph.name} are {', '.join(stated)}; there are no others")
            if output.name in binary:
                raise _invalid(loc, "this output is asked for twice")
            own = None if output.parameters is None else output.parameters.binary_data
            binary[output.name] = default if own is None else own
    numbers = [stated[name] for name, is_binary in binary.items() if not is_binary]
    for tensor in numbers:
        if tensor.datatype not in JSON_DATATYPES:
            raise _invalid(_OUTPUTS, f"{tensor.datatype} has no JSON form; ask for `{tensor.name}` as binary data")
    if count * sum(row_size(tensor) for tensor in numbers) > MAX_JSON_NUMBERS:
        raise _invalid(_OUTPUTS, f"at most {MAX_JSON_NUMBERS} numbers in one JSON answer; ask for them as binary data")
    return binary


def _invalid(loc: Loc, message: str) -> InvalidRequest:
    return InvalidRequest(Problem(loc, message))


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's body and the headers that describe it."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def write_answer(inference: Inference, outputs: Mapping[str, Array], accept_encoding: str) -> Answer:
    """Encode outputs [N, …] in the order and the form asked for.

    Raises:
        InvalidRequest: an output asked for as JSON holds a number that JSON cannot express.
    """
    stated = {tensor.name: tensor for tensor in inference.graph.spec.outputs}
    tensors: list[bytes] = []
    blobs: list[bytes] = []
    for name, is_binary in inference.binary.items():
        if is_binary:
            blobs.append(write_blob(outputs[name]))
            tensors.append(_described(stated[name], outputs[name], {"binary_data_size": len(blobs[-1])}))
        else:
            head = _described(stated[name], outputs[name])
            tensors.append(_with(head, "data", write_numbers(outputs[name], name)))
    text = _with(_head(inference), "outputs", b"[" + b",".join(tensors) + b"]")
    headers = {LENGTH_HEADER: str(len(text))} if blobs else {}
    body = b"".join((text, *blobs))
    coding = accepted_coding(accept_encoding)
    if coding is not None:
        headers["Content-Encoding"] = coding
        body = compress(body, coding)
    return Answer(body, BINARY if blobs else JSON, headers)


def _head(inference: Inference) -> bytes:
    """The response's JSON without its outputs."""
    package, job = inference.graph.package, inference.job
    sampler = None if job.seeds is None else job.sampler
    answered = InferHead(
        model_name=inference.graph.name,
        model_version=inference.graph.version,
        id=inference.id,
        parameters=InferProvenance(package_sha256=package.sha256, sampler=sampler),
    )
    return answered.model_dump_json(exclude_none=True).encode()


def _described(stated: Tensor, array: Array, parameters: dict[str, int] | None = None) -> bytes:
    """A tensor's JSON without its numbers."""
    shape = [len(array), *wire_shape(stated)[1:]]
    tensor = OutputTensor(name=stated.name, datatype=stated.datatype, shape=shape, parameters=parameters)
    return tensor.model_dump_json(exclude_none=True).encode()


def _with(written: bytes, field: str, value: bytes) -> bytes:
    """An object's JSON with another field."""
    return b'%s,"%s":%s}' % (written[:-1], field.encode(), value)


_RESPONSES: dict[int | str, dict[str, object]] = {
    200: {
        "model": InferAnswer,
        "description": "The outputs asked for: JSON, or, where one of them is wanted as binary data, JSON with their "
        "bytes behind it.",
        "content": {BINARY: BINARY_SCHEMA},
        "headers": {
            LENGTH_HEADER: {"schema": {"type": "integer"}, "description": "bytes of the JSON, where others follow it"}
        },
    },
    **refusals(400, 404, 415, 504),
}
_BODY = request_body(InferRequest, required=True, others={BINARY: BINARY_SCHEMA}) | {
    "parameters": [
        {
            "name": LENGTH_HEADER,
            "in": "header",
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "bytes of the JSON, where blobs follow it; 0 where the body is one sample of the one input",
        }
    ]
}

router = APIRouter(prefix="/v2/models/{name}", tags=["open inference protocol"], route_class=Operation)


@router.post(
    "/infer",
    operation_id="v2_infer",
    summary="Run a graph",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def infer(call: TheCall, name: Name) -> Response:
    """Run a graph of the newest version.

    Inputs and outputs are the graph's own, as its metadata states them. A body is JSON; with the header
    `Inference-Header-Content-Length`, that many bytes are JSON and the tensors that state a `binary_data_size` follow.
    Bodies may come and go as gzip or deflate. The parameters `seed` and `n` draw samples as /generate does.
    """
    return await _infer(call, find_graph(call.parts.repository, name))


@router.post(
    "/versions/{version}/infer",
    operation_id="v2_infer_version",
    summary="Run a graph of one version",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=_BODY,
)
async def infer_version(call: TheCall, name: Name, version: Version) -> Response:
    """Run a graph of one version; as without a version otherwise."""
    return await _infer(call, find_graph(call.parts.repository, name, version))


async def _infer(call: Call, graph: ServedGraph) -> Response:
    parts = call.parts
    inference = await parts.offload.run_sized(
        _unpacked_bytes(call), read_inference, call.body, call.headers, graph, parts.settings
    )
    key = graph.package.key
    tracing.describe(key.name, key.version, inference.count)
    share = NO_SHARE if call.info.key is None else await call.charge(call.info.key, max(1, inference.count))
    with call.budget().spend() as left_s:
        timeout_s = min(left_s(), inference.job.timeout_s or left_s())
        outputs = await parts.engine.infer(replace(inference.job, timeout_s=timeout_s, share=share))
    accepted = call.headers.get("accept-encoding", "")
    size = sum(array.nbytes for array in outputs.values()) if not accepted else INLINE_BYTES + 1
    with tracing.encoding():
        answer = await parts.offload.run_sized(size, write_answer, inference, outputs, accepted)
    return Response(answer.body, media_type=answer.media_type, headers=answer.headers)


def _unpacked_bytes(call: Call) -> int:
    """Bytes to read; a compressed body may decompress to a thousand times its size, and is read on a thread."""
    return len(call.body) if "content-encoding" not in call.headers else INLINE_BYTES + 1
