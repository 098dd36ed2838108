"""Whatever bytes come, reading them ends in an inference or in an error of the caller's, and in no other way."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.api.v2.infer import Inference, read_inference
from service.api.v2.models import ServedGraph, graphs_of
from service.engine.model_spec import GraphReport, LoadReport
from service.errors import RequestError
from service.packages.package import read_package
from service.packages.registry import ServedPackage
from service.settings import Settings
from tests.support.toy import write_toy_package
from tests.support.toy_shape import PLAIN

REPORT = GraphReport("CPUExecutionProvider", (1, 2, 4), True, 0.0, 0.0, "0" * 64, "onnxruntime 1.31.1", "fp32", None)
LATENTS = np.ones((2, 16), np.float32).tobytes()
HEAD = json.dumps(
    {
        "id": "1",
        "parameters": {"binary_data_output": True, "timeout": 1000},
        "inputs": [
            {"name": "latent", "shape": [2, 16], "datatype": "FP32", "parameters": {"binary_data_size": 128}},
            {"name": "label", "shape": [2, 1], "datatype": "INT64", "data": [[3], [1]]},
        ],
        "outputs": [{"name": "pixels", "parameters": {"binary_data": True}}, {"name": "sample"}],
    }
).encode()
# What a mutation puts in: JSON's own signs and the numbers at which types end.
PIECES = st.sampled_from(
    [b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"[[[]]]"]
    + [str(2**power + more).encode() for power in (31, 32, 63, 64) for more in (-1, 0)]
    + [b"latent", b"\x00", b"\xff", b"\xed\xa0\x80"]
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> ServedGraph:
    folder = write_toy_package(tmp_path_factory.mktemp("models"), conditional=True)
    package = read_package(Path(folder))
    report = LoadReport(REPORT, REPORT, None, load_s=0.0, capabilities=PLAIN)
    return next(graphs_of(ServedPackage(package.key, package.manifest, package.sha256, None, report)))


def read(graph: ServedGraph, body: bytes, length: str) -> Inference | RequestError:
    try:
        return read_inference(body, Headers({"inference-header-content-length": length}), graph, Settings())
    except RequestError as error:
        return error


def test_an_unspoiled_body_is_read(graph: ServedGraph) -> None:
    inference = read(graph, HEAD + LATENTS, str(len(HEAD)))
    assert isinstance(inference, Inference)
    assert dict(inference.binary) == {"pixels": True, "sample": True}
    assert inference.job.timeout_s == 0.001
    assert inference.job.inputs["label"].tolist() == [3, 1]


@given(
    edits=st.lists(st.tuples(st.integers(0, len(HEAD)), st.integers(0, 20), PIECES), min_size=1, max_size=4),
    shift=st.sampled_from([0, 0, 0, -1, 1, 64]),
)
def test_a_spoiled_body_is_read_or_refused(graph: ServedGraph, edits: list[tuple[int, int, bytes]], shift: int) -> None:
    head = HEAD
    for place, cut, piece in edits:
        head = head[:place] + piece + head[place + cut :]
    outcome = read(graph, head + LATENTS, str(len(head) + shift))
    assert isinstance(outcome, Inference) or str(outcome)


@given(body=st.binary(max_size=200), length=st.text(st.characters(max_codepoint=255), max_size=4))
def test_any_bytes_are_read_or_refused(graph: ServedGraph, body: bytes, length: str) -> None:
    outcome = read(graph, body, length)
    assert isinstance(outcome, Inference) or str(outcome)
