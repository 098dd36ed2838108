"""Graphs asked by their own names: the same samples as by seed, and nothing that does not fit reaches a run."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import GenerateJob, InferJob, ScoreJob
from service.engine.model_spec import Array, GraphKind, PackageGraphs, PackageKey
from service.engine.sampling.sampler import labels, latents
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import InvalidRequest, NotFound
from service.metrics import Telemetry
from tests.support.toy import toy_graphs

KEY = PackageKey("toy", 1)
SEEDS = np.arange(7, 12, dtype=np.uint64)
LIMITS = BatchLimits(max_batch_samples=4, queue_samples=64, request_queue_samples=8)
CODES = toy_graphs(categorical=(10,), continuous=((-1.0, 1.0),), encoder=True)
CLASSES = toy_graphs(conditional=True)
FILMS = toy_graphs(kind="item", condition_count=5, prior="gumbel")
COUPLED = toy_graphs(batch_coupled=True)
PLAIN = toy_graphs()


def answers(package: PackageGraphs, *jobs: InferJob) -> list[Mapping[str, Array]]:
    """Load a package, and answer jobs together."""

    async def run() -> list[Mapping[str, Array]]:
        engine = LocalEngine(Runtime(device="cpu", threads=1), LIMITS, Telemetry(CollectorRegistry()))
        await engine.load(package)
        try:
            return await asyncio.gather(*(engine.infer(job) for job in jobs))
        finally:
            await engine.drain(0)

    return asyncio.run(run())


def job(graph: GraphKind = "generator", outputs: tuple[str, ...] = ("sample",), **inputs: Array) -> InferJob:
    return InferJob(package=KEY, graph=graph, inputs=inputs, outputs=outputs)


def drawn(count: int) -> NDArray[np.float32]:
    return latents(SEEDS[:count], 16, "standard_normal")


def generated(package: PackageGraphs, classes: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
    """What a `GenerateJob` of the same seeds answers."""

    async def run() -> NDArray[np.uint8]:
        engine = LocalEngine(Runtime(device="cpu", threads=1), LIMITS, Telemetry(CollectorRegistry()))
        await engine.load(package)
        try:
            samples = await engine.submit(GenerateJob(package=KEY, seeds=SEEDS, labels=classes))
        finally:
            await engine.drain(0)
        assert samples.pixels is not None
        return samples.pixels

    return asyncio.run(run())


@pytest.mark.parametrize("package", [PLAIN, CLASSES, CODES], ids=["plain", "classes", "codes"])
def test_what_is_left_out_is_drawn_from_the_seeds_as_a_generate_job_draws_it(package: PackageGraphs) -> None:
    answer, *_ = answers(package, replace(job(outputs=("pixels",)), seeds=SEEDS))
    np.testing.assert_array_equal(answer["pixels"], generated(package))


def test_what_is_given_wins_over_the_seeds() -> None:
    classes = np.array([3, 1, 4, 1, 5])
    answer, *_ = answers(CLASSES, replace(job(outputs=("pixels",), label=classes), seeds=SEEDS))
    np.testing.assert_array_equal(answer["pixels"], generated(CLASSES, classes))


def test_the_seeds_latents_given_by_hand_make_the_seeds_samples() -> None:
    given = job(outputs=("pixels",), latent=drawn(5), label=labels(SEEDS, 10))
    answer, *_ = answers(CLASSES, given)
    np.testing.assert_array_equal(answer["pixels"], generated(CLASSES))


def test_every_graph_answers_for_itself_and_a_logit_is_the_scores() -> None:
    sample = np.random.default_rng(0).uniform(-1, 1, (5, 1, 8, 8)).astype(np.float32)

    async def run() -> None:
        engine = LocalEngine(Runtime(device="cpu", threads=1), LIMITS, Telemetry(CollectorRegistry()))
        await engine.load(CODES)
        scored = await engine.submit(ScoreJob(package=KEY, sample=sample))
        logits = await engine.infer(job("discriminator", ("logit",), sample=sample))
        codes = await engine.infer(job("encoder", ("code",), sample=sample))
        counted = await engine.statistics(KEY)
        await engine.drain(0)
        assert scored.logits is not None
        np.testing.assert_array_equal(logits["logit"], scored.logits)
        assert codes["code"].shape == (5, 11)
        assert {kind: counts.answered.count for kind, counts in counted.items()} == {
            "discriminator": 2,
            "encoder": 1,
            "generator": 0,
        }

    asyncio.run(run())


def test_only_the_outputs_asked_for_are_answered() -> None:
    pixels, both = answers(
        PLAIN, job(outputs=("pixels",), latent=drawn(5)), job(outputs=("pixels", "sample"), latent=drawn(3))
    )
    assert list(pixels) == ["pixels"]
    assert list(both) == ["pixels", "sample"]
    assert pixels["pixels"].shape == (5, 8, 8, 1)
    assert both["sample"].shape == (3, 1, 8, 8)


def test_a_latent_that_is_not_finite_spoils_no_batch_mate() -> None:
    broken = np.full((2, 16), np.nan, np.float32)
    _, mate = answers(PLAIN, job(latent=broken), job(latent=drawn(2)))
    alone, *_ = answers(PLAIN, job(latent=drawn(2)))
    np.testing.assert_array_equal(mate["sample"], alone["sample"])


def test_a_batch_coupled_graph_judges_a_request_by_itself() -> None:
    sample = np.random.default_rng(0).uniform(-1, 1, (8, 1, 8, 8)).astype(np.float32)
    ask = job("discriminator", ("logit",), sample=sample)
    together, again, alone = answers(COUPLED, ask, ask, job("discriminator", ("logit",), sample=sample[:1]))
    np.testing.assert_array_equal(together["logit"], again["logit"])
    assert together["logit"][0] != alone["logit"][0]


LATENT = drawn(2)
ITEMS = np.array([3, 11])
GUMBEL = np.zeros((2, 12), np.float32)


@pytest.mark.parametrize(
    ("package", "asked", "reason"),
    [
        (PLAIN, job(), "`latent` is missing"),
        (PLAIN, job(outputs=(), latent=LATENT), "at least one output"),
        (PLAIN, job(outputs=("sample", "sample"), latent=LATENT), "only once"),
        (PLAIN, job(outputs=("logit",), latent=LATENT), "sample, pixels"),
        (PLAIN, job(latent=LATENT, label=ITEMS), "there are no others"),
        (PLAIN, job(latent=LATENT.astype(np.float64)), r"FP32 \[-1, 16\]"),
        (PLAIN, job(latent=LATENT[:, :15]), r"not float32 \[2, 15\]"),
        (PLAIN, job(latent=LATENT[0]), r"not float32 \[16\]"),
        (PLAIN, job(latent=LATENT[:0]), "1 or more"),
        (PLAIN, replace(job(latent=LATENT), seeds=SEEDS), "nothing that a seed would draw"),
        (PLAIN, replace(job("discriminator", ("logit",)), seeds=SEEDS), "nothing that a seed would draw"),
        (PLAIN, replace(job(), seeds=SEEDS[:0]), "at least one seed"),
        (PLAIN, replace(job(), seeds=SEEDS + 2**32, sampler="numpy-legacy"), "4294967295"),
        (CLASSES, job(latent=LATENT), "`label` is missing"),
        (CLASSES, job(latent=LATENT, label=np.array([3])), "as many rows"),
        (CLASSES, job(latent=LATENT, label=np.array([3, 10])), "`label` holds numbers from 0 to 9"),
        (CLASSES, job(latent=LATENT, label=np.array([3, -1])), "`label` holds numbers from 0 to 9"),
        (CLASSES, replace(job(label=np.array([3])), seeds=SEEDS), "as many rows"),
        (FILMS, job(latent=GUMBEL, user=np.array([0, 5])), "`user` holds numbers from 0 to 4"),
        (FILMS, replace(job(), seeds=SEEDS), "`user` is missing"),
        (FILMS, job("discriminator", ("logit",), sample=ITEMS + 1, user=ITEMS * 0), "from 0 to 11"),
        (COUPLED, job("discriminator", ("logit",), sample=np.zeros((9, 1, 8, 8), np.float32)), "at most 8"),
    ],
)
def test_a_job_that_does_not_fit_its_graph_is_refused_with_words(
    package: PackageGraphs, asked: InferJob, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        answers(package, asked)


def test_a_graph_that_a_package_has_not_is_not_found() -> None:
    with pytest.raises(NotFound, match="has no encoder"):
        answers(PLAIN, job("encoder", ("latent",), sample=np.zeros((1, 1, 8, 8), np.float32)))
    with pytest.raises(NotFound, match="not loaded"):
        answers(PLAIN, replace(job(latent=LATENT), package=PackageKey("toy", 2)))
