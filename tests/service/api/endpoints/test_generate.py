"""POST /generate over a socket: what each field means, what each form holds, and what is refused with which place."""

import base64
import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

LATENT_SIZE = 16
MAX_SEED = 2**63 - 1


def pixels_of(image: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(image)))


def images_of(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.headers
    uris = [sample["image"] for sample in answer.json()["samples"]]
    return [base64.b64decode(uri.removeprefix("data:image/png;base64,")) for uri in uris]


def npy_of(answer: httpx.Response) -> NDArray[np.generic]:
    assert answer.status_code == 200, answer.headers
    array: NDArray[np.generic] = np.load(io.BytesIO(answer.content), allow_pickle=False)
    return array


def places(answer: httpx.Response) -> list[list[str | int]]:
    assert answer.status_code == 422, answer.headers
    return [error["loc"] for error in answer.json()["errors"]]


def test_no_body_at_all_draws_one_sample_of_the_default_model(client: httpx.Client) -> None:
    answer = client.post("/generate").json()
    assert (answer["model"], answer["version"], answer["sampler"]) == ("toy", "2", "philox-1")
    assert len(answer["samples"]) == 1
    assert answer["samples"][0].keys() == {"seed", "image"}


def test_a_drawn_seed_is_returned_and_gives_the_same_sample_again(client: httpx.Client) -> None:
    drawn = client.post("/generate", json={"n": 3})
    seeds = [sample["seed"] for sample in drawn.json()["samples"]]
    assert max(seeds) < 2**53
    assert images_of(client.post("/generate", json={"seeds": seeds})) == images_of(drawn)


def test_two_drawn_seeds_differ(client: httpx.Client) -> None:
    first, second = (client.post("/generate").json()["samples"][0]["seed"] for _ in range(2))
    assert first != second


def test_sample_i_has_seed_plus_i(client: httpx.Client) -> None:
    many = images_of(client.post("/generate", json={"n": 4, "seed": 7}))
    alone = [images_of(client.post("/generate", json={"seed": seed}))[0] for seed in range(7, 11)]
    assert many == alone


def test_seeds_are_a_list_or_ranges_and_keep_their_order(client: httpx.Client) -> None:
    listed = client.post("/generate", json={"seeds": [99, 0, 1, 2, 99]})
    ranges = client.post("/generate", json={"seeds": "99, 0-2, 99"})
    assert [sample["seed"] for sample in ranges.json()["samples"]] == [99, 0, 1, 2, 99]
    assert images_of(listed) == images_of(ranges)


def test_the_largest_seed_is_served(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"seed": MAX_SEED - 1, "n": 2})
    assert [sample["seed"] for sample in answer.json()["samples"]] == [MAX_SEED - 1, MAX_SEED]


def test_a_version_may_be_named_as_text_or_number(client: httpx.Client) -> None:
    for version in ("1", 1):
        answer = client.post("/generate", json={"model": "toy", "version": version})
        assert answer.json()["version"] == "1"


def test_given_latents_are_what_a_seed_would_have_drawn(client: httpx.Client) -> None:
    latent = np.random.RandomState(5).randn(1, LATENT_SIZE).astype(np.float32)
    given = client.post("/generate", json={"latents": latent.tolist()})
    drawn = client.post("/generate", json={"seed": 5, "sampler": "numpy-legacy"})
    assert drawn.json()["sampler"] == "numpy-legacy"
    assert images_of(given) == images_of(drawn)
    assert given.json()["samples"][0].keys() == {"image"}
    assert "sampler" not in given.json()


def test_a_class_is_given_by_number_by_name_or_drawn_and_returned(client: httpx.Client) -> None:
    def labels(**body: object) -> list[int]:
        answer = client.post("/generate", json={"model": "classes", "seed": 3, "n": 2, **body})
        return [sample["label"] for sample in answer.json()["samples"]]

    assert labels(label=4) == [4, 4]
    assert labels(label="class 4") == [4, 4]
    assert labels(labels=[1, "class 0"]) == [1, 0]
    assert labels() == labels()


