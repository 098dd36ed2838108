"""Samples by URL, over real sockets: redirects, caching, and equality with the other formats."""

import base64
import hashlib
import io
import zipfile
from pathlib import Path
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.serving import ServiceProcess

SEEDS = range(40, 44)
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpg": "image/jpeg", "npy": "application/x-npy"}


def path_of(model: str, seed: int | str, form: str = "png", version: int = 1) -> str:
    return f"/models/{model}/versions/{version}/samples/{seed}.{form}"


def fetch(client: httpx.Client, path: str, **parameters: str | int | list[str]) -> httpx.Response:
    """Follow the redirection to the current stack, as a browser does."""
    first = client.get(path, params=parameters)
    assert first.status_code == 307, first.text
    answer = client.get(urljoin(str(first.url), first.headers["location"]))
    assert answer.status_code == 200, answer.text
    return answer


def stack_of(client: httpx.Client, model: str, version: int = 1) -> str:
    stack = client.get(f"/models/{model}/versions/{version}").json()["stack"]
    assert isinstance(stack, str)
    return stack


def pixels(image: bytes) -> NDArray[np.uint8]:
    """Decode an image to [H, W, C]."""
    decoded = np.asarray(Image.open(io.BytesIO(image)))
    return decoded[..., np.newaxis] if decoded.ndim == 2 else decoded


def array(npy: bytes) -> NDArray[np.generic]:
    loaded: NDArray[np.generic] = np.load(io.BytesIO(npy))
    return loaded


@pytest.mark.parametrize(("form", "media_type"), MEDIA_TYPES.items())
def test_a_sample_under_its_stack_may_be_kept_for_ever(client: httpx.Client, form: str, media_type: str) -> None:
    answer = client.get(path_of("toy", 7, form), params={"stack": stack_of(client, "toy")})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["x-seeds"] == "7"
    assert (answer.headers["x-model"], answer.headers["x-model-version"]) == ("toy", "1")


@pytest.mark.parametrize("stale", [{}, {"stack": "0123456789abcdef"}, {"stack": ""}])
def test_without_its_stack_or_under_another_it_is_found_where_it_is_now(
    client: httpx.Client, stale: dict[str, str]
) -> None:
    answer = client.get(path_of("infogan", 7), params={"codes": ["kind_0:3", "number_0:0.5"], **stale})
    assert answer.status_code == 307
    assert answer.headers["cache-control"] == "no-cache"
    stack = stack_of(client, "infogan")
    assert answer.headers["location"] == f"7.png?codes=kind_0%3A3&codes=number_0%3A0.5&stack={stack}"


def test_the_place_to_go_names_no_host_and_no_path_that_a_proxy_could_have_changed(client: httpx.Client) -> None:
    location = client.get(path_of("toy", 7), headers={"host": "another"}).headers["location"]
    assert urljoin("https://cdn.example/gan" + path_of("toy", 7), location) == (
        f"https://cdn.example/gan{path_of('toy', 7)}?stack={stack_of(client, 'toy')}"
    )


@pytest.mark.parametrize("given", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
def test_who_has_the_bytes_is_not_sent_them_again(client: httpx.Client, given: str) -> None:
    first = fetch(client, path_of("toy", 7))
    again = client.get(first.url, headers={"if-none-match": given.format(etag=first.headers["etag"])})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]


def test_who_has_other_bytes_is_sent_these(client: httpx.Client) -> None:
    first, other = fetch(client, path_of("toy", 7)), fetch(client, path_of("toy", 8))
    again = client.get(first.url, headers={"if-none-match": other.headers["etag"]})
    assert (again.status_code, again.content) == (200, first.content)


@pytest.mark.parametrize("form", MEDIA_TYPES)
def test_head_says_what_get_would(client: httpx.Client, form: str) -> None:
    got = fetch(client, path_of("classes", 7, form))
    head = client.head(got.url)
    assert head.content == b""
    ignored = {"date", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in ignored} == {
        name: value for name, value in got.headers.items() if name not in ignored
    }
    assert client.head(path_of("classes", 7, form)).status_code == 307
    assert client.head(path_of("nobody", 7, form)).status_code == 404


