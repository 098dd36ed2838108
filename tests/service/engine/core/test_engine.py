"""The engine through its one door: real packages, real sessions, many callers."""

import asyncio
import math
import pickle
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.backends.onnxruntime import Session
from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import Engine, GenerateJob, Samples, ScoreJob
from service.engine.model_spec import Array, GraphSpec, PackageGraphs, PackageKey, Prior, TensorSpec
from service.engine.sampling.sampler import labels, latents
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import DeadlinePassed, GoldenMismatch, InvalidRequest, NotFound, NotReady, QueueFull
from service.metrics import Telemetry
from tests.support.gate import PATIENCE_S
from tests.support.graph_makers import GOLDEN_LATENT, OUTPUTS, TOLERANCE, Maker, identity, slow_above_one
from tests.support.toy import toy_graphs

ON_CPU = Runtime(device="cpu", threads=1)
SMALL_QUEUE = BatchLimits(max_batch_samples=8, queue_samples=64, request_queue_samples=16)
KEY = PackageKey("toy", 1)
AGES = 100_000  # samples that take seconds: whoever waits for so many waits long
MANY = 20_000  # samples that take longer than loading a toy
PLAIN = toy_graphs()
SLOW = toy_graphs("slow", height=64, width=64, golden_count=64)

JUDGES = {
    "plain": toy_graphs(),
    "conditional": toy_graphs(conditional=True),
    "packing": toy_graphs(pack=3),
    "batch-coupled": toy_graphs(batch_coupled=True),
    "colour": toy_graphs(channels=3, sample_range=(0.0, 1.0)),
}


class Bench:
    """An engine with packages, and what it counted."""

    def __init__(self, limits: BatchLimits, runtime: Runtime) -> None:
        self.registry = CollectorRegistry()
        self.engine: Engine = LocalEngine(runtime, limits, Telemetry(self.registry))

    async def start(self, job: GenerateJob | ScoreJob) -> asyncio.Task[Samples]:
        """Submit, and come back when the job is under way."""
        task = asyncio.create_task(self.engine.submit(job))
        await asyncio.sleep(0)  # a turn of the event loop for the task,
        await asyncio.sleep(0)  # and one for a worker to be woken
        return task

    def rejected(self, reason: str) -> float:
        return self.registry.get_sample_value("ganymede_rejected_total", {"reason": reason}) or 0.0


def with_engine(
    scenario: Callable[[Bench], Awaitable[None]],
    *packages: PackageGraphs,
    limits: BatchLimits = SMALL_QUEUE,
    runtime: Runtime = ON_CPU,
) -> None:
    async def run() -> None:
        bench = Bench(limits, runtime)
        for package in packages:
            await bench.engine.load(package)
        try:
            await asyncio.wait_for(scenario(bench), 60)
        finally:
            await bench.engine.drain(timeout_s=0)

    asyncio.run(run())


def model_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(("toy-", "late-"))]


