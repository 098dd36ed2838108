"""POST /score over a socket: every way in gives the same scores; what cannot be judged is refused with its place."""

import base64
import io
import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Score = dict[str, Any]


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A PNG of a hundred megapixels in seventy bytes: its header says so, its data does not."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scores_of(answer: httpx.Response) -> list[Score]:
    assert answer.status_code == 200, answer.headers
    scores: list[Score] = answer.json()["scores"]
    return scores


def places(answer: httpx.Response) -> list[list[str | int]]:
    assert answer.status_code == 422, answer.headers
    return [error["loc"] for error in answer.json()["errors"]]


def post_image(client: httpx.Client, image: bytes, query: str = "", media_type: str = "image/png") -> httpx.Response:
    return client.post(f"/score{query}", content=image, headers={"content-type": media_type})


def test_every_way_in_gives_the_same_scores(client: httpx.Client) -> None:
    pixels = noise(3, 8, 8, 1)
    files = [png(image[..., 0]) for image in pixels]
    alone = [scores_of(post_image(client, file))[0] for file in files]
    form = client.post("/score", files=[("file", file) for file in files])
    array = client.post("/score", content=npy(pixels), headers={"content-type": "application/x-npy"})
    encoded = [base64.b64encode(file).decode() for file in files]
    listed = client.post("/score", json={"images": [encoded[0], f"data:image/png;base64,{encoded[1]}", encoded[2]]})
    floats = (-1 + 2 * pixels.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    as_floats = client.post("/score", content=npy(floats), headers={"content-type": "application/x-npy"})
    as_numbers = client.post("/score", json={"samples": floats.reshape(3, -1).tolist()})
    assert scores_of(form) == alone
    assert scores_of(array) == alone
    assert scores_of(listed) == alone
    assert scores_of(as_floats) == scores_of(as_numbers)
    assert scores_of(as_floats)[0]["logit"] == pytest.approx(alone[0]["logit"], abs=1e-5)


def test_a_lossless_webp_scores_what_its_png_scores(client: httpx.Client) -> None:
    image = client.post("/generate?format=webp", json={"model": "colour", "seed": 1})
    original = client.post("/generate?format=png", json={"model": "colour", "seed": 1})
    scored = post_image(client, image.content, "?model=colour", "image/webp")
    assert scores_of(scored) == scores_of(post_image(client, original.content, "?model=colour"))


def test_an_answer_says_what_judged(client: httpx.Client) -> None:
    answer = post_image(client, png(noise(8, 8)), "?version=1").json()
    details = client.get("/models/toy/versions/1").json()
    assert (answer["model"], answer["version"]) == ("toy", "1")
    assert answer["package_sha256"] == details["package_sha256"]


def test_a_score_reads_the_logit_as_the_manifest_calibrates_it(client: httpx.Client, models_dir: Path) -> None:
    (score,) = scores_of(post_image(client, png(noise(8, 8))))
    manifest = json.loads((models_dir / "toy/2/manifest.json").read_text())
    quantiles = manifest["discriminator"]["reference_quantiles"]
    steps = np.linspace(0, 100, len(quantiles["real"]))
    assert score["log_density_ratio"] == score["logit"]  # the toy's slope is 1 and its intercept 0
    assert score["probability"] == pytest.approx(1 / (1 + math.exp(-score["logit"])))
    assert score["percentile_real"] == pytest.approx(np.interp(score["logit"], quantiles["real"], steps))
    assert score["percentile_generated"] == pytest.approx(np.interp(score["logit"], quantiles["generated"], steps))


def test_a_conditional_discriminator_judges_a_sample_as_one_of_its_class(client: httpx.Client) -> None:
    image = png(noise(8, 8))
    by_number = scores_of(post_image(client, image, "?model=classes&label=3"))
    by_name = scores_of(post_image(client, image, "?model=classes&label=class 3"))
    another = scores_of(post_image(client, image, "?model=classes&label=4"))
    encoded = base64.b64encode(image).decode()
    listed = client.post("/score", json={"model": "classes", "images": [encoded, encoded], "labels": [3, "class 4"]})
    pixels = npy(np.repeat(noise(1, 8, 8, 1), 2, axis=0))
    repeated = client.post(
        "/score?model=classes&label=3&label=4", content=pixels, headers={"content-type": "application/x-npy"}
    )
    assert by_number == by_name
    assert by_number != another
    assert scores_of(listed) == by_number + another
    assert len(scores_of(repeated)) == 2


def test_without_a_label_the_class_that_fits_best_is_named_and_scored(client: httpx.Client, models_dir: Path) -> None:
    images = [png(image[..., 0]) for image in noise(6, 8, 8, 1)]
    found = [scores_of(post_image(client, image, "?model=unnamed"))[0] for image in images]
    manifest = json.loads((models_dir / "unnamed/1/manifest.json").read_text())
    for image, score in zip(images, found, strict=True):
        of_classes = [
            scores_of(post_image(client, image, f"?model=unnamed&label={label}"))[0]["logit"] for label in range(10)
        ]
        stated = manifest["discriminator"]["unknown_label"]
        scores = np.array(of_classes) @ np.array(stated["weights"]) + stated["offsets"]
        posterior = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        real = float((posterior / (1 + np.exp(-np.array(of_classes)))).sum())  # with a label, the logit is the log-odds
        odds = math.log(real / (1 - real))
        assert score["label"] == posterior.argmax()
        assert score["label_probability"] == pytest.approx(posterior.max())
        assert score["logit"] == of_classes[posterior.argmax()]
        assert score["log_density_ratio"] == pytest.approx(0.5 * odds + 0.25)
        assert score["probability"] == pytest.approx(1 / (1 + math.exp(-0.5 * odds - 0.25)))
        assert score["percentile_generated"] == pytest.approx(100 * np.clip((odds + 3) / 6, 0, 1))
        assert score["percentile_real"] == pytest.approx(100 * np.clip((odds + 2) / 6, 0, 1))
    assert [score["label_name"] for score in found] == [f"class {score['label']}" for score in found]
    assert len({score["label"] for score in found}) > 1


def test_every_way_in_without_a_label_gives_the_same_scores(client: httpx.Client) -> None:
    pixels = noise(3, 8, 8, 1)
    files = [png(image[..., 0]) for image in pixels]
    alone = [scores_of(post_image(client, file, "?model=unnamed"))[0] for file in files]
    form = client.post("/score?model=unnamed", files=[("file", file) for file in files])
    headers = {"content-type": "application/x-npy"}
    array = client.post("/score?model=unnamed", content=npy(pixels), headers=headers)
    encoded = [base64.b64encode(file).decode() for file in files]
    listed = client.post("/score", json={"model": "unnamed", "images": encoded})
    many = client.post("/score?model=unnamed", content=npy(np.tile(pixels, (341, 1, 1, 1))), headers=headers)
    assert scores_of(form) == scores_of(array) == scores_of(listed) == alone
    assert scores_of(many) == alone * 341


def test_with_a_label_an_answer_says_nothing_of_one(client: httpx.Client) -> None:
    (score,) = scores_of(post_image(client, png(noise(8, 8)), "?model=unnamed&label=3"))
    assert list(score) == ["logit", "probability", "log_density_ratio", "percentile_real", "percentile_generated"]
    (unnamed,) = scores_of(post_image(client, png(noise(8, 8)), "?model=unnamed"))
    assert list(unnamed) == ["label", "label_name", "label_probability", *score]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("classes", "`python -m training calibrate models/classes/1` publishes it again"),
        ("many", "of which there are 65 here and may be 64"),
    ],
)
def test_a_label_that_has_to_be_named_is_asked_for_with_the_reason(
    client: httpx.Client, model: str, words: str
) -> None:
    answer = post_image(client, png(noise(8, 8)), f"?model={model}")
    assert places(answer) == [["query", "label"]]
    assert words in answer.json()["detail"]


