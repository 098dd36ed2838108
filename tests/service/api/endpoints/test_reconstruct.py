"""POST /reconstruct over a socket: G(E(x)) in every form, with its distance."""

import base64
import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

POINTS = [[0.31, -1.2], [1.5, 0.25], [-0.5, 0.75]]


def places(answer: httpx.Response) -> list[list[str | int]]:
    assert answer.status_code == 422, answer.text
    return [error["loc"] for error in answer.json()["errors"]]


def reconstructions_of(answer: httpx.Response) -> list[dict[str, object]]:
    assert answer.status_code == 200, answer.text
    reconstructions: list[dict[str, object]] = answer.json()["reconstructions"]
    return reconstructions


def npy_of(answer: httpx.Response) -> NDArray[np.generic]:
    assert answer.status_code == 200, answer.text
    array: NDArray[np.generic] = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return array


@pytest.fixture(scope="module")
def images(client: httpx.Client) -> list[str]:
    """Five images of the BiGAN, in base64."""
    samples = client.post("/generate", json={"model": "bigan", "seed": 1, "n": 5}).json()["samples"]
    return [sample["image"] for sample in samples]


def test_a_reconstruction_is_what_generate_makes_of_the_encoded_latent(client: httpx.Client, images: list[str]) -> None:
    body = {"model": "bigan", "images": images}
    latents = [each["latent"] for each in client.post("/encode", json=body).json()["encodings"]]
    made = client.post("/generate", json={"model": "bigan", "latents": latents}).json()["samples"]
    reconstructions = reconstructions_of(client.post("/reconstruct", json=body))
    assert [each["image"] for each in reconstructions] == [each["image"] for each in made]
    alone = [
        reconstructions_of(client.post("/reconstruct", json={"model": "bigan", "images": [image]}))[0]
        for image in images
    ]
    assert alone == reconstructions


def test_a_distance_is_the_mean_squared_difference_of_the_generators_own_values(
    client: httpx.Client, images: list[str]
) -> None:
    files = [base64.b64decode(image.partition(",")[2]) for image in images]
    x = np.stack([-1 + 2 * np.asarray(Image.open(io.BytesIO(f)), np.float32)[np.newaxis] / 255 for f in files])
    body = {"model": "bigan", "images": images}
    again = npy_of(client.post("/reconstruct?format=npy&dtype=float32", json=body)).astype(np.float64)
    expected = np.square(x.astype(np.float64) - again).mean(axis=(1, 2, 3))
    distances = [each["distance"] for each in reconstructions_of(client.post("/reconstruct", json=body))]
    np.testing.assert_allclose(np.array(distances, np.float64), expected, rtol=1e-12)


def test_every_form_holds_the_same_reconstructions_and_distances(client: httpx.Client, images: list[str]) -> None:
    body = {"model": "bigan", "images": images}
    expected = reconstructions_of(client.post("/reconstruct", json=body))
    pixels = npy_of(client.post("/reconstruct?format=npy", json=body))
    assert (pixels.dtype.name, pixels.shape) == ("uint8", (5, 8, 8, 1))
    sheet = client.post("/reconstruct?format=png", json=body)
    assert Image.open(io.BytesIO(sheet.content)).size == (24, 16)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(sheet.content)))[:8, :8], pixels[0, ..., 0])
    distances = [float(text) for text in sheet.headers["x-distances"].split(",")]
    assert distances == [each["distance"] for each in expected]
    assert (sheet.headers["x-model"], sheet.headers["x-model-version"]) == ("bigan", "1")
    with zipfile.ZipFile(io.BytesIO(client.post("/reconstruct?format=zip", json=body).content)) as archive:
        index = json.loads(archive.read("index.json"))
        files = [archive.read(each["file"]) for each in index["reconstructions"]]
    assert [f"data:image/png;base64,{base64.b64encode(f).decode()}" for f in files] == [e["image"] for e in expected]
    assert [each["distance"] for each in index["reconstructions"]] == distances


def test_vectors_are_reconstructed_as_numbers(client: httpx.Client) -> None:
    body = {"model": "ring", "samples": POINTS}
    reconstructions = reconstructions_of(client.post("/reconstruct", json=body))
    again = npy_of(client.post("/reconstruct", json=body, headers={"accept": "application/x-npy"}))
    assert [each["values"] for each in reconstructions] == again.tolist()
    expected = np.square(np.array(POINTS, np.float32).astype(np.float64) - again.astype(np.float64)).mean(axis=1)
    assert [each["distance"] for each in reconstructions] == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_class_that_only_the_generator_takes_is_named_to_reconstruct_and_not_to_encode(client: httpx.Client) -> None:
    body = {"model": "classes", "samples": [[0.5] * 64, [-0.5] * 64]}
    latents = [each["latent"] for each in client.post("/encode", json=body).json()["encodings"]]
    made = client.post("/generate", json={"model": "classes", "latents": latents, "labels": [3, 4]}).json()["samples"]
    reconstructions = reconstructions_of(client.post("/reconstruct", json=body | {"labels": [3, "class 4"]}))
    assert [each["image"] for each in reconstructions] == [each["image"] for each in made]
    assert places(client.post("/reconstruct", json=body)) == [["body", "label"]]
    assert places(client.post("/encode", json=body | {"label": 3})) == [["body", "label"]]


def test_a_code_head_gives_nothing_to_generate_from_and_the_refusal_says_so(client: httpx.Client) -> None:
    answer = client.post("/reconstruct", json={"model": "infogan", "samples": [[0.0] * 64]})
    assert places(answer) == [["body", "model"]]
    assert "codes and no latent" in answer.json()["detail"]
    assert "/encode" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "body", "loc"),
    [
        ("?dtype=float32", {"model": "bigan", "samples": [[0.0] * 64]}, ["query", "dtype"]),
        ("?format=npy&dtype=uint8", {"model": "ring", "samples": POINTS}, ["query", "dtype"]),
        ("?format=gif", {"model": "ring", "samples": POINTS}, ["query", "format"]),
        ("?model=ring", {"samples": POINTS}, ["query", "model"]),
        ("", {"model": "ring", "samples": [[3e38, 3e38]]}, ["body"]),
        ("", {"model": "ring", "samples": [[0.0]]}, ["body", "samples", 0]),
    ],
)
def test_what_cannot_be_reconstructed_is_refused_with_its_place(
    client: httpx.Client, query: str, body: dict[str, object], loc: list[str | int]
) -> None:
    assert places(client.post(f"/reconstruct{query}", json=body)) == [loc]


def test_vectors_are_no_images(client: httpx.Client) -> None:
    answer = client.post("/reconstruct", json={"model": "ring", "samples": POINTS}, headers={"accept": "image/png"})
    assert answer.status_code == 406
    assert "application/x-npy" in answer.json()["detail"]
