"""Numbers that are not finite: the package's fault is told as such, only to whom it happens, and counted."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.finite import FinitenessCheck, all_ordinary
from service.engine.interface import GenerateJob, InferJob, ScoreJob
from service.engine.model_spec import GraphSpec, Outputs, PackageGraphs, PackageKey
from service.engine.sampling.sampler import latents
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import NotFinite
from service.metrics import Telemetry
from tests.support.toy import toy_graphs
from tests.support.toy_models import replay

KEY = PackageKey("toy", 1)
PLAIN = toy_graphs(latent_size=3)
BOUND = 2.0
SEEDS = np.arange(200, dtype=np.uint64)
LATENTS = latents(SEEDS, 3, "standard_normal")
BROKEN = (LATENTS > BOUND).any(axis=1)
BAD, GOOD = SEEDS[BROKEN][:2], SEEDS[~BROKEN][:3]


def not_a_number_above(spec: GraphSpec, fed: str, bound: float) -> GraphSpec:
    """The same graph, but that what it answers is NaN where it is fed numbers above a bound; no golden row is."""
    model = onnx.load_from_string(spec.model)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == fed:
                node.input[index] = "sound"
    nodes = [
        helper.make_node("Sub", ["bound", fed], ["distance"]),
        helper.make_node("Sqrt", ["distance"], ["root"]),
        helper.make_node("Sub", ["root", "root"], ["nothing"]),
        helper.make_node("Add", [fed, "nothing"], ["sound"]),
    ]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    model.graph.initializer.append(numpy_helper.from_array(np.array(bound, np.float32), "bound"))
    content = bytes(model.SerializeToString())
    golden = {tensor.name: spec.golden[tensor.name] for tensor in spec.inputs}
    golden[fed] = np.minimum(golden[fed].astype(np.float32), np.float32(bound))
    return replace(spec, model=content, golden=golden | replay(content, golden))


GENERATOR = replace(PLAIN, generator=not_a_number_above(PLAIN.generator, "latent", BOUND))
assert PLAIN.discriminator is not None
JUDGE = replace(PLAIN, discriminator=not_a_number_above(PLAIN.discriminator, "sample", 0.5))


class Bench:
    """An engine with one package."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        runtime = Runtime(device="cpu", threads=1)
        self.engine = LocalEngine(runtime, BatchLimits(max_batch_samples=8), Telemetry(self.registry))

    def counted(self, graph: str) -> float | None:
        labels = {"model": "toy", "graph": graph}
        return self.registry.get_sample_value("ganymede_nonfinite_outputs_total", labels)

    def answers(self, package: PackageGraphs, *jobs: GenerateJob | ScoreJob | InferJob) -> list[object]:
        """What comes of jobs that are asked together."""

        def asked(job: GenerateJob | ScoreJob | InferJob) -> Coroutine[None, None, object]:
            return self.engine.infer(job) if isinstance(job, InferJob) else self.engine.submit(job)

        async def run() -> list[object]:
            await self.engine.load(package)
            try:
                return await asyncio.gather(*map(asked, jobs), return_exceptions=True)
            finally:
                await self.engine.drain(0)

        return asyncio.run(run())


PIXELS = GenerateJob(package=KEY, seeds=GOOD)
FORMS = {
    "pixels": PIXELS,
    "sample": replace(PIXELS, want_pixels=False, want_sample=True),
    "logits": replace(PIXELS, want_pixels=False, want_logits=True),
}


@pytest.mark.parametrize("good", FORMS.values(), ids=FORMS.keys())
def test_a_seed_whose_sample_is_not_finite_is_a_fault_of_the_package_and_spoils_no_batch_mate(
    good: GenerateJob,
) -> None:
    bench = Bench()
    bad = replace(good, seeds=BAD)
    before, fault, after = bench.answers(GENERATOR, good, bad, good)
    assert isinstance(fault, NotFinite)
    assert "the generator of toy/1" in str(fault)
    assert not isinstance(before, Exception)
    assert not isinstance(after, Exception)
    assert bench.counted("generator") == len(BAD)
    assert bench.counted("discriminator") == 0


@pytest.mark.parametrize("output", ["pixels", "sample"])
def test_a_graph_asked_by_its_tensors_names_is_at_fault_too(output: str) -> None:
    bench = Bench()
    good, bad = (
        InferJob(package=KEY, graph="generator", inputs={"latent": LATENTS[rows]}, outputs=(output,))
        for rows in (~BROKEN, np.flatnonzero(BROKEN)[:1])
    )
    fine, fault = bench.answers(GENERATOR, good, bad)
    assert not isinstance(fine, Exception)
    assert isinstance(fault, NotFinite)
    assert bench.counted("generator") == 1


def test_a_logit_that_is_not_finite_names_the_discriminator() -> None:
    bench = Bench()
    dark, bright = (np.full((1, 8, 8, 1), value, np.uint8) for value in (0, 255))
    fine, fault = bench.answers(JUDGE, ScoreJob(package=KEY, pixels=dark), ScoreJob(package=KEY, pixels=bright))
    assert not isinstance(fine, Exception)
    assert isinstance(fault, NotFinite)
    assert "the discriminator of toy/1" in str(fault)
    assert bench.counted("discriminator") == 1


@pytest.mark.parametrize("absurd", [np.nan, np.inf, 1e30])
def test_inputs_that_are_not_finite_or_absurdly_large_are_computed_as_they_are(absurd: float) -> None:
    bench = Bench()
    given = np.full((1, 3), absurd, np.float32)
    job = InferJob(package=KEY, graph="generator", inputs={"latent": given}, outputs=("sample",))
    (answer,) = bench.answers(GENERATOR, job)
    assert not isinstance(answer, Exception)
    assert bench.counted("generator") == 0


def test_ids_and_what_was_not_given_are_always_ordinary() -> None:
    assert all_ordinary([None, np.array([2**62]), np.array([1e6], np.float32)])
    assert not all_ordinary([np.zeros(3, np.float32), np.array([-1.1e6])])


def test_the_rows_are_found_in_whichever_output_they_are() -> None:
    finite = FinitenessCheck(("one", "other"), "a graph")
    batch: Outputs = {"one": np.zeros((4, 2, 2), np.float32), "other": np.zeros(4, np.float16)}
    assert finite.nonfinite_rows(batch) is None
    batch["one"][1, 0, 1] = np.nan
    batch["other"][3] = -np.inf
    rows = finite.nonfinite_rows(batch)
    assert rows is not None
    assert rows.tolist() == [False, True, False, True]