def all_end(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(PATIENCE_S)
    return not any(thread.is_alive() for thread in threads)


def seeds(first: int, count: int) -> NDArray[np.uint64]:
    return np.arange(first, first + count, dtype=np.uint64)


def everything(first: int, count: int) -> GenerateJob:
    return GenerateJob(package=KEY, seeds=seeds(first, count), want_sample=True, want_logits=True)


def same(part: Samples, whole: Samples, start: int) -> bool:
    """Whether each array of `part` has the bytes of `whole`, from sample `start` on."""
    pairs = [
        (part.pixels, whole.pixels),
        (part.sample, whole.sample),
        (part.logits, whole.logits),
        (part.labels, whole.labels),
    ]
    return all(
        (ours is None) == (theirs is None)
        and (ours is None or theirs is None or ours.tobytes() == theirs[start : start + len(ours)].tobytes())
        for ours, theirs in pairs
    )


@pytest.mark.parametrize("package", JUDGES.values(), ids=JUDGES.keys())
def test_a_seed_gives_the_same_bytes_alone_in_a_batch_and_among_200_callers(package: PackageGraphs) -> None:
    async def scenario(bench: Bench) -> None:
        together = await bench.engine.submit(everything(0, 200))
        callers = [bench.engine.submit(everything(seed, 1)) for seed in range(200)]
        for seed, alone in enumerate(await asyncio.gather(*callers)):
            assert same(alone, together, seed)
        backwards = await bench.engine.submit(
            GenerateJob(package=KEY, seeds=seeds(0, 200)[::-1], want_sample=True, want_logits=True)
        )
        assert backwards.sample is not None
        assert together.sample is not None
        assert backwards.sample[::-1].tobytes() == together.sample.tobytes()

    with_engine(scenario, package, limits=BatchLimits())


@pytest.mark.parametrize("package", [JUDGES["conditional"], SLOW], ids=["small", "large"])
def test_bytes_do_not_depend_on_how_many_cores_compute_them(package: PackageGraphs) -> None:
    answers: list[list[Samples]] = []

    async def scenario(bench: Bench) -> None:
        lone = [await bench.engine.submit(of_seeds(seed, 1)) for seed in range(3)]
        together = [bench.engine.submit(of_seeds(3 * caller, 1 + caller % 5)) for caller in range(40)]
        answers.append(lone + await asyncio.gather(*together))

    def of_seeds(first: int, count: int) -> GenerateJob:
        return replace(everything(first, count), package=package.key)

    for cores in (1, 2):
        with_engine(scenario, package, limits=BatchLimits(), runtime=Runtime(device="cpu", threads=cores))
    on_one, on_two = answers
    assert all(same(ours, theirs, 0) for ours, theirs in zip(on_one, on_two, strict=True))


def test_each_graph_that_is_worth_it_has_a_worker_per_core() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.engine.submit(replace(everything(0, 1), package=SLOW.key))
        names = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("slow-generator"))
        assert names == ["slow-generator-1", "slow-generator-2"]

    with_engine(scenario, SLOW, limits=BatchLimits(), runtime=Runtime(device="cpu", threads=2))


@pytest.mark.parametrize("package", JUDGES.values(), ids=JUDGES.keys())
def test_a_generated_logit_equals_the_score_of_the_samples_own_pixels_bit_for_bit(package: PackageGraphs) -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.engine.submit(everything(7, 5))
        assert made.pixels is not None
        assert made.logits is not None
        for i in range(5):
            given = None if made.labels is None else made.labels[i : i + 1]
            scored = await bench.engine.submit(ScoreJob(package=KEY, pixels=made.pixels[i : i + 1], labels=given))
            assert scored.logits is not None
            assert scored.logits.tobytes() == made.logits[i : i + 1].tobytes()

    with_engine(scenario, package)


@pytest.mark.parametrize("prior", ["standard_normal", "uniform", "gumbel"])
def test_samples_are_the_generators_answer_to_the_seeds_latents(prior: Prior) -> None:
    package = toy_graphs(prior=prior)
    z = latents(seeds(3, 6), package.latent_size, prior)
    expected = Session("generator", package.generator, device="cpu", threads=1).compute(
        {"latent": z}, ["sample", "pixels"]
    )

    async def scenario(bench: Bench) -> None:
        for noise in (
            GenerateJob(package=KEY, seeds=seeds(3, 6), want_sample=True),
            GenerateJob(package=KEY, latents=z, want_sample=True),
        ):
            made = await bench.engine.submit(noise)
            assert made.sample is not None
            assert made.sample.tobytes() == expected["sample"].tobytes()
            assert made.pixels is not None
            assert made.pixels.tobytes() == expected["pixels"].tobytes()

    with_engine(scenario, package)


def test_the_legacy_sampler_reaches_the_generator() -> None:
    async def scenario(bench: Bench) -> None:
        z = latents(seeds(3, 2), PLAIN.latent_size, "standard_normal", "numpy-legacy")
        by_seed = await bench.engine.submit(GenerateJob(package=KEY, seeds=seeds(3, 2), sampler="numpy-legacy"))
        by_latent = await bench.engine.submit(GenerateJob(package=KEY, latents=z))
        assert same(by_seed, by_latent, 0)

    with_engine(scenario, PLAIN)


