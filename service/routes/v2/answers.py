"""An inference's outputs as the protocol writes them: JSON, or JSON with the blobs behind it, packed or not.

Pure, so that a route may run it on a thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from service.media.compression import accepted_coding, compress
from service.media.tensors import Array, write_blob, write_numbers
from service.packages.schema import Tensor
from service.routes.reading import JSON
from service.routes.v2.graphs import wire_shape
from service.routes.v2.requests import LENGTH_HEADER, Inference
from service.routes.v2.schemas import InferHead, InferProvenance, OutputTensor

BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what its headers say of it."""

    body: bytes
    media_type: str
    headers: dict[str, str]


def write_answer(inference: Inference, outputs: Mapping[str, Array], accept_encoding: str) -> Answer:
    """Write outputs in the order and the form asked for.

    Args:
        inference: what was asked.
        outputs: by name, [N, …] each.
        accept_encoding: the request's header.

    Raises:
        InvalidRequest: an output asked for as JSON holds a number that JSON cannot say.
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
    """The answer's JSON but for its outputs."""
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
    """A tensor's JSON but for its numbers."""
    shape = [len(array), *wire_shape(stated)[1:]]
    tensor = OutputTensor(name=stated.name, datatype=stated.datatype, shape=shape, parameters=parameters)
    return tensor.model_dump_json(exclude_none=True).encode()


def _with(written: bytes, field: str, value: bytes) -> bytes:
    """An object's JSON with one field more."""
    return b'%s,"%s":%s}' % (written[:-1], field.encode(), value)