@pytest.mark.parametrize("model", ["toy", "colour", "infogan", "classes"])
def test_every_form_of_a_sample_has_the_same_pixels(client: httpx.Client, model: str) -> None:
    body = {"model": model, "version": 1, "seed": SEEDS[0], "n": len(SEEDS)}
    rows = array(client.post("/generate?format=npy", json=body).content)
    listed = client.post("/generate", json=body).json()["samples"]
    archive = zipfile.ZipFile(io.BytesIO(client.post("/generate?format=zip", json=body).content))
    for seed, row, sample in zip(SEEDS, rows, listed, strict=True):
        png = client.post("/generate?format=png", json={"model": model, "version": 1, "seed": seed}).content
        assert pixels(png).tobytes() == row.tobytes()
        assert base64.b64decode(sample["image"].removeprefix("data:image/png;base64,")) == png
        assert archive.read(f"{seed}.png") == png
        assert fetch(client, path_of(model, seed)).content == png
        npy = fetch(client, path_of(model, seed, "npy")).content
        assert npy == client.post("/generate?format=npy", json={"model": model, "version": 1, "seed": seed}).content
        assert array(npy).tobytes() == row.tobytes()
        webp = pixels(fetch(client, path_of(model, seed, "webp")).content)
        assert (webp[..., : row.shape[-1]] == row).all()


@pytest.mark.parametrize(
    ("model", "parameters", "body"),
    [
        ("classes", {"label": "class 3"}, {"label": "class 3"}),
        ("classes", {"label": "3"}, {"label": 3}),
        ("infogan", {"codes": ["kind_0:3", "number_1:2.5"]}, {"codes": {"kind_0": 3, "number_1": 2.5}}),
        ("toy", {"truncation": "0.5"}, {"truncation": 0.5}),
        ("toy", {"sampler": "numpy-legacy"}, {"sampler": "numpy-legacy"}),
        ("films", {"condition": 4}, {"condition": 4}),
    ],
)
def test_a_parameter_means_what_it_means_to_generate(
    client: httpx.Client, model: str, parameters: dict[str, str | int | list[str]], body: dict[str, object]
) -> None:
    answer = fetch(client, path_of(model, 7, "npy"), **parameters)
    wanted = {"model": model, "version": 1, "seed": 7} | body
    assert answer.content == client.post("/generate?format=npy", json=wanted).content


@pytest.mark.parametrize(
    ("path", "loc"),
    [
        (path_of("toy", 2**63), ["path", "seed"]),
        (path_of("toy", -1), ["path", "seed"]),
        (path_of("toy", "seven"), ["path", "seed"]),
        (path_of("toy", 7, "gif"), ["path", "form"]),
        (path_of("ring", 7, "png"), ["path", "form"]),
        (path_of("films", 7, "jpg") + "?condition=1", ["path", "form"]),
        (path_of("toy", 7) + "?label=3", ["query", "label"]),
        (path_of("classes", 7) + "?label=none", ["query", "label"]),
        (path_of("toy", 7) + "?codes=digit:3", ["query", "codes"]),
        (path_of("infogan", 7) + "?codes=kind_0", ["query", "codes", 0]),
        (path_of("infogan", 7) + "?codes=kind_0:nan", ["query", "codes", 0]),
        (path_of("infogan", 7) + "?codes=kind_0:1&codes=kind_0:2", ["query", "codes"]),
        (path_of("infogan", 7) + "?codes=kind_0:1.5", ["query", "codes", "kind_0"]),
        (path_of("films", 7, "npy"), ["query", "condition"]),
        (path_of("toy", 7) + "?truncation=0", ["query", "truncation"]),
        (path_of("toy", 2**40) + "?sampler=numpy-legacy", ["query", "sampler"]),
        (path_of("toy", 7) + "?n=2", ["query", "n"]),
    ],
)
def test_what_no_sample_has_is_refused_by_its_place(client: httpx.Client, path: str, loc: list[str | int]) -> None:
    answer = client.get(path)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == loc


@pytest.mark.parametrize(
    "path", [path_of("nobody", 7), path_of("toy", 7, version=9), "/models/toy/versions/1/samples/7"]
)
def test_what_does_not_exist_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_stack_is_of_one_package_and_stays_when_the_service_starts_again(
    client: httpx.Client, models_dir: Path
) -> None:
    stacks = {
        (model, version): stack_of(client, model, version) for model, version in [("toy", 1), ("toy", 2), ("ring", 1)]
    }
    assert len(set(stacks.values())) == len(stacks)
    before = fetch(client, path_of("toy", 7))
    with ServiceProcess(models_dir, load_models="toy").loaded() as restarted, restarted.client() as again:
        assert stack_of(again, "toy") == stacks["toy", 1]
        assert again.get(before.url.copy_with(port=restarted.port)).content == before.content