def test_a_drawn_class_gives_the_sample_that_naming_it_gives(client: httpx.Client) -> None:
    drawn = client.post("/generate", json={"model": "classes", "seed": 3, "n": 5})
    labels = [sample["label"] for sample in drawn.json()["samples"]]
    assert len(set(labels)) > 1
    named = client.post("/generate", json={"model": "classes", "seed": 3, "n": 5, "labels": labels})
    assert images_of(named) == images_of(drawn)


def test_sixty_four_samples_make_a_sheet_of_eight_by_eight(client: httpx.Client) -> None:
    body = {"n": 64, "seed": 7}
    sheet = client.post("/generate?format=png", json=body)
    assert sheet.headers["content-type"] == "image/png"
    assert sheet.headers["x-seeds"] == "7-70"
    pixels = pixels_of(sheet.content)
    tiles = npy_of(client.post("/generate?format=npy", json=body))[..., 0]
    assert np.array_equal(pixels, tiles.reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(64, 64))


def test_one_sample_is_one_image_not_a_sheet(client: httpx.Client) -> None:
    answer = client.post("/generate?format=png", json={"model": "colour", "seed": 1})
    assert pixels_of(answer.content).shape == (6, 10, 3)
    assert answer.content == images_of(client.post("/generate", json={"model": "colour", "seed": 1}))[0]


@pytest.mark.parametrize(
    ("media_type", "magic"), [("image/jpeg", b"\xff\xd8"), ("image/webp", b"RIFF"), ("image/png", b"\x89PNG")]
)
def test_the_accept_header_chooses_the_form(client: httpx.Client, media_type: str, magic: bytes) -> None:
    answer = client.post("/generate", headers={"accept": f"{media_type}, application/json;q=0.5"})
    assert answer.headers["content-type"] == media_type
    assert answer.content.startswith(magic)


def test_every_form_but_json_says_in_headers_what_made_it(client: httpx.Client) -> None:
    sha256 = client.get("/models/toy/versions/2").json()["package_sha256"]
    for form in ("png", "jpeg", "webp", "npy", "zip"):
        headers = client.post(f"/generate?format={form}", json={"seeds": [5, 6, 9]}).headers
        assert headers["x-model"] == "toy"
        assert headers["x-model-version"] == "2"
        assert headers["x-sampler"] == "philox-1"
        assert headers["x-seeds"] == "5-6,9"
        assert headers["x-package-sha256"] == sha256


def test_seeds_too_long_for_a_header_are_left_out(client: httpx.Client) -> None:
    answer = client.post("/generate?format=npy", json={"seeds": list(range(0, 4000, 2))})
    assert npy_of(answer).shape == (2000, 8, 8, 1)
    assert "x-seeds" not in answer.headers


def test_an_image_says_which_class_was_drawn(client: httpx.Client) -> None:
    drawn = client.post("/generate", json={"model": "classes", "seed": 3, "n": 3}).json()["samples"]
    sheet = client.post("/generate?format=png", json={"model": "classes", "seed": 3, "n": 3})
    assert sheet.headers["x-labels"] == ",".join(str(sample["label"]) for sample in drawn)


def test_npy_holds_pixels_or_the_generators_own_floats(client: httpx.Client) -> None:
    body = {"model": "colour", "seed": 1, "n": 5}
    pixels = npy_of(client.post("/generate?format=npy", json=body))
    floats = npy_of(client.post("/generate?format=npy&dtype=float32", json=body))
    assert (pixels.dtype.name, pixels.shape) == ("uint8", (5, 6, 10, 3))
    assert (floats.dtype.name, floats.shape) == ("float32", (5, 3, 6, 10))
    quantised = np.rint((floats.astype(np.float64) + 1) / 2 * 255).transpose(0, 2, 3, 1)
    assert np.abs(quantised - pixels).max() <= 1


