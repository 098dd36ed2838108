"""Truncation and selection over a socket: still a function of the seed alone, and scored like anything else."""

import base64
import io
import json

import httpx
import numpy as np
import pytest

SEEDS = [11, 5, 2**40, 0, 7, 6]
LATENT_SIZE = 16
SELECTIONS: list[dict[str, object]] = [
    {"method": "best-of", "candidates": 5},
    {"method": "rejection", "candidates": 9, "gamma": 0.5},
    {"method": "metropolis-hastings", "candidates": 7},
]

Sample = dict[str, object]


def draw(client: httpx.Client, **body: object) -> list[Sample]:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    samples: list[Sample] = answer.json()["samples"]
    return samples


@pytest.mark.parametrize(
    "asked",
    [{"truncation": 0.5}, *({"select": select} for select in SELECTIONS), {"select": SELECTIONS[0], "truncation": 1}],
    ids=lambda asked: json.dumps(asked)[:60],
)
@pytest.mark.parametrize("model", ["toy", "classes", "ring"])
def test_a_sample_is_the_same_alone_among_others_and_in_any_order(
    client: httpx.Client, model: str, asked: dict[str, object]
) -> None:
    together = draw(client, model=model, seeds=SEEDS, scores=True, **asked)
    assert draw(client, model=model, seeds=SEEDS[::-1], scores=True, **asked) == together[::-1]
    assert [draw(client, model=model, seed=seed, scores=True, **asked)[0] for seed in SEEDS] == together
    assert together != draw(client, model=model, seeds=SEEDS, scores=True)


@pytest.mark.parametrize("select", SELECTIONS, ids=lambda select: str(select["method"]))
def test_a_stream_of_many_chunks_holds_what_json_holds(client: httpx.Client, select: dict[str, object]) -> None:
    body = {"seed": 3, "n": 500, "select": select}
    streamed = np.load(io.BytesIO(client.post("/generate?format=npy", json=body).content))
    sheet = client.post("/generate?format=png", json={"seed": 300, "select": select}).content
    assert streamed.shape == (500, 8, 8, 1)
    image = str(draw(client, seed=300, select=select)[0]["image"])
    assert base64.b64decode(image.removeprefix("data:image/png;base64,")) == sheet
    alone = client.post("/generate?format=npy", json={"seed": 300, "select": select}).content
    assert (np.load(io.BytesIO(alone))[0] == streamed[297]).all()


def test_the_best_of_many_looks_more_real_and_is_scored_as_its_png_is(client: httpx.Client) -> None:
    plain, best = draw(client, n=8, seed=1, scores=True), draw(client, n=8, seed=1, scores=True, select=SELECTIONS[0])
    assert all(float(str(b["realness"])) >= float(str(p["realness"])) for b, p in zip(best, plain, strict=True))
    assert best != plain
    scored = client.post("/score", json={"images": [sample["image"] for sample in best]}).json()["scores"]
    assert [score["probability"] for score in scored] == [sample["realness"] for sample in best]


def test_the_class_and_the_codes_of_a_chosen_sample_are_its_seeds(client: httpx.Client) -> None:
    for model, field, name in (("classes", "label", "labels"), ("infogan", "codes", "codes")):
        plain = draw(client, model=model, seeds=SEEDS)
        chosen = draw(client, model=model, seeds=SEEDS, select={"method": "best-of"})
        named = [sample[field] for sample in chosen]
        assert named == [sample[field] for sample in plain]
        assert draw(client, model=model, seeds=SEEDS, select={"method": "best-of"}, **{name: named}) == chosen


def test_items_are_chosen_for_their_user(client: httpx.Client) -> None:
    users = [0, 1, 2, 3, 4, 0]
    for select in SELECTIONS:
        together = draw(client, model="films", seeds=SEEDS, condition=users, select=select)
        alone = [
            draw(client, model="films", seed=s, condition=u, select=select)[0]
            for s, u in zip(SEEDS, users, strict=True)
        ]
        assert together == alone


def test_a_truncation_that_cuts_nothing_changes_nothing(client: httpx.Client) -> None:
    assert draw(client, seeds=SEEDS, truncation=9) == draw(client, seeds=SEEDS)
    assert draw(client, model="uniform", seeds=SEEDS, truncation=1) == draw(client, model="uniform", seeds=SEEDS)
    assert draw(client, model="uniform", seeds=SEEDS, truncation=0.3) != draw(client, model="uniform", seeds=SEEDS)


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"truncation": 0.09}, ["body", "truncation"]),
        ({"truncation": "1"}, ["body", "truncation"]),
        ({"truncation": True}, ["body", "truncation"]),
        ({"truncation": 1, "latents": [[0.0] * LATENT_SIZE]}, ["body", "truncation"]),
        ({"truncation": 1, "sampler": "numpy-legacy"}, ["body", "truncation"]),
        ({"truncation": 1, "model": "films", "condition": 0}, ["body", "truncation"]),
        ({"select": "best-of"}, ["body", "select"]),
        ({"select": {"method": "worst-of"}}, ["body", "select"]),
        ({"select": {"method": ["rejection"]}}, ["body", "select"]),
        ({"select": {"candidates": 2}}, ["body", "select"]),
        ({"select": {"method": "best-of", "candidates": 0}}, ["body", "select", "candidates"]),
        ({"select": {"method": "best-of", "candidates": 1025}}, ["body", "select", "candidates"]),
        ({"select": {"method": "best-of", "candidates": True}}, ["body", "select", "candidates"]),
        ({"select": {"method": "best-of", "gamma": 0}}, ["body", "select", "gamma"]),
        ({"select": {"method": "rejection", "gamma": 101}}, ["body", "select", "gamma"]),
        ({"select": {"method": "rejection"}, "n": 1000}, ["body", "select", "candidates"]),
        ({"select": {"method": "rejection"}, "model": "blind"}, ["body", "select"]),
        ({"select": {"method": "rejection"}, "sampler": "numpy-legacy"}, ["body", "select"]),
        ({"select": {"method": "rejection"}, "latents": [[0.0] * LATENT_SIZE]}, ["body", "select"]),
        (
            {"select": {"method": "rejection"}, "interpolate": {"from": 1, "to": 2, "steps": 2}},
            ["body", "select"],
        ),
    ],
    ids=lambda value: json.dumps(value)[:80],
)
def test_what_cannot_be_drawn_again_is_refused_with_its_place(
    client: httpx.Client, body: dict[str, object], loc: list[str | int]
) -> None:
    answer = client.post("/generate", json=body)
    assert answer.status_code == 422, answer.text
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]