def test_labels_left_out_are_drawn_from_the_seeds_and_labels_given_are_used() -> None:
    async def scenario(bench: Bench) -> None:
        drawn = await bench.engine.submit(everything(0, 20))
        assert drawn.labels is not None
        assert drawn.labels.tolist() == labels(seeds(0, 20), 10).tolist()
        given = await bench.engine.submit(replace(everything(0, 20), labels=drawn.labels))
        assert same(given, drawn, 0)
        others = await bench.engine.submit(replace(everything(0, 20), labels=(drawn.labels + 1) % 10))
        assert others.sample is not None
        assert drawn.sample is not None
        assert not (others.sample == drawn.sample).all(axis=(1, 2, 3)).any()

    with_engine(scenario, JUDGES["conditional"])


def test_an_answer_holds_exactly_what_was_asked_for() -> None:
    async def scenario(bench: Bench) -> None:
        for pixels, sample, logits in [(True, False, False), (False, True, False), (False, False, True)]:
            job = GenerateJob(
                package=KEY, seeds=seeds(0, 2), want_pixels=pixels, want_sample=sample, want_logits=logits
            )
            made = await bench.engine.submit(job)
            there = [each is not None for each in (made.pixels, made.sample, made.logits)]
            assert there == [pixels, sample, logits]
            assert made.labels is None

    with_engine(scenario, PLAIN)


def test_a_batch_coupled_score_is_of_the_callers_own_group_only() -> None:
    package = JUDGES["batch-coupled"]
    assert package.discriminator is not None
    spec = package.discriminator
    groups = [np.random.default_rng(i).uniform(-1, 1, (i + 2, 1, 8, 8)).astype(np.float32) for i in range(6)]
    session = Session("discriminator", spec, "cpu", threads=1)
    expected = [session.compute({"sample": group}, ["logit"])["logit"] for group in groups]

    async def scenario(bench: Bench) -> None:
        jobs = [bench.engine.submit(ScoreJob(package=KEY, sample=group)) for group in groups]
        for scored, alone in zip(await asyncio.gather(*jobs), expected, strict=True):
            assert scored.logits is not None
            assert scored.logits.tobytes() == alone.tobytes()
        with pytest.raises(InvalidRequest, match="at most 16"):
            await bench.engine.submit(ScoreJob(package=KEY, sample=np.zeros((17, 1, 8, 8), np.float32)))

    with_engine(scenario, package)


@pytest.mark.parametrize(
    "package",
    [
        JUDGES["conditional"],
        toy_graphs(conditional=True, pack=2),
        toy_graphs(conditional=True, batch_coupled=True),
        toy_graphs(conditional=True, kind="vector"),
    ],
    ids=["plain", "packing", "batch-coupled", "vectors"],
)
def test_samples_without_labels_have_the_logits_that_each_class_named_would_give_them(package: PackageGraphs) -> None:
    shape = (11, 2) if package.sample_range is None else (11, 1, 8, 8)  # 110 rows: several batches of a full queue
    sample = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    async def scenario(bench: Bench) -> None:
        unnamed = await bench.engine.submit(ScoreJob(package=KEY, sample=sample))
        assert unnamed.logits is not None
        assert (unnamed.logits.shape, unnamed.labels) == ((11, 10), None)
        for label in range(10):
            named = await bench.engine.submit(ScoreJob(package=KEY, sample=sample, labels=np.full(11, label)))
            assert named.logits is not None
            assert named.logits.tobytes() == unnamed.logits[:, label].tobytes()

    with_engine(scenario, package)


def test_pixels_without_labels_are_judged_as_pixels_with_them() -> None:
    async def scenario(bench: Bench) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
        unnamed = await bench.engine.submit(ScoreJob(package=KEY, pixels=pixels))
        named = await bench.engine.submit(ScoreJob(package=KEY, pixels=pixels, labels=np.array([4, 0, 9])))
        assert unnamed.logits is not None
        assert named.logits is not None
        assert named.logits.tobytes() == unnamed.logits[[0, 1, 2], [4, 0, 9]].tobytes()

    with_engine(scenario, JUDGES["conditional"])


