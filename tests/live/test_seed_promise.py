"""Reproducibility of samples and scores, over real sockets: other requests do not change a request's bytes."""

import asyncio
import base64
from pathlib import Path

import httpx
import numpy as np

from tests.support.serving import TIMEOUT_S, ServiceProcess

SEEDS = range(1000, 1064)
CALLERS = 200

Sample = dict[str, object]


def samples_of(answer: httpx.Response) -> list[Sample]:
    assert answer.status_code == 200, answer.headers
    samples: list[Sample] = answer.json()["samples"]
    return samples


def png_of(sample: Sample) -> bytes:
    image = sample["image"]
    assert isinstance(image, str)
    return base64.b64decode(image.removeprefix("data:image/png;base64,"))


def draw(client: httpx.Client, **body: object) -> list[Sample]:
    return samples_of(client.post("/generate", json={"scores": True, **body}))


async def ask_at_once(port: int, bodies: list[dict[str, object]]) -> list[list[Sample]]:
    """Send all bodies concurrently; returns the responses."""
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S, limits=limits, trust_env=False
    ) as client:
        answers = await asyncio.gather(*(client.post("/generate", json=body) for body in bodies))
    return [samples_of(answer) for answer in answers]


def test_a_seed_gives_the_same_bytes_alone_in_a_batch_among_many_callers_and_after_a_restart(
    service: ServiceProcess, client: httpx.Client, models_dir: Path
) -> None:
    together = draw(client, seed=SEEDS[0], n=len(SEEDS))
    expected = dict(zip(SEEDS, together, strict=True))
    assert len({png_of(sample) for sample in together}) == len(SEEDS)

    assert [draw(client, seed=seed)[0] for seed in SEEDS[:10]] == together[:10]
    assert draw(client, seeds=list(reversed(SEEDS))) == list(reversed(together))

    shuffle = np.random.default_rng(7)
    asked = [shuffle.choice(SEEDS, shuffle.integers(1, 10)).tolist() for _ in range(CALLERS)]
    answers = asyncio.run(ask_at_once(service.port, [{"seeds": seeds, "scores": True} for seeds in asked]))
    assert answers == [[expected[seed] for seed in seeds] for seeds in asked]

    with ServiceProcess(models_dir, load_models="toy").loaded() as restarted, restarted.client() as again:
        assert draw(again, seed=SEEDS[0], n=len(SEEDS)) == together


def test_a_chosen_or_truncated_sample_is_the_same_among_many_callers(
    service: ServiceProcess, client: httpx.Client
) -> None:
    ways: list[dict[str, object]] = [
        {"select": {"method": "rejection", "candidates": 16}},
        {"select": {"method": "metropolis-hastings", "candidates": 8}, "truncation": 1.5},
        {"truncation": 0.5},
        {},
    ]
    alone = [draw(client, seed=seed, **way)[0] for way in ways for seed in SEEDS[:8]]
    shuffle = np.random.default_rng(7)
    asked = [(way, shuffle.choice(8, 3).tolist()) for way in shuffle.integers(0, len(ways), CALLERS // 4).tolist()]
    bodies = [{"seeds": [SEEDS[seed] for seed in seeds], "scores": True, **ways[way]} for way, seeds in asked]
    answers = asyncio.run(ask_at_once(service.port, bodies))
    assert answers == [[alone[8 * way + seed] for seed in seeds] for way, seeds in asked]


def test_callers_of_different_models_do_not_meet(service: ServiceProcess, client: httpx.Client) -> None:
    names = ["toy", "classes", "colour", "blind", "uniform"]
    alone = {name: samples_of(client.post("/generate", json={"model": name, "seed": 5, "n": 3})) for name in names}
    asked = [names[number % len(names)] for number in range(50)]
    answers = asyncio.run(ask_at_once(service.port, [{"model": name, "seed": 5, "n": 3} for name in asked]))
    assert answers == [alone[name] for name in asked]


def test_realness_is_the_score_of_the_returned_png_bit_for_bit(client: httpx.Client) -> None:
    for model in ("toy", "colour", "coupled"):
        for sample in draw(client, model=model, seed=SEEDS[0], n=32):
            scored = client.post(
                f"/score?model={model}", content=png_of(sample), headers={"content-type": "image/png"}
            ).json()
            assert scored["scores"][0]["probability"] == sample["realness"]


def test_the_realness_of_a_class_is_the_score_of_the_png_as_that_class(client: httpx.Client) -> None:
    for sample in draw(client, model="classes", seed=SEEDS[0], n=8):
        scored = client.post(
            f"/score?model=classes&label={sample['label']}",
            content=png_of(sample),
            headers={"content-type": "image/png"},
        ).json()
        assert scored["scores"][0]["probability"] == sample["realness"]


def test_a_score_does_not_depend_on_what_is_scored_beside_it(client: httpx.Client) -> None:
    files = [png_of(sample) for sample in draw(client, seed=SEEDS[0], n=40)]
    alone = [client.post("/score", files=[("file", file)]).json()["scores"][0] for file in files]
    together = client.post("/score", files=[("file", file) for file in files]).json()["scores"]
    backwards = client.post("/score", files=[("file", file) for file in reversed(files)]).json()["scores"]
    assert together == alone
    assert backwards == list(reversed(alone))
