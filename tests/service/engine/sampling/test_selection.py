"""Selection through the engine: a function of the seed alone, of candidates that anybody can draw one by one."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.core.pipeline import select
from service.engine.interface import GenerateJob, Job, Path, Samples, ScoreJob, Selection, SelectionMethod
from service.engine.model_spec import PackageGraphs, PackageKey
from service.engine.sampling.philox import Domain, uniforms
from service.engine.sampling.selection import ROUND_CANDIDATES
from service.engine.sampling.selection_rules import rule_of
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import InvalidRequest, QueueFull
from service.metrics import Telemetry
from tests.support.toy import toy_graphs

KEY = PackageKey("toy", 1)
SEEDS = np.arange(100, 130, dtype=np.uint64)
CANDIDATES = 12
METHODS: tuple[SelectionMethod, ...] = ("best-of", "rejection", "metropolis-hastings")
PACKAGES = {
    "images": toy_graphs(),
    "classes": toy_graphs(conditional=True),
    "codes": toy_graphs(categorical=(10, 3), continuous=((-1.0, 1.0),)),
    "packing vectors": toy_graphs(kind="vector", pack=2),
    "items": toy_graphs(kind="item", condition_count=5, prior="gumbel"),
    "batch-coupled": toy_graphs(batch_coupled=True),
}


def ask(package: PackageGraphs, *jobs: Job) -> list[Samples]:
    """Answer every job, all of them in flight together."""

    async def run() -> list[Samples]:
        limits = BatchLimits(max_batch_samples=8)
        engine = LocalEngine(Runtime(device="cpu", threads=1), limits, Telemetry(CollectorRegistry()))
        await engine.load(package)
        try:
            return await asyncio.gather(*(engine.submit(job) for job in jobs))
        finally:
            await engine.drain(timeout_s=5)

    return asyncio.run(run())


def selecting(
    package: PackageGraphs, method: SelectionMethod = "rejection", place: slice = slice(None), count: int = CANDIDATES
) -> GenerateJob:
    """Choose some of the seeds' samples, and ask for everything there is of them."""
    return GenerateJob(
        package=KEY,
        seeds=SEEDS[place],
        conditions=np.arange(len(SEEDS))[place] % 5 if package.condition_count else None,
        selection=Selection(method=method, candidates=count, gamma=-1.0),
        want_pixels=package.sample_range is not None,
        want_sample=True,
        want_logits=True,
    )


def bytes_of(samples: Samples) -> list[bytes]:
    """What the samples hold, row by row."""
    there = (samples.pixels, samples.sample, samples.logits, samples.labels, samples.codes)
    columns = [column for column in there if column is not None]
    return [b"".join(column[i].tobytes() for column in columns) for i in range(len(columns[0]))]


each_package = pytest.mark.parametrize("package", PACKAGES.values(), ids=PACKAGES.keys())
each_method = pytest.mark.parametrize("method", METHODS)


@each_package
@each_method
def test_the_chosen_one_is_what_its_rule_makes_of_all_candidates_drawn_one_by_one(
    package: PackageGraphs, method: SelectionMethod
) -> None:
    job = selecting(package, method)
    each = (
        replace(job, selection=None, candidates=np.full(len(SEEDS), number, np.uint64)) for number in range(CANDIDATES)
    )
    chosen, *candidates = ask(package, job, *each)
    assert package.discriminator is not None
    assert job.selection is not None
    rule = rule_of(job.selection, package.discriminator.density_ratio, len(SEEDS))
    places = np.zeros(len(SEEDS), int)
    for number, drawn in enumerate(candidates):
        assert drawn.logits is not None
        numbers = uniforms(SEEDS, Domain.SELECTION, 1, np.full(len(SEEDS), number, np.uint64))
        left = rule.active
        moved = left[rule.update(left, drawn.logits[left, np.newaxis].astype(np.float64), numbers[left]) == 0]
        places[moved] = number
    # A lone sample has nothing to differ from its batch's mean in, so that its every candidate scores alike.
    assert len(set(places.tolist())) > 1 or package.discriminator.batch_coupled
    assert bytes_of(chosen) == [bytes_of(candidates[place])[i] for i, place in enumerate(places)]


@each_package
@each_method
def test_a_chosen_sample_is_the_same_alone_among_others_and_backwards(
    package: PackageGraphs, method: SelectionMethod
) -> None:
    alone = (selecting(package, method, slice(i, i + 1)) for i in range(0, len(SEEDS), 5))
    together, backwards, *single = ask(
        package, selecting(package, method), selecting(package, method, slice(None, None, -1)), *alone
    )
    assert bytes_of(backwards)[::-1] == bytes_of(together)
    assert [bytes_of(each)[0] for each in single] == bytes_of(together)[::5]