def test_a_lone_sample_does_not_wait_for_all_classes_of_a_thousand_others() -> None:
    package = toy_graphs(conditional=True, label_count=64)

    async def scenario(bench: Bench) -> None:
        pixels = np.zeros((1024, 8, 8, 1), np.uint8)
        many = await bench.start(ScoreJob(package=KEY, pixels=pixels))
        await bench.engine.submit(ScoreJob(package=KEY, pixels=pixels[:1], labels=np.array([0])))
        assert not many.done()
        logits = (await many).logits
        assert logits is not None
        assert logits.shape == (1024, 64)

    with_engine(scenario, package, limits=BatchLimits())


def test_more_classes_than_may_be_judged_have_to_be_named() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(InvalidRequest, match="told each sample's label"):
            await bench.engine.submit(ScoreJob(package=KEY, pixels=np.zeros((1, 8, 8, 1), np.uint8)))

    with_engine(scenario, toy_graphs(conditional=True, label_count=65))


def test_a_package_of_vectors_is_drawn_and_judged_without_pixels() -> None:
    judge = Maker()
    judge.node("ReduceSum", "sample", judge.constant(np.array([1])), keepdims=0, output="logit")
    logit = TensorSpec("logit", "FP32", (-1,), "logit")
    golden: dict[str, Array] = {"sample": GOLDEN_LATENT, "logit": GOLDEN_LATENT.sum(axis=1)}
    package = replace(
        PLAIN,
        generator=identity(),
        discriminator=GraphSpec(judge.model(OUTPUTS, (logit,)), OUTPUTS, (logit,), golden),
        latent_size=3,
        tolerances=(TOLERANCE,),
    )

    async def scenario(bench: Bench) -> None:
        made = await bench.engine.submit(replace(everything(0, 4), want_pixels=False))
        assert made.sample is not None
        assert made.logits == pytest.approx(made.sample.sum(axis=1), abs=1e-6)
        scored = await bench.engine.submit(ScoreJob(package=KEY, sample=made.sample))
        assert scored.logits is not None
        assert made.logits is not None
        assert scored.logits.tobytes() == made.logits.tobytes()

    with_engine(scenario, package)


def test_a_package_without_a_discriminator_refuses_to_judge() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(InvalidRequest, match="no discriminator"):
            await bench.engine.submit(everything(0, 1))
        with pytest.raises(InvalidRequest, match="no discriminator"):
            await bench.engine.submit(ScoreJob(package=KEY, pixels=np.zeros((1, 8, 8, 1), np.uint8)))
        await bench.engine.submit(GenerateJob(package=KEY, seeds=seeds(0, 1)))

    with_engine(scenario, toy_graphs(discriminator=False))


def test_a_small_job_does_not_wait_for_a_large_one() -> None:
    async def scenario(bench: Bench) -> None:
        large = await bench.start(GenerateJob(package=KEY, seeds=seeds(0, AGES)))
        for seed in range(5):
            await bench.engine.submit(GenerateJob(package=KEY, seeds=seeds(seed, 1)))
        assert not large.done()

    with_engine(scenario, PLAIN)


def test_a_job_larger_than_the_queue_is_answered_whole() -> None:
    async def scenario(bench: Bench) -> None:
        large, other = await asyncio.gather(
            bench.engine.submit(everything(0, 500)), bench.engine.submit(everything(250, 300))
        )
        assert large.pixels is not None
        assert len(large.pixels) == 500
        assert other.pixels is not None
        assert other.pixels[:250].tobytes() == large.pixels[250:].tobytes()

    with_engine(scenario, PLAIN)