def test_a_generated_samples_realness_is_its_score_with_the_label_that_was_drawn(client: httpx.Client) -> None:
    (sample,) = client.post("/generate", json={"model": "unnamed", "seed": 5, "scores": True}).json()["samples"]
    image = base64.b64decode(sample["image"].removeprefix("data:image/png;base64,"))
    (named,) = scores_of(post_image(client, image, f"?model=unnamed&label={sample['label']}"))
    assert sample["realness"] == named["probability"]
    selected = client.post("/generate", json={"model": "unnamed", "n": 2, "select": {"method": "rejection"}})
    assert selected.status_code == 200


def test_all_classes_of_many_samples_end_at_their_deadline(client: httpx.Client) -> None:
    headers = {"content-type": "application/x-npy", "x-timeout-ms": "5"}
    answer = client.post("/score?model=unnamed", content=npy(noise(1024, 8, 8, 1)), headers=headers)
    assert answer.status_code in {429, 504}
    assert len(scores_of(post_image(client, png(noise(8, 8)), "?model=unnamed"))) == 1


def test_what_a_model_says_of_scores_without_a_label(client: httpx.Client) -> None:
    unnamed, classes = (client.get(f"/models/{name}/versions/1").json() for name in ("unnamed", "classes"))
    assert unnamed["discriminator"]["unknown_label"] == {
        "calibration_method": "platt", "expected_calibration_error": 0.125, "label_accuracy": 0.5
    }  # fmt: skip
    assert "unknown_label" not in classes["discriminator"]