def test_a_stream_of_many_chunks_is_what_its_parts_are(client: httpx.Client) -> None:
    with client.stream("POST", "/generate?format=npy", json={"seed": 0, "n": 3000}) as answer:
        assert int(answer.headers["content-length"]) == 128 + 3000 * 64
        streamed: NDArray[np.uint8] = np.load(io.BytesIO(answer.read()))
    assert streamed.shape == (3000, 8, 8, 1)
    middle = images_of(client.post("/generate", json={"seed": 1023, "n": 3}))
    assert all(np.array_equal(pixels_of(png), streamed[1023 + i, ..., 0]) for i, png in enumerate(middle))


def test_a_zip_holds_one_png_a_sample_named_by_its_seed_and_an_index(client: httpx.Client) -> None:
    body = {"model": "classes", "seeds": [7, 8, 7], "scores": True}
    answer = client.post("/generate?format=zip", json=body)
    as_json = client.post("/generate", json=body)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["7.png", "8.png", "7-2.png", "index.json"]
        files = [archive.read(name) for name in archive.namelist()[:3]]
        index = json.loads(archive.read("index.json"))
    assert files == images_of(as_json)
    assert [sample.pop("file") for sample in index["samples"]] == ["7.png", "8.png", "7-2.png"]
    expected = as_json.json()
    for sample in expected["samples"]:
        del sample["image"]
    assert index == expected


def test_a_zip_of_more_samples_than_one_chunk_is_whole(client: httpx.Client) -> None:
    answer = client.post("/generate?format=zip", json={"seed": 0, "n": 2500})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 2501
        last = archive.read("2499.png")
    assert last == client.post("/generate?format=png", json={"seed": 2499}).content