def test_a_deadline_fails_its_own_job_only() -> None:
    async def scenario(bench: Bench) -> None:
        late = await bench.start(GenerateJob(package=KEY, seeds=seeds(0, AGES), timeout_s=0.05))
        other = await bench.start(everything(5, 20))
        with pytest.raises(DeadlinePassed):
            await late
        assert same(await other, await bench.engine.submit(everything(5, 20)), 0)
        assert bench.rejected("deadline") == 1

    with_engine(scenario, PLAIN)


def test_a_cancelled_job_leaves_the_queue_and_changes_no_other() -> None:
    async def scenario(bench: Bench) -> None:
        gone = await bench.start(GenerateJob(package=KEY, seeds=seeds(0, AGES)))
        other = await bench.start(everything(5, 20))
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert same(await other, await bench.engine.submit(everything(5, 20)), 0)
        assert bench.rejected("cancelled") == 1
        queued = bench.registry.get_sample_value("ganymede_queue_samples", {"model": "toy", "graph": "generator"})
        assert queued == 0

    with_engine(scenario, PLAIN)


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.engine.submit(everything(0, 8))  # a first run, to measure
        waiting = [await bench.start(GenerateJob(package=KEY, seeds=seeds(0, AGES))) for _ in range(4)]
        with pytest.raises(QueueFull) as refusal:
            await bench.engine.submit(GenerateJob(package=KEY, seeds=seeds(0, 16)))
        assert refusal.value.retry_after_s is not None
        assert refusal.value.retry_after_s > 0
        assert bench.rejected("queue_full") == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    with_engine(scenario, PLAIN, limits=replace(SMALL_QUEUE, queue_wait_s=math.inf))


def test_samples_that_are_made_wait_for_a_discriminator_whose_queue_is_full() -> None:
    async def scenario(bench: Bench) -> None:
        many = np.zeros((MANY, 8, 8, 1), np.uint8)
        scoring = [await bench.start(ScoreJob(package=KEY, pixels=many)) for _ in range(4)]
        with pytest.raises(QueueFull):
            await bench.engine.submit(ScoreJob(package=KEY, pixels=many[:16]))
        made = await bench.engine.submit(everything(0, 16))
        assert made.logits is not None
        await asyncio.gather(*scoring)

    with_engine(scenario, PLAIN, limits=replace(SMALL_QUEUE, queue_wait_s=math.inf))


def test_only_loaded_packages_are_found() -> None:
    async def scenario(bench: Bench) -> None:
        with pytest.raises(NotFound, match="toy/1 is not loaded"):
            await bench.engine.submit(everything(0, 1))
        await bench.engine.load(PLAIN)
        await bench.engine.submit(everything(0, 1))
        with pytest.raises(NotFound, match="toy/2"):
            await bench.engine.submit(replace(everything(0, 1), package=PackageKey("toy", 2)))
        await bench.engine.unload(KEY)
        await bench.engine.unload(KEY)
        with pytest.raises(NotFound):
            await bench.engine.submit(everything(0, 1))

    with_engine(scenario)


def test_unloading_finishes_the_jobs_there_are_and_frees_the_model_threads() -> None:
    async def scenario(bench: Bench) -> None:
        threads = model_threads()
        job = await bench.start(everything(0, 300))
        await bench.engine.unload(KEY)
        assert job.done()
        assert (await job).logits is not None
        assert all_end(threads)

    with_engine(scenario, PLAIN)


def test_a_package_that_is_refused_disturbs_nothing() -> None:
    golden = {name: values + 1 if name == "sample" else values for name, values in PLAIN.generator.golden.items()}
    damaged = replace(PLAIN, generator=replace(PLAIN.generator, golden=golden))

    async def scenario(bench: Bench) -> None:
        before = await bench.engine.submit(everything(0, 4))
        with pytest.raises(GoldenMismatch):
            await bench.engine.load(damaged)
        assert same(await bench.engine.submit(everything(0, 4)), before, 0)

    with_engine(scenario, PLAIN)


