"""Reproducibility of codes, vectors, items and encodings, over real sockets."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.serving import TIMEOUT_S, ServiceProcess

SEEDS = list(range(1000, 1064))
CALLERS = 100
FAMILY = ["infogan", "ring", "films"]

Body = dict[str, object]
Sample = dict[str, object]


def drawing(model: str, seeds: list[int]) -> Body:
    """Draw with scores; items for a different user at each seed."""
    body: Body = {"model": model, "seeds": seeds, "scores": True}
    return body | ({"condition": [seed % 5 for seed in seeds]} if model == "films" else {})


def samples_of(answer: httpx.Response, field: str) -> list[Sample]:
    assert answer.status_code == 200, answer.text
    samples: list[Sample] = answer.json()[field]
    return samples


def draw(client: httpx.Client, model: str, seeds: list[int]) -> list[Sample]:
    return samples_of(client.post("/generate", json=drawing(model, seeds)), "samples")


def ask_at_once(port: int, path: str, bodies: list[Body], field: str) -> list[list[Sample]]:
    """Send all bodies concurrently; returns the responses."""

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=len(bodies))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S, limits=limits, trust_env=False
        ) as client:
            return await asyncio.gather(*(client.post(path, json=body) for body in bodies))

    return [samples_of(answer, field) for answer in asyncio.run(ask())]


def some(shuffle: np.random.Generator) -> list[int]:
    seeds: list[int] = shuffle.choice(SEEDS, shuffle.integers(1, 10)).tolist()
    return seeds


def test_a_seed_gives_the_same_sample_alone_in_a_batch_among_many_callers_and_after_a_restart(
    service: ServiceProcess, client: httpx.Client, models_dir: Path
) -> None:
    together = {model: draw(client, model, SEEDS) for model in FAMILY}
    for model, samples in together.items():
        expected = dict(zip(SEEDS, samples, strict=True))
        assert len({str(sample) for sample in samples}) == len(SEEDS)
        assert [draw(client, model, [seed])[0] for seed in SEEDS[:5]] == samples[:5]
        assert draw(client, model, SEEDS[::-1]) == samples[::-1]

        shuffle = np.random.default_rng(7)
        asked = [some(shuffle) for _ in range(CALLERS)]
        answers = ask_at_once(service.port, "/generate", [drawing(model, seeds) for seeds in asked], "samples")
        assert answers == [[expected[seed] for seed in seeds] for seeds in asked]

    with ServiceProcess(models_dir, load_models=",".join(FAMILY)).loaded() as restarted, restarted.client() as again:
        assert {model: draw(again, model, SEEDS) for model in FAMILY} == together


def test_returned_codes_give_the_sample_that_left_them_to_the_seed(client: httpx.Client) -> None:
    drawn = draw(client, "infogan", SEEDS)
    body = drawing("infogan", SEEDS) | {"codes": [sample["codes"] for sample in drawn]}
    assert samples_of(client.post("/generate", json=body), "samples") == drawn


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("infogan", lambda sample: {"images": [sample["image"]]}),
        ("ring", lambda sample: {"samples": [sample["values"]]}),
        ("films", lambda sample: {"samples": [[sample["item"]]], "condition": sample["condition"]}),
    ],
)
def test_realness_is_the_score_of_the_returned_sample_bit_for_bit(
    client: httpx.Client, model: str, given: Callable[[Sample], Body]
) -> None:
    for sample in draw(client, model, SEEDS[:16]):
        (score,) = samples_of(client.post("/score", json={"model": model} | given(sample)), "scores")
        assert score["probability"] == sample["realness"]


@pytest.mark.parametrize(
    ("path", "model", "field"),
    [
        ("/encode", "infogan", "encodings"),
        ("/encode", "bigan", "encodings"),
        ("/reconstruct", "bigan", "reconstructions"),
    ],
)
def test_what_an_encoder_says_of_a_sample_does_not_depend_on_others(
    service: ServiceProcess, client: httpx.Client, path: str, model: str, field: str
) -> None:
    images = [sample["image"] for sample in draw(client, model, SEEDS[:32])]
    together = samples_of(client.post(path, json={"model": model, "images": images}), field)
    assert len({str(each) for each in together}) == len(images)
    alone = ask_at_once(service.port, path, [{"model": model, "images": [image]} for image in images], field)
    assert [each for (each,) in alone] == together
    backwards = client.post(path, json={"model": model, "images": images[::-1]})
    assert samples_of(backwards, field) == together[::-1]
