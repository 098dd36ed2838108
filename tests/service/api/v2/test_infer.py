"""POST /v2/models/…/infer over a socket: every form in gives the same samples, and what cannot be run says why."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.engine.sampling.sampler import latents

Json = dict[str, object]
Array = NDArray[np.generic]

SEEDS = np.arange(7, 10, dtype=np.uint64)
LATENTS = latents(SEEDS, 16, "standard_normal")
DATATYPES = {"FP32": "<f4", "UINT8": "|u1", "INT64": "<i8"}
LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Inferred:
    """An answer, taken apart by hand."""

    head: Json
    outputs: dict[str, Array]


def tensor(name: str, array: Array, *, binary: bool = False) -> Json:
    datatype = {"f4": "FP32", "u1": "UINT8", "i8": "INT64", "f2": "FP16"}[array.dtype.str[1:]]
    described: Json = {"name": name, "shape": list(array.shape), "datatype": datatype}
    return described | ({"parameters": {"binary_data_size": array.nbytes}} if binary else {"data": array.tolist()})


def framed(body: Json, *blobs: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(body).encode()
    return b"".join((text, *blobs)), {LENGTH: str(len(text))}


def taken_apart(answer: httpx.Response) -> Inferred:
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    head, blobs = json.loads(answer.content[:length]), answer.content[length:]
    outputs: dict[str, Array] = {}
    for output in head["outputs"]:
        dtype = DATATYPES[output["datatype"]]
        if "data" in output:
            values = np.array(output["data"], dtype)
        else:
            size = output["parameters"]["binary_data_size"]
            values, blobs = np.frombuffer(blobs[:size], dtype), blobs[size:]
        outputs[output["name"]] = values.reshape(output["shape"])
    assert blobs == b""
    return Inferred(head, outputs)


def infer(client: httpx.Client, body: Json, *blobs: bytes, model: str = "toy", **headers: str) -> httpx.Response:
    content, framing = framed(body, *blobs) if blobs else (json.dumps(body).encode(), {})
    return client.post(f"/v2/models/{model}/infer", content=content, headers=framing | headers)


def drawn(client: httpx.Client, **body: object) -> NDArray[np.uint8]:
    """The pixels that /generate answers as one array."""
    answer = client.post("/generate?format=npy", json=body)
    assert answer.status_code == 200, answer.text
    pixels: NDArray[np.uint8] = np.load(io.BytesIO(answer.content))
    return pixels


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    error: str = answer.json()["error"]
    return error


def test_latents_in_json_make_the_pixels_that_their_seeds_make_in_every_other_form(client: httpx.Client) -> None:
    inferred = taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)]}))
    pixels = inferred.outputs["pixels"]
    np.testing.assert_array_equal(pixels, drawn(client, seed=7, n=3))
    for row, seed in zip(pixels, SEEDS.tolist(), strict=True):
        png = client.get(f"/models/toy/versions/2/samples/{seed}.png", follow_redirects=True).content
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(png))), row[..., 0])
    floats = np.load(io.BytesIO(client.post("/generate?format=npy&dtype=float32", json={"seed": 7, "n": 3}).content))
    np.testing.assert_array_equal(inferred.outputs["sample"], floats)


def test_binary_tensors_give_the_same_bytes_as_json(client: httpx.Client) -> None:
    body: Json = {"inputs": [tensor("latent", LATENTS, binary=True)], "parameters": {"binary_data_output": True}}
    answer = infer(client, body, LATENTS.tobytes())
    assert answer.headers["content-type"] == "application/octet-stream"
    binary, listed = taken_apart(answer), taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)]}))
    for name in ("sample", "pixels"):
        assert binary.outputs[name].tobytes() == listed.outputs[name].tobytes()


@pytest.mark.parametrize("model", ["toy", "classes", "infogan", "colour", "uniform"])
def test_a_seed_draws_what_generate_draws(client: httpx.Client, model: str) -> None:
    body: Json = {"inputs": [], "parameters": {"seed": 7, "n": 3}, "outputs": [{"name": "pixels"}]}
    inferred = taken_apart(infer(client, body, model=model))
    np.testing.assert_array_equal(inferred.outputs["pixels"], drawn(client, model=model, seed=7, n=3))
    parameters = inferred.head["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["sampler"] == "philox-1"


def test_an_input_beside_a_seed_is_taken_and_says_how_many(client: httpx.Client) -> None:
    body: Json = {"inputs": [tensor("label", np.array([3, 1, 4]))], "parameters": {"seed": 7}}
    inferred = taken_apart(infer(client, body, model="classes"))
    np.testing.assert_array_equal(
        inferred.outputs["pixels"], drawn(client, model="classes", seed=7, n=3, labels=[3, 1, 4])
    )


def test_one_element_a_sample_is_taken_with_its_axis_and_without_and_answered_with_it(client: httpx.Client) -> None:
    films = latents(SEEDS, 12, "gumbel")
    users = np.array([0, 4, 2])
    with_axis = infer(client, {"inputs": [tensor("latent", films), tensor("user", users[:, None])]}, model="films")
    without = infer(client, {"inputs": [tensor("user", users), tensor("latent", films)]}, model="films")
    items = taken_apart(with_axis).outputs["sample"]
    np.testing.assert_array_equal(items, taken_apart(without).outputs["sample"])
    np.testing.assert_array_equal(items[:, 0], drawn(client, model="films", seed=7, n=3, condition=[0, 4, 2]))


def test_the_other_graphs_answer_by_their_own_names(client: httpx.Client) -> None:
    samples = taken_apart(infer(client, {"inputs": [], "parameters": {"seed": 7, "n": 3}}, model="bigan")).outputs
    rows = samples["sample"].reshape(3, -1).tolist()
    judged = infer(client, {"inputs": [tensor("sample", samples["sample"])]}, model="bigan.discriminator")
    scored = client.post("/score", json={"model": "bigan", "samples": rows}).json()["scores"]
    np.testing.assert_array_equal(
        taken_apart(judged).outputs["logit"], np.array([[score["logit"]] for score in scored], np.float32)
    )
    encoded = infer(client, {"inputs": [tensor("sample", samples["sample"])]}, model="bigan.encoder")
    expected = client.post("/encode", json={"model": "bigan", "samples": rows}).json()["encodings"]
    np.testing.assert_array_equal(
        taken_apart(encoded).outputs["latent"], np.array([each["latent"] for each in expected], np.float32)
    )


def test_each_output_comes_in_the_form_and_the_order_it_is_asked_for(client: httpx.Client) -> None:
    outputs = [{"name": "pixels", "parameters": {"binary_data": True}}, {"name": "sample"}]
    inferred = taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)], "outputs": outputs}))
    assert list(inferred.outputs) == ["pixels", "sample"]
    told = inferred.head["outputs"]
    assert isinstance(told, list)
    assert [list(output) for output in told] == [
        ["name", "datatype", "shape", "parameters"],
        ["name", "datatype", "shape", "data"],
    ]
    only = {"name": "sample", "parameters": {"binary_data": False}}
    one = infer(
        client,
        {"inputs": [tensor("latent", LATENTS)], "outputs": [only], "parameters": {"binary_data_output": True}},
    )
    assert LENGTH not in one.headers
    assert one.headers["content-type"] == "application/json"
    np.testing.assert_array_equal(taken_apart(one).outputs["sample"], inferred.outputs["sample"])


def test_an_answer_says_what_it_depends_on_and_echoes_the_id(client: httpx.Client) -> None:
    head = taken_apart(infer(client, {"id": "π", "inputs": [tensor("latent", LATENTS)]})).head
    package = client.get("/models/toy/versions/2").json()["package_sha256"]
    assert (head["model_name"], head["model_version"], head["id"]) == ("toy", "2", "π")
    assert head["parameters"] == {"package_sha256": package}


def test_a_version_is_asked_by_its_path(client: httpx.Client) -> None:
    body = json.dumps({"inputs": [tensor("latent", LATENTS)]}).encode()
    old = taken_apart(client.post("/v2/models/toy/versions/1/infer", content=body))
    assert old.head["model_version"] == "1"
    np.testing.assert_array_equal(old.outputs["pixels"], drawn(client, version="1", seed=7, n=3))


def test_a_body_without_json_is_the_one_input_of_one_sample(client: httpx.Client) -> None:
    answer = client.post("/v2/models/toy/infer", content=LATENTS[:1].tobytes(), headers={LENGTH: "0"})
    np.testing.assert_array_equal(taken_apart(answer).outputs["pixels"], drawn(client, seed=7))
    cut = client.post("/v2/models/toy/infer", content=bytes(63), headers={LENGTH: "0"})
    assert "64 bytes, not 63" in error_of(cut)
    two = client.post("/v2/models/classes/infer", content=bytes(64), headers={LENGTH: "0"})
    assert "the one input" in error_of(two)
    headers = {LENGTH: "0", "content-type": "application/json"}
    contradiction = client.post("/v2/models/toy/infer", content=LATENTS[:1].tobytes(), headers=headers)
    assert "without JSON" in error_of(contradiction)


@pytest.mark.parametrize("media_type", ["application/json", "application/octet-stream", "text/plain", ""])
def test_a_body_is_read_whatever_media_type_it_states(client: httpx.Client, media_type: str) -> None:
    taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)]}, **{"content-type": media_type}))


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
def test_bodies_come_and_go_packed(client: httpx.Client, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body: Json = {"inputs": [tensor("latent", LATENTS, binary=True)], "parameters": {"binary_data_output": True}}
    content, headers = framed(body, LATENTS.tobytes())
    packed = client.post(
        "/v2/models/toy/infer",
        content=pack(content),
        headers=headers | {"content-encoding": encoding, "accept-encoding": encoding},
    )
    assert packed.headers["content-encoding"] == encoding
    plain = infer(client, body, LATENTS.tobytes(), **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content  # httpx unpacks; the header counts the unpacked JSON


def test_a_bomb_is_refused_before_it_is_unpacked(client: httpx.Client) -> None:
    bomb = gzip.compress(b"[" * 17 * 1024 * 1024)
    answer = client.post("/v2/models/toy/infer", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "unpack" in answer.json()["error"]


def test_numbers_that_are_not_finite_come_as_bytes_and_never_as_json(client: httpx.Client) -> None:
    broken = np.full((1, 16), np.nan, np.float32)
    body: Json = {"inputs": [tensor("latent", broken, binary=True)], "outputs": [{"name": "sample"}]}
    assert "not finite" in error_of(infer(client, body, broken.tobytes()))
    binary = taken_apart(infer(client, body | {"parameters": {"binary_data_output": True}}, broken.tobytes()))
    assert not np.isfinite(binary.outputs["sample"]).any()


GOOD = tensor("latent", LATENTS)
LABEL = tensor("label", np.array([3, 1, 4]))
BINARY = tensor("latent", LATENTS, binary=True)


@pytest.mark.parametrize(
    ("model", "body", "place", "reason"),
    [
        ("toy", {}, "inputs", "required"),
        ("toy", {"inputs": []}, "", "`latent` is missing"),
        ("toy", {"inputs": [GOOD], "input": 1}, "input", "unknown field"),
        ("toy", {"inputs": [GOOD | {"name": "noise"}]}, "inputs.0.name", "are latent"),
        ("toy", {"inputs": [GOOD, GOOD]}, "inputs.1.name", "twice"),
        ("toy", {"inputs": [GOOD, LABEL]}, "inputs.1.name", "no others"),
        ("toy", {"inputs": [GOOD | {"datatype": "FP64"}]}, "inputs.0.datatype", "`latent` is FP32"),
        ("toy", {"inputs": [GOOD | {"shape": [3, 15]}]}, "inputs.0.shape", "[-1, 16]"),
        ("toy", {"inputs": [GOOD | {"shape": [48]}]}, "inputs.0.shape", "[-1, 16]"),
        ("toy", {"inputs": [GOOD | {"shape": [3, -16]}]}, "inputs.0.shape.1", "greater than or equal"),
        ("toy", {"inputs": [GOOD | {"shape": [0, 16], "data": []}]}, "inputs.0.shape", "1 or more"),
        ("toy", {"inputs": [GOOD | {"shape": []}]}, "inputs.0.shape", "1 or more"),
        ("toy", {"inputs": [GOOD | {"shape": [2**62, 16]}]}, "inputs.0.shape", "at most 4096"),
        ("toy", {"inputs": [GOOD | {"shape": [2**64, 16]}]}, "inputs.0.shape.0", "less than or equal"),
        ("toy", {"inputs": [GOOD | {"shape": [2, 16]}]}, "inputs.0.data", "32 numbers, not 48"),
        ("toy", {"inputs": [GOOD | {"data": ["x"] * 48}]}, "inputs.0.data", "a number"),
        ("toy", {"inputs": [GOOD | {"data": None}]}, "inputs.0", "either"),
        ("toy", {"inputs": [BINARY]}, "", "0 bytes follow the JSON"),
        ("toy", {"inputs": [GOOD | {"parameters": {"shared_memory_region": "x"}}]}, "shared_memory", "unknown field"),
        ("toy", {"inputs": [GOOD], "outputs": [{"name": "logit"}]}, "outputs.0.name", "sample, pixels"),
        ("toy", {"inputs": [GOOD], "outputs": [{"name": "sample"}] * 2}, "outputs.1.name", "twice"),
        (
            "toy",
            {"inputs": [GOOD], "outputs": [{"name": "sample", "parameters": {"classification": 2}}]},
            "classification",
            "unknown field",
        ),
        ("toy", {"inputs": [GOOD], "parameters": {"priority": 1}}, "parameters.priority", "unknown field"),
        ("toy", {"inputs": [GOOD], "parameters": {"sequence_id": 1}}, "parameters.sequence_id", "unknown field"),
        ("toy", {"inputs": [GOOD], "parameters": {"timeout": -1}}, "parameters.timeout", "greater than or equal"),
        ("toy", {"inputs": [GOOD], "parameters": {"n": 2}}, "parameters.n", "needs a `seed`"),
        ("toy", {"inputs": [], "parameters": {"seed": 7, "n": 4097}}, "parameters.n", "at most 4096"),
        ("toy", {"inputs": [], "parameters": {"seed": 2**63 - 1, "n": 2}}, "parameters.seed", "would pass"),
        ("toy", {"inputs": [GOOD], "parameters": {"seed": 7}}, "", "nothing that a seed would draw"),
        ("classes", {"inputs": [LABEL], "parameters": {"seed": 7, "n": 2}}, "", "as many rows"),
        ("classes", {"inputs": [GOOD]}, "", "`label` is missing"),
        ("classes", {"inputs": [GOOD, LABEL | {"data": [3, 1, 10]}]}, "", "0 to 9"),
        ("films", {"inputs": [], "parameters": {"seed": 7}}, "", "`user` is missing"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_does_not_fit_the_model_is_refused_with_its_place(
    client: httpx.Client, model: str, body: Json, place: str, reason: str
) -> None:
    error = error_of(infer(client, body, model=model))
    assert place in error
    assert reason.lower() in error.lower()


@pytest.mark.parametrize(
    ("content", "length", "reason"),
    [
        (b"", None, "not JSON"),
        (b"{", None, "not JSON"),
        (b"[]", None, "object"),
        (b"\xff", None, "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b'{"inputs": [{"name": "latent", "datatype": "FP32", "shape": [1, 16], "data": [NaN]}]}', None, "not 1"),
        (b"{}", "3", "a number from 0 to 2"),
        (b"{}", "-1", "a number from 0 to 2"),
        (b"{}", "two", "a number from 0 to 2"),
        (b"{}", str(2**64), "a number from 0 to 2"),
        (b'{"inputs": []}x', "14", "1 bytes follow the JSON"),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused(
    client: httpx.Client, content: bytes, length: str | None, reason: str
) -> None:
    headers = {} if length is None else {LENGTH: length}
    assert reason in error_of(client.post("/v2/models/toy/infer", content=content, headers=headers))


@pytest.mark.parametrize("stated", [0, 191, 193, 2**63 - 1])
def test_blobs_of_another_size_than_stated_are_refused(client: httpx.Client, stated: int) -> None:
    body: Json = {"inputs": [BINARY | {"parameters": {"binary_data_size": stated}}]}
    assert f"add up to {stated}" in error_of(infer(client, body, LATENTS.tobytes()))
    spare = LATENTS.tobytes() + bytes(4)
    grown: Json = {"inputs": [BINARY | {"parameters": {"binary_data_size": len(spare)}}]}
    assert "takes 192 bytes, not 196" in error_of(infer(client, grown, spare))


def test_a_deadline_in_the_body_and_one_in_the_header_both_hold(client: httpx.Client) -> None:
    body: Json = {"inputs": [], "parameters": {"seed": 7, "n": 4096, "timeout": 1}, "outputs": [{"name": "pixels"}]}
    late = infer(client, body)
    assert late.status_code == 504
    assert "deadline" in late.json()["error"]
    body["parameters"] = {"seed": 7, "n": 4096, "timeout": 60_000_000}
    assert infer(client, body, **{"x-timeout-ms": "1"}).status_code == 504


@pytest.mark.parametrize(
    "said",
    [
        {"model_name": "toy"},
        {"model_name": "toy", "model_version": "2"},
        {"model_version": 2},
        {"id": None, "model_name": None, "model_version": None, "parameters": None, "outputs": None},
        {"parameters": {"content_type": "np", "headers": None}},
        {"parameters": {"timeout": None, "binary_data_output": None, "sampler": None, "seed": None, "n": None}},
        {"outputs": [{"name": "pixels", "parameters": None}]},
        {"outputs": [{"name": "pixels", "parameters": {"content_type": "np", "binary_data": None}}]},
    ],
)
def test_what_clients_of_the_protocol_say_beside_the_tensors_changes_nothing(client: httpx.Client, said: Json) -> None:
    plain = taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)]}))
    inferred = taken_apart(infer(client, {"inputs": [tensor("latent", LATENTS)]} | said))
    np.testing.assert_array_equal(inferred.outputs["pixels"], plain.outputs["pixels"])


@pytest.mark.parametrize("parameters", [None, {"content_type": "np"}, {"content_type": "pd", "headers": None},
                                        {"binary_data_size": None}])  # fmt: skip
def test_an_input_may_say_how_it_was_encoded(client: httpx.Client, parameters: object) -> None:
    given = tensor("latent", LATENTS) | {"parameters": parameters}
    inferred = taken_apart(infer(client, {"inputs": [given]}))
    np.testing.assert_array_equal(inferred.outputs["pixels"], drawn(client, seed=7, n=3))


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"model_name": "classes"}, "model_name"),
        ({"model_version": "1"}, "model_version"),
        ({"parameters": {"priority": 1}}, "priority"),
        ({"parameters": {"sequence_id": 1}}, "sequence_id"),
        ({"parameters": {"content_type": "str"}}, "content_type"),
        ({"parameters": {"headers": {"a": "b"}}}, "headers"),
        ({"inputs": [{"name": "latent", "shape": [1, 16], "datatype": "FP32",
                      "parameters": {"shared_memory_region": "x"}}]}, "shared_memory_region"),
        ({"outputs": [{"name": "pixels", "parameters": {"classification": 1}}]}, "classification"),
    ],
)  # fmt: skip
def test_what_would_change_the_answer_is_refused_by_its_name(client: httpx.Client, said: Json, named: str) -> None:
    assert named in error_of(infer(client, {"inputs": [tensor("latent", LATENTS)]} | said))