def test_a_zip_of_given_latents_numbers_its_files(client: httpx.Client) -> None:
    answer = client.post("/generate?format=zip", json={"latents": [[0.5] * LATENT_SIZE] * 11})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist()[:2] == ["latent-00.png", "latent-01.png"]
        index = json.loads(archive.read("index.json"))
    assert "sampler" not in index
    assert index["samples"][0] == {"file": "latent-00.png"}
    assert "x-sampler" not in answer.headers
    assert "x-seeds" not in answer.headers


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"n": 0}, ["body", "n"]),
        ({"n": 10**9}, ["body", "n"]),
        ({"n": -1}, ["body", "n"]),
        ({"n": True}, ["body", "n"]),
        ({"n": 1.5}, ["body", "n"]),
        ({"n": "1"}, ["body", "n"]),
        ({"n": None}, ["body", "n"]),
        ({"n": 4097}, ["body", "n"]),
        ({"seed": -1}, ["body", "seed"]),
        ({"seed": MAX_SEED + 1}, ["body", "seed"]),
        ({"seed": MAX_SEED, "n": 2}, ["body", "seed"]),
        ({"seed": False}, ["body", "seed"]),
        ({"seeds": []}, ["body", "seeds"]),
        ({"seeds": [1, -1]}, ["body", "seeds", 1]),
        ({"seeds": [1, True]}, ["body", "seeds", 1]),
        ({"seeds": "5-1"}, ["body", "seeds"]),
        ({"seeds": "some"}, ["body", "seeds"]),
        ({"seeds": 5}, ["body", "seeds"]),
        ({"seeds": f"0-{MAX_SEED}"}, ["body", "seeds"]),
        ({"seeds": [1], "n": 1}, ["body", "n"]),
        ({"seeds": [1], "seed": 1}, ["body", "seed"]),
        ({"latents": [[0.0] * LATENT_SIZE], "seeds": [1]}, ["body", "seeds"]),
        ({"latents": [[0.0] * LATENT_SIZE], "seed": 1}, ["body", "seed"]),
        ({"latents": [[0.0] * LATENT_SIZE], "n": 1}, ["body", "n"]),
        ({"latents": []}, ["body", "latents"]),
        ({"latents": [[0.0] * LATENT_SIZE, [0.0]]}, ["body", "latents", 1]),
        ({"latents": [[0.0] * LATENT_SIZE, ["0"] + [0.0] * 15]}, ["body", "latents", 1, 0]),
        ({"latents": [[1e39] + [0.0] * 15]}, ["body", "latents", 0, 0]),
        ({"latents": 3}, ["body", "latents"]),
        ({"sampler": "mersenne"}, ["body", "sampler"]),
        ({"sampler": "numpy-legacy", "seed": 2**32}, ["body", "sampler"]),
        ({"sampler": "numpy-legacy", "model": "uniform"}, ["body", "sampler"]),
        ({"label": 1}, ["body", "label"]),
        ({"model": "classes", "label": 10}, ["body", "label"]),
        ({"model": "classes", "label": -1}, ["body", "label"]),
        ({"model": "classes", "label": True}, ["body", "label"]),
        ({"model": "classes", "label": "cat"}, ["body", "label"]),
        ({"model": "classes", "label": 1, "labels": [1]}, ["body", "label"]),
        ({"model": "classes", "labels": [1, 2]}, ["body", "labels"]),
        ({"model": "classes", "labels": [1, "cat"], "n": 2}, ["body", "labels", 1]),
        ({"model": "classes", "labels": []}, ["body", "labels"]),
        ({"model": "classes", "latents": [[0.0] * LATENT_SIZE]}, ["body", "labels"]),
        ({"model": "blind", "scores": True}, ["body", "scores"]),
        ({"scores": 1}, ["body", "scores"]),
        ({"version": "latest"}, ["body", "version"]),
        ({"version": 0}, ["body", "version"]),
        ({"version": True}, ["body", "version"]),
        ({"model": ""}, ["body", "model"]),
        ({"model": "m" * 65}, ["body", "model"]),
        ({"codes": {"digit": 3}}, ["body", "codes"]),
        ({"model": "infogan", "codes": 3}, ["body", "codes"]),
        ({"model": "infogan", "codes": {"digit": 3}}, ["body", "codes", "digit"]),
        ({"model": "infogan", "codes": {"kind_0": 10}}, ["body", "codes", "kind_0"]),
        ({"model": "infogan", "codes": {"kind_0": True}}, ["body", "codes", "kind_0"]),
        ({"model": "infogan", "codes": {"number_1": "1"}}, ["body", "codes", "number_1"]),
        ({"model": "infogan", "codes": [{}, {"number_1": 5.1}], "n": 2}, ["body", "codes", 1, "number_1"]),
        ({"model": "infogan", "codes": [{}]} | {"n": 2}, ["body", "codes"]),
        ({"model": "infogan", "codes": []}, ["body", "codes"]),
        ({"model": "infogan", "latents": [[0.0] * LATENT_SIZE]}, ["body", "codes"]),
        ({"model": "infogan", "latents": [[0.0] * LATENT_SIZE], "codes": {"kind_0": 1}}, ["body", "codes"]),
        ({"condition": 1}, ["body", "condition"]),
        ({"model": "films"}, ["body", "condition"]),
        ({"model": "films", "condition": 5}, ["body", "condition"]),
        ({"model": "films", "condition": 1.0}, ["body", "condition"]),
        ({"model": "films", "condition": True}, ["body", "condition"]),
        ({"model": "films", "condition": [0, 1]}, ["body", "condition"]),
        ({"model": "films", "condition": [0, "1"], "n": 2}, ["body", "condition", 1]),
        ({"model": "films", "condition": [0, -1], "n": 2}, ["body", "condition", 1]),
        ({"sed": 7}, ["body", "sed"]),
        ([], ["body"]),
        (7, ["body"]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_is_not_valid_is_refused_with_its_place(client: httpx.Client, body: object, loc: list[str | int]) -> None:
    assert places(client.post("/generate", json=body)) == [loc]


@pytest.mark.parametrize("fields", ['"codes": {"a": %s}', '"truncation": %s', '"label": %s', '"seed": %s'])
def test_a_whole_number_that_no_float_holds_is_refused(client: httpx.Client, fields: str) -> None:
    body = "{" + fields % ("9" * 400) + "}"
    answer = client.post("/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_latents_that_are_not_finite_are_refused_with_their_place(client: httpx.Client, number: str) -> None:
    latent = ", ".join(["0.5", number, *["0"] * (LATENT_SIZE - 2)])
    answer = client.post(
        "/generate", content=f'{{"latents": [[{latent}]]}}', headers={"content-type": "application/json"}
    )
    assert places(answer) == [["body", "latents", 0, 1]]


def test_every_mistake_is_named_at_once(client: httpx.Client) -> None:
    answer = client.post("/generate", json={"n": 0, "seed": -1, "sed": 7})
    assert places(answer) == [["body", "n"], ["body", "seed"], ["body", "sed"]]
    assert "2 more" in answer.json()["detail"]


def test_of_half_a_million_mistakes_only_the_first_is_described(client: httpx.Client) -> None:
    assert places(client.post("/generate", json={"seeds": [-1] * 500_000})) == [["body", "seeds", 0]]
    assert len(places(client.post("/generate", json={f"field{i}": 0 for i in range(200)}))) == 32
    assert places(client.post("/generate", json={f"field{i}": 0 for i in range(1000)})) == [["body"]]


@pytest.mark.parametrize(
    ("query", "body", "loc"),
    [
        ("format=gif", {}, ["query", "format"]),
        ("fromat=png", {}, ["query", "fromat"]),
        ("dtype=float32", {}, ["query", "dtype"]),
        ("format=npy&dtype=float64", {}, ["query", "dtype"]),
        ("format=png", {"scores": True}, ["body", "scores"]),
        ("format=npy", {"scores": True}, ["body", "scores"]),
        ("format=npy", {"n": 50_001}, ["body", "n"]),
        ("format=npy", {"latents": [[0.0] * LATENT_SIZE] * 4097}, ["body", "latents"]),
        ("format=webp", {"model": "large", "n": 4096}, ["body", "n"]),
        ("format=npy&dtype=uint8", {"model": "ring"}, ["query", "dtype"]),
        ("format=npy&dtype=float32", {"model": "films", "condition": 1}, ["query", "dtype"]),
    ],
)
def test_what_the_form_cannot_hold_is_refused(
    client: httpx.Client, query: str, body: dict[str, object], loc: list[str | int]
) -> None:
    assert places(client.post(f"/generate?{query}", json=body)) == [loc]


def test_a_body_without_a_media_type_is_read_as_json(client: httpx.Client) -> None:
    answer = client.post("/generate", content=b'{"seed": 5}')
    assert "content-type" not in answer.request.headers
    assert answer.json()["samples"][0]["seed"] == 5


def test_curls_default_media_type_is_refused_with_the_cure(client: httpx.Client) -> None:
    answer = client.post(
        "/generate", content=b'{"seed": 5}', headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 415
    assert "-H 'content-type: application/json'" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [{"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}]
)
def test_a_body_of_another_kind_is_not_read(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.post("/generate", content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"{'n': 1}", b"[" * 100_000], ids=["cut", "bytes", "quotes", "deep"]
)
def test_what_is_not_json_is_malformed(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_codes_steer_a_sample_and_those_left_out_are_drawn_and_returned(client: httpx.Client) -> None:
    def draw(codes: object) -> list[dict[str, object]]:
        answer = client.post("/generate", json={"model": "infogan", "seed": 3, "n": 2, "codes": codes})
        samples: list[dict[str, object]] = answer.json()["samples"]
        return samples

    drawn, steered = draw({}), draw({"kind_0": 7, "number_1": 2})
    for sample, other in zip(drawn, steered, strict=True):
        codes, others = sample["codes"], other["codes"]
        assert isinstance(codes, dict)
        assert isinstance(others, dict)
        assert list(codes) == ["kind_0", "number_0", "number_1"]
        assert others == codes | {"kind_0": 7, "number_1": 2}
        assert sample["image"] != other["image"]
    assert draw([sample["codes"] for sample in drawn]) == drawn
    assert draw([{"kind_0": 7}, {"kind_0": 8}])[0]["codes"] != draw([{"kind_0": 8}, {"kind_0": 8}])[0]["codes"]


def test_an_archive_of_vectors_or_items_holds_an_array_a_sample_and_what_json_says(client: httpx.Client) -> None:
    for field, body in (
        ("values", {"model": "ring", "seeds": [7, 8, 7]}),
        ("item", {"model": "films", "seeds": [7, 8, 7], "condition": [0, 4, 1], "scores": True}),
    ):
        answer = client.post("/generate?format=zip", json=body)
        expected = client.post("/generate", json=body).json()
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            index = json.loads(archive.read("index.json"))
            files = [archive.read(sample.pop("file")) for sample in index["samples"]]
        assert [np.load(io.BytesIO(f)).tolist() for f in files] == [s.pop(field) for s in expected["samples"]]
        assert index == expected


def test_vectors_and_items_are_one_array_each(client: httpx.Client) -> None:
    points = npy_of(client.post("/generate?format=npy", json={"model": "ring", "seed": 1, "n": 3000}))
    items = npy_of(client.post("/generate?format=npy", json={"model": "films", "seed": 1, "n": 30, "condition": 2}))
    assert (points.dtype.name, points.shape) == ("float32", (3000, 2))
    assert (items.dtype.name, items.shape) == ("int64", (30,))
    assert 0 <= items.min() < items.max() < 12
    samples = client.post("/generate", json={"model": "films", "seed": 1, "n": 30, "condition": 2}).json()["samples"]
    assert [sample["item"] for sample in samples] == items.tolist()
    assert samples[0].keys() == {"seed", "condition", "item"}


def test_another_user_gets_other_items_for_the_same_seeds(client: httpx.Client) -> None:
    def items(condition: int | list[int]) -> list[int]:
        body = {"model": "films", "seed": 1, "n": 20, "condition": condition}
        return [sample["item"] for sample in client.post("/generate", json=body).json()["samples"]]

    assert items(1) != items(2)
    assert items([1] * 19 + [2]) == items(1)[:19] + items(2)[19:]


@pytest.mark.parametrize("model", ["ring", "films"])
def test_a_package_that_makes_no_images_is_not_acceptable_as_one(client: httpx.Client, model: str) -> None:
    body = {"model": model} | ({"condition": 0} if model == "films" else {})
    by_query = client.post("/generate?format=png", json=body)
    by_header = client.post("/generate", json=body, headers={"accept": "image/*"})
    for answer in (by_query, by_header):
        assert answer.status_code == 406
        assert answer.json()["detail"].count("application/") == 3
    mixed = client.post("/generate", json=body, headers={"accept": "image/png, application/zip;q=0.5"})
    assert mixed.headers["content-type"] == "application/zip"


def test_a_form_that_nobody_makes_is_not_acceptable(client: httpx.Client) -> None:
    answer = client.post("/generate", headers={"accept": "text/html"})
    assert answer.status_code == 406
    assert "image/png" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{"model": "nobody"}, {"version": 3}, {"model": "../toy"}])
def test_what_does_not_exist_is_not_found_and_what_does_is_named(client: httpx.Client, body: dict[str, object]) -> None:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 404
    assert "toy/2" in answer.json()["detail"]