def test_jobs_are_answered_while_another_package_loads() -> None:
    async def scenario(bench: Bench) -> None:
        load = asyncio.create_task(bench.engine.load(SLOW))
        await bench.engine.submit(everything(0, 1))
        assert not load.done()
        report = await load
        assert report.load_s > 0
        assert report.discriminator is not None

    with_engine(scenario, PLAIN, limits=BatchLimits())


def test_a_package_loaded_again_takes_over_and_the_old_one_finishes() -> None:
    other_weights = toy_graphs(seed=1)

    async def scenario(bench: Bench) -> None:
        before = await bench.engine.submit(everything(0, 4))
        running = await bench.start(everything(0, MANY))
        await bench.engine.load(other_weights)
        assert same(before, await running, 0)
        after = await bench.engine.submit(everything(0, 4))
        assert after.sample is not None
        assert before.sample is not None
        assert (after.sample != before.sample).any()

    with_engine(scenario, PLAIN)


def test_draining_finishes_what_is_there_and_refuses_what_comes() -> None:
    async def scenario(bench: Bench) -> None:
        threads = model_threads()
        job = await bench.start(everything(0, 300))
        drain = asyncio.create_task(bench.engine.drain(timeout_s=60))
        await asyncio.sleep(0)  # a turn of the event loop for the task,
        await asyncio.sleep(0)  # and one for a worker to be woken
        with pytest.raises(NotReady):
            await bench.engine.submit(everything(0, 1))
        with pytest.raises(NotReady):
            await bench.engine.load(toy_graphs("late"))
        await drain
        assert job.done()
        assert (await job).logits is not None
        assert bench.rejected("draining") == 1
        assert all_end(threads)
        assert model_threads() == []

    with_engine(scenario, PLAIN)


def test_draining_fails_what_is_left_when_time_is_up() -> None:
    async def scenario(bench: Bench) -> None:
        threads = model_threads()
        job = await bench.start(GenerateJob(package=KEY, seeds=seeds(0, AGES)))
        await bench.engine.drain(timeout_s=0.01)
        with pytest.raises(NotReady):
            await job
        assert all_end(threads)

    with_engine(scenario, PLAIN)


def test_jobs_packages_and_answers_can_go_to_another_process() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.engine.load(pickle.loads(pickle.dumps(PLAIN)))  # noqa: S301 - our own bytes
        job = pickle.loads(pickle.dumps(everything(0, 3)))  # noqa: S301
        made = await bench.engine.submit(job)
        assert same(pickle.loads(pickle.dumps(made)), made, 0)  # noqa: S301

    with_engine(scenario)


def test_each_graph_has_a_model_thread_of_its_own() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.engine.submit(everything(0, 1))
        assert sorted(thread.name for thread in model_threads()) == ["toy-discriminator-1", "toy-generator-1"]

    with_engine(scenario, PLAIN)


@pytest.mark.alone
def test_a_run_that_takes_long_unforeseen_holds_neither_the_event_loop_nor_its_own_deadline() -> None:
    """A caller who comes alone, to a graph that took microseconds whenever it was run before."""
    package = replace(
        PLAIN, generator=slow_above_one(4_000), discriminator=None, latent_size=3, tolerances=(TOLERANCE,)
    )

    def job(first: float) -> GenerateJob:
        given = np.array([[first, 0, 0]], np.float32)
        return GenerateJob(package=KEY, latents=given, want_pixels=False, want_sample=True, timeout_s=0.2)

    async def scenario(bench: Bench) -> None:
        loop = asyncio.get_running_loop()
        silent_s = [0.0]

        async def beat() -> None:
            while True:
                before = loop.time()
                await asyncio.sleep(0.005)
                silent_s.append(loop.time() - before)

        for _ in range(20):
            await bench.engine.submit(job(0.0))
        heart = asyncio.create_task(beat())
        began = loop.time()
        with pytest.raises(DeadlinePassed):
            await bench.engine.submit(job(2.0))
        assert loop.time() - began < 0.6
        heart.cancel()
        assert max(silent_s) < 0.2
        await bench.engine.drain(PATIENCE_S)  # the run ends

    with_engine(scenario, package)