def test_vectors_are_scored_as_numbers_or_as_an_array(client: httpx.Client) -> None:
    points = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    array = client.post("/score?model=ring", content=npy(points), headers={"content-type": "application/x-npy"})
    listed = client.post("/score", json={"model": "ring", "samples": points.tolist()})
    assert scores_of(array) == scores_of(listed)
    assert len({score["logit"] for score in scores_of(array)}) == 3


def test_items_are_scored_for_their_users(client: httpx.Client) -> None:
    items = npy(np.array([3, 1]))
    headers = {"content-type": "application/x-npy"}
    array = client.post("/score?model=films&condition=4&condition=2", content=items, headers=headers)
    one = client.post("/score?model=films&condition=4", content=items, headers=headers)
    listed = client.post("/score", json={"model": "films", "samples": [[3], [1]], "condition": [4, 2]})
    assert scores_of(array) == scores_of(listed)
    assert scores_of(one)[0] == scores_of(array)[0]
    assert scores_of(one)[1] != scores_of(array)[1]


def test_an_image_is_no_sample_of_a_package_of_vectors(client: httpx.Client) -> None:
    answer = post_image(client, png(noise(8, 8)), "?model=ring")
    assert places(answer) == [["body"]]
    assert "vectors of 2 numbers" in answer.json()["detail"]


def test_a_batch_coupled_discriminator_judges_a_request_by_itself(client: httpx.Client) -> None:
    pixels = noise(4, 8, 8, 1)
    headers = {"content-type": "application/x-npy"}
    together = scores_of(client.post("/score?model=coupled", content=npy(pixels), headers=headers))
    again = scores_of(client.post("/score?model=coupled", content=npy(pixels), headers=headers))
    alone = scores_of(client.post("/score?model=coupled", content=npy(pixels[:1]), headers=headers))
    assert together == again
    assert together[0] != alone[0]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "empty"),
        (b"GIF89a", "not an image"),
        (png(noise(8, 8))[:60], "truncated or damaged"),
        (png(noise(9, 8)), "it is 8×9"),
        (png(noise(8, 8, 3)), "8-bit RGB"),
        (png(noise(8, 8, 4)), "transparency"),
    ],
    ids=["0 bytes", "another format", "cut short", "wrong size", "colour", "transparency"],
)
def test_an_image_that_is_not_the_models_is_refused_with_what_was_expected(
    client: httpx.Client, image: bytes, reason: str
) -> None:
    answer = post_image(client, image)
    assert places(answer) == [["body"]]
    assert reason in answer.json()["detail"]


