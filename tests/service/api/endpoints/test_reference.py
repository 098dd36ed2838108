"""GET /models/NAME/versions/VERSION/reference.npy: real vectors to compare with."""

import hashlib
import io
from pathlib import Path

import httpx
import numpy as np
import pytest

URL = "/models/ring/versions/1/reference.npy"


def test_the_reference_sample_is_the_packages_file_and_may_be_kept_for_ever(
    client: httpx.Client, models_dir: Path
) -> None:
    answer = client.get(URL)
    content = (models_dir / "ring/1/reference.npy").read_bytes()
    assert answer.content == content
    assert answer.headers["content-type"] == "application/x-npy"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert (answer.headers["x-model"], answer.headers["x-model-version"]) == ("ring", "1")
    assert np.load(io.BytesIO(answer.content)).shape == (32, 2)


def test_the_versions_page_names_it(client: httpx.Client) -> None:
    page = client.get("/models/ring/versions/1").json()
    answer = client.get(URL)
    assert page["reference"] == {"count": 32, "sha256": answer.headers["etag"].strip('"')}
    assert page["package_sha256"] == answer.headers["x-package-sha256"]
    assert "reference" not in client.get("/models/toy/versions/1").json()


@pytest.mark.parametrize("sent", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
def test_a_caller_that_has_it_is_told_so(client: httpx.Client, sent: str) -> None:
    etag = client.get(URL).headers["etag"]
    answer = client.get(URL, headers={"if-none-match": sent.format(etag=etag)})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert client.get(URL, headers={"if-none-match": '"other"'}).status_code == 200


def test_head_is_answered_without_the_body(client: httpx.Client) -> None:
    answer = client.head(URL)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(client.get(URL).content))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("toy", "Only packages of vectors have a reference sample; toy/1 makes images."),
        ("films", "Only packages of vectors have a reference sample; films/1 makes items"),
        ("plain", "The package plain/1 was published without a reference sample."),
        ("nothing", "There is no model nothing, version 1 that is ready"),
    ],
)
def test_where_there_is_none_the_answer_says_why(client: httpx.Client, model: str, words: str) -> None:
    answer = client.get(f"/models/{model}/versions/1/reference.npy")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(words)