@pytest.mark.parametrize("name", ["classes", "codes"])
def test_what_a_sample_is_asked_to_be_is_the_same_for_every_candidate(name: str) -> None:
    package = PACKAGES[name]
    chosen, plain = ask(package, selecting(package, "best-of"), replace(selecting(package), selection=None))
    for ours, theirs in ((chosen.labels, plain.labels), (chosen.codes, plain.codes)):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or ours.tolist() == theirs.tolist()
    assert bytes_of(chosen) != bytes_of(plain)


@each_method
def test_of_one_candidate_the_only_one_is_chosen(method: SelectionMethod) -> None:
    package = PACKAGES["images"]
    chosen, plain = ask(package, selecting(package, method, count=1), replace(selecting(package), selection=None))
    assert bytes_of(chosen) == bytes_of(plain)


def test_the_best_of_many_has_a_higher_logit_than_the_best_of_few() -> None:
    package = PACKAGES["images"]
    few, many = ask(package, selecting(package, "best-of", count=2), selecting(package, "best-of", count=100))
    assert few.logits is not None
    assert many.logits is not None
    assert (many.logits >= few.logits).all()
    assert many.logits.mean() > few.logits.mean() + few.logits.std() / 2


def test_a_chosen_samples_logit_is_the_score_of_its_pixels_bit_for_bit() -> None:
    package = PACKAGES["classes"]
    (chosen,) = ask(package, selecting(package))
    (scored,) = ask(package, ScoreJob(package=KEY, pixels=chosen.pixels, labels=chosen.labels))
    assert chosen.logits is not None
    assert scored.logits is not None
    assert scored.logits.tobytes() == chosen.logits.tobytes()


def test_what_is_not_wanted_of_the_chosen_is_not_answered() -> None:
    package = PACKAGES["images"]
    job = replace(selecting(package), want_sample=False, want_logits=False)
    chosen, whole = ask(package, job, selecting(package))
    assert chosen.logits is None
    assert chosen.sample is None
    assert chosen.pixels is not None
    assert whole.pixels is not None
    assert chosen.pixels.tobytes() == whole.pixels.tobytes()


def test_truncated_candidates_are_chosen_among_too() -> None:
    package = PACKAGES["images"]
    job = replace(selecting(package, "best-of"), truncation=0.5)
    chosen, first = ask(package, job, replace(job, selection=Selection(method="best-of", candidates=1)))
    (plain,) = ask(package, replace(job, selection=None))
    assert bytes_of(first) == bytes_of(plain)
    assert bytes_of(chosen) != bytes_of(first)


def select_from(*refused: int) -> int:
    """Select in three rounds from a queue that is full at the numbered draws; returns how often it was asked."""
    asked = 0

    async def draw(job: GenerateJob) -> Samples:
        nonlocal asked
        asked += 1
        if asked in refused:
            raise QueueFull("the queue is full", retry_after_s=0.0)
        assert job.seeds is not None
        return Samples(logits=np.zeros(len(job.seeds), np.float32))

    seeds = np.arange(ROUND_CANDIDATES, dtype=np.uint64)
    job = GenerateJob(package=KEY, seeds=seeds, want_logits=True)
    asyncio.run(select(job, seeds, Selection(method="best-of", candidates=3), None, draw))
    return asked


def test_a_full_queue_refuses_a_selection_that_has_not_begun() -> None:
    with pytest.raises(QueueFull):
        select_from(1)


def test_a_full_queue_is_waited_out_by_a_selection_that_has_begun() -> None:
    assert select_from(2, 3, 5) == 6


def given_latents(job: GenerateJob) -> GenerateJob:
    latents: NDArray[np.float32] = np.zeros((2, 16), np.float32)
    return replace(job, seeds=None, latents=latents)


def on_a_path(job: GenerateJob) -> GenerateJob:
    return replace(job, seeds=None, path=Path(first=1, last=2, positions=np.zeros(2), curve="lerp"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (given_latents, "only seeds have candidates"),
        (on_a_path, "only seeds have candidates"),
        (lambda job: replace(job, sampler="numpy-legacy"), "one drawing"),
        (lambda job: replace(job, candidates=np.zeros(len(SEEDS), np.uint64)), "has its own"),
        (lambda job: replace(job, selection=Selection(method="best-of", candidates=0)), "at least one"),
        (lambda job: replace(job, selection=None, candidates=np.zeros(3, np.uint64)), "30 are needed"),
    ],
)
def test_what_has_no_candidates_is_refused(change: Callable[[GenerateJob], GenerateJob], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        ask(PACKAGES["images"], change(selecting(PACKAGES["images"])))


def test_a_package_without_a_discriminator_cannot_select() -> None:
    blind = toy_graphs(discriminator=False)
    with pytest.raises(InvalidRequest, match="no discriminator"):
        ask(blind, selecting(blind))