def test_a_hundred_megapixels_are_refused_before_they_are_decoded(client: httpx.Client) -> None:
    assert len(huge_png()) < 100
    answer = post_image(client, huge_png())
    assert answer.status_code == 413
    assert "16000000 pixels" in answer.json()["detail"]


def test_the_bad_one_of_many_images_is_named(client: httpx.Client) -> None:
    good = png(noise(8, 8))
    form = client.post("/score", files=[("file", good), ("file", b"")])
    listed = client.post("/score", json={"images": [base64.b64encode(good).decode()] * 40 + ["?"]})
    assert places(form) == [["body", "file", 1]]
    assert places(listed) == [["body", "images", 40]]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body"]),
        ({"images": []}, ["body", "images"]),
        ({"images": ["AA=="], "samples": [[0.0] * 64]}, ["body"]),
        ({"images": ["AA=="]}, ["body", "images", 0]),
        ({"samples": [[0.0] * 64], "labels": [1]}, ["body", "labels"]),
        ({"samples": [[0.0] * 64], "label": 1}, ["body", "label"]),
        ({"samples": [[0.0] * 63]}, ["body", "samples", 0]),
        ({"samples": [[0.0] * 63 + [True]]}, ["body", "samples", 0, 63]),
        ({"samples": [0.0]}, ["body", "samples", 0]),
        ({"samples": [[3e38] * 64]}, ["body", "samples", 0]),
        ({"model": "ring", "samples": [[3e38, 3e38]]}, ["body"]),
        ({"images": [7]}, ["body", "images", 0]),
        ({"images": ["AA=="] * 1025}, ["body", "images"]),
        ({"samples": [[0.0] * 64], "model": "classes"}, ["body", "label"]),
        ({"samples": [[0.0] * 64], "model": "classes", "label": 10}, ["body", "label"]),
        ({"samples": [[0.0] * 64], "model": "blind"}, ["body", "model"]),
        ({"image": "AA=="}, ["body", "image"]),
        ({"samples": [[0.0] * 64], "condition": 1}, ["body", "condition"]),
        ({"model": "ring", "images": ["AA=="]}, ["body", "images"]),
        ({"model": "ring", "samples": [[0.0, 0.0], [0.0]]}, ["body", "samples", 1]),
        ({"model": "films", "samples": [[3]]}, ["body", "condition"]),
        ({"model": "films", "samples": [[3]], "condition": 5}, ["body", "condition"]),
        ({"model": "films", "samples": [[3], [1]], "condition": [1]}, ["body", "condition"]),
        ({"model": "films", "samples": [[3], [12]], "condition": 1}, ["body", "samples", 1]),
        ({"model": "films", "samples": [[3.5]], "condition": 1}, ["body", "samples", 0]),
        ({"model": "films", "samples": [[True]], "condition": 1}, ["body", "samples", 0, 0]),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_json_that_is_not_valid_is_refused_with_its_place(
    client: httpx.Client, body: object, loc: list[str | int]
) -> None:
    assert places(client.post("/score", json=body)) == [loc]


def test_samples_that_are_not_finite_are_refused(client: httpx.Client) -> None:
    numbers = ", ".join(["NaN"] * 64)
    answer = client.post(
        "/score", content=f'{{"samples": [[{numbers}]]}}', headers={"content-type": "application/json"}
    )
    assert places(answer) == [["body", "samples", 0, 0]]
    array = npy(np.full((1, 1, 8, 8), np.nan, dtype=np.float32))
    assert places(client.post("/score", content=array, headers={"content-type": "application/x-npy"})) == [["body"]]


