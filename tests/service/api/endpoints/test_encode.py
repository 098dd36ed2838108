"""POST /encode over a socket: latents and codes out of samples, and what cannot be encoded."""

import base64
import io

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.serving import metric
from tests.support.toy import toy_graphs
from tests.support.toy_models import replay

Sample = dict[str, object]


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def encodings_of(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    encodings: list[dict[str, object]] = answer.json()["encodings"]
    return encodings


def places(answer: httpx.Response) -> list[list[str | int]]:
    assert answer.status_code == 422, answer.text
    return [error["loc"] for error in answer.json()["errors"]]


def png(client: httpx.Client, model: str, seed: int = 1) -> bytes:
    return client.post("/generate?format=png", json={"model": model, "seed": seed}).content


def post_image(client: httpx.Client, image: bytes, query: str) -> httpx.Response:
    return client.post(f"/encode{query}", content=image, headers={"content-type": "image/png"})


def test_a_latent_is_the_encoders_answer_and_generates_again(client: httpx.Client) -> None:
    points = client.post("/generate", json={"model": "ring", "seed": 1, "n": 5}).json()["samples"]
    values = [point["values"] for point in points]
    encodings = encodings_of(client.post("/encode", json={"model": "ring", "samples": values}))
    encoder = toy_graphs(kind="vector", encoder=True).encoder
    assert encoder is not None
    own = replay(encoder.model, {"sample": np.array(values, np.float32)})["latent"]
    latents = [encoding["latent"] for encoding in encodings]
    np.testing.assert_allclose(np.array(latents, np.float64), own.astype(np.float32), atol=1e-6)
    assert all(encoding.keys() == {"latent"} for encoding in encodings)
    assert client.post("/generate", json={"model": "ring", "latents": latents}).status_code == 200


def test_a_code_head_reads_every_code_by_its_name(client: httpx.Client) -> None:
    (encoding,) = encodings_of(post_image(client, png(client, "infogan"), "?model=infogan"))
    assert encoding.keys() == {"codes"}
    codes = encoding["codes"]
    assert isinstance(codes, dict)
    assert list(codes) == ["kind_0", "number_0", "number_1"]
    assert sum(codes["kind_0"]["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert codes["kind_0"]["value"] == int(np.argmax(codes["kind_0"]["probabilities"]))
    assert isinstance(codes["number_0"], float)


def test_every_way_in_gives_the_same_encoding(client: httpx.Client) -> None:
    files = [png(client, "bigan", seed) for seed in range(3)]
    pixels = np.load(io.BytesIO(client.post("/generate?format=npy", json={"model": "bigan", "seeds": "0-2"}).content))
    alone = [encodings_of(post_image(client, file, "?model=bigan"))[0] for file in files]
    form = client.post("/encode?model=bigan", files=[("file", file) for file in files])
    array = client.post("/encode?model=bigan", content=npy(pixels), headers={"content-type": "application/x-npy"})
    listed = client.post("/encode", json={"model": "bigan", "images": [base64.b64encode(f).decode() for f in files]})
    assert encodings_of(form) == encodings_of(array) == encodings_of(listed) == alone


def test_an_answer_says_what_encoded_and_is_counted(client: httpx.Client) -> None:
    before = metric(client, "ganymede_samples_total", model="bigan", graph="encoder")
    answer = post_image(client, png(client, "bigan"), "?model=bigan").json()
    details = client.get("/models/bigan/versions/1").json()
    assert (answer["model"], answer["version"]) == ("bigan", "1")
    assert answer["package_sha256"] == details["package_sha256"]
    assert metric(client, "ganymede_samples_total", model="bigan", graph="encoder") == before + 1


@pytest.mark.parametrize("path", ["/encode", "/reconstruct"])
def test_a_package_without_an_encoder_is_refused_with_what_to_do(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"samples": [[0.0] * 64]})
    assert places(answer) == [["body", "model"]]
    assert "GET /models" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"model": "ring", "samples": [[0.0]]}, ["body", "samples", 0]),
        ({"model": "ring", "images": ["AA=="]}, ["body", "images"]),
        ({"model": "ring", "samples": [[0.0, 0.0]], "label": 1}, ["body", "label"]),
        ({"model": "ring", "samples": [[0.0, 0.0]], "condition": 1}, ["body", "condition"]),
        ({"model": "ring", "samples": [[3e38, 3e38]]}, ["body"]),
        ({"model": "ring"}, ["body"]),
        ({"model": "infogan", "images": ["AA=="]}, ["body", "images", 0]),
    ],
)
def test_what_cannot_be_encoded_is_refused_with_its_place(
    client: httpx.Client, body: dict[str, object], loc: list[str | int]
) -> None:
    assert places(client.post("/encode", json=body)) == [loc]