@pytest.mark.parametrize(
    "array",
    [
        noise(8, 8, 1),
        noise(2, 8, 8),
        noise(2, 9, 8, 1),
        np.zeros((2, 8, 8, 1), dtype=np.float64),
        np.zeros((0, 8, 8, 1), dtype=np.uint8),
    ],
    ids=["one image", "no channel", "wrong size", "doubles", "none"],
)
def test_an_array_of_another_shape_or_type_is_refused(client: httpx.Client, array: NDArray[np.generic]) -> None:
    answer = client.post("/score", content=npy(array), headers={"content-type": "application/x-npy"})
    assert places(answer) == [["body"]]


def test_more_samples_than_allowed_are_refused_in_any_form(client: httpx.Client) -> None:
    array = client.post("/score", content=npy(noise(1025, 8, 8, 1)), headers={"content-type": "application/x-npy"})
    form = client.post("/score", files=[("file", b"x")] * 1025)
    assert places(array) == [["body"]]
    assert places(form) == [["body", "file"]]


def test_a_query_beside_a_json_body_is_refused(client: httpx.Client) -> None:
    answer = client.post("/score?model=toy", json={"samples": [[0.0] * 64]})
    assert places(answer) == [["query", "model"]]


@pytest.mark.parametrize(
    ("query", "loc"),
    [
        ("?model=blind", ["query", "model"]),
        ("?model=classes", ["query", "label"]),
        ("?modle=toy", ["query", "modle"]),
        (f"?model=classes&label={'9' * 5000}", ["query", "label", 0]),
    ],
)
def test_a_query_that_does_not_fit_is_refused(client: httpx.Client, query: str, loc: list[str]) -> None:
    assert places(post_image(client, png(noise(8, 8)), query)) == [loc]


@pytest.mark.parametrize("media_type", ["image/gif", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_another_kind_is_refused_with_what_is_read(client: httpx.Client, media_type: str) -> None:
    answer = post_image(client, png(noise(8, 8)), media_type=media_type)
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["detail"]


def test_what_does_not_exist_is_not_found(client: httpx.Client) -> None:
    assert post_image(client, png(noise(8, 8)), "?model=nobody").status_code == 404


@pytest.mark.parametrize("path", ["/score", "/encode", "/reconstruct"])
def test_floats_of_another_range_than_the_packages_are_refused_with_its_own(client: httpx.Client, path: str) -> None:
    scaled = noise(2, 1, 8, 8).astype(np.float32)
    scaled[0] = 0
    array = client.post(f"{path}?model=bigan", content=npy(scaled), headers={"content-type": "application/x-npy"})
    listed = client.post(path, json={"model": "bigan", "samples": scaled.reshape(2, -1).tolist()})
    assert places(array) == [["body"]]
    assert places(listed) == [["body", "samples", 1]]
    for answer in (array, listed):
        assert "from -1 to 1; those of sample 1 are from 0 to 247" in answer.json()["detail"]


def test_floats_a_little_beyond_the_range_are_judged_since_generators_overshoot(client: httpx.Client) -> None:
    for peak, status in ((1.0, 200), (1.9, 200), (2.1, 422), (-1.9, 200), (-2.1, 422)):
        assert client.post("/score", json={"samples": [[peak] + [0.0] * 63]}).status_code == status
    vectors = client.post("/score", json={"model": "ring", "samples": [[100.0, -100.0]]})
    assert vectors.status_code == 200


def test_a_byte_order_mark_before_json_is_skipped(client: httpx.Client) -> None:
    body = json.dumps({"samples": [[0.0] * 64]}).encode()
    headers = {"content-type": "application/json"}
    marked = client.post("/score", content=b"\xef\xbb\xbf" + body, headers=headers)
    assert scores_of(marked) == scores_of(client.post("/score", content=body, headers=headers))
