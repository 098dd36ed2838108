"""ONNX Runtime's instances of a graph are all verified, and are as many as the device can use."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from service.engine.backends.onnxruntime import Session
from service.engine.config import Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import instances_per_batch_size, instances_per_core, onnxruntime_instances
from service.engine.model_spec import Feeds, GraphSpec
from tests.support.graph_makers import GOLDEN_LATENT, TOLERANCE, identity, shifted_from
from tests.support.toy import TOLERANCES, toy_graphs

TINY = 2.0**-20  # within the tolerance, and exact in float32 next to the golden latents
SPEC = toy_graphs(height=160, width=160).generator  # a run of a millisecond or so, worth spreading over cores


def verification(spec: GraphSpec, max_batch: int = 8) -> VerificationSpec:
    return VerificationSpec(spec, [*TOLERANCES, TOLERANCE], max_batch, "strict")


def session(spec: GraphSpec, threads: int = 1) -> Session:
    return Session("generator", spec, device="cpu", threads=threads)


def golden_feeds(batch: int) -> Feeds:
    return {"latent": np.resize(SPEC.golden["latent"], (batch, SPEC.golden["latent"].shape[1]))}


def test_on_several_cores_there_is_a_worker_per_core_and_a_session_of_all_cores_with_the_same_bytes() -> None:
    instances, report = onnxruntime_instances("generator", Runtime(device="cpu", threads=2), verification(SPEC))
    assert instances.concurrency == 2
    assert instances.all_cores is not None
    assert report.buckets == tuple(instances.single_thread_s) == (1, 2, 4, 8)
    assert tuple(instances.all_cores_s) == (1, 2)
    for batch in instances.all_cores_s:
        single_thread = instances.single_thread.compute(golden_feeds(batch), ["sample"])["sample"]
        all_cores = instances.all_cores.compute(golden_feeds(batch), ["sample"])["sample"]
        assert single_thread.tobytes() == all_cores.tobytes()


def test_after_memory_is_released_the_sessions_answer_as_before_also_while_they_run() -> None:
    instances, _ = onnxruntime_instances("generator", Runtime(device="cpu", threads=2), verification(SPEC))
    assert instances.all_cores is not None
    assert instances.release_memory is not None
    feeds = golden_feeds(8)
    expected = instances.single_thread.compute(feeds, ["sample"])["sample"].tobytes()
    answers: list[bytes] = []

    def run() -> None:
        answers.extend(instances.single_thread.compute(feeds, ["sample"])["sample"].tobytes() for _ in range(20))

    running = threading.Thread(target=run)
    running.start()
    while running.is_alive():
        instances.release_memory()
    assert answers == [expected] * 20
    all_cores = instances.all_cores.compute(golden_feeds(2), ["sample"])["sample"]
    assert all_cores.tobytes() == instances.single_thread.compute(golden_feeds(2), ["sample"])["sample"].tobytes()


def test_a_session_that_was_tried_and_is_not_used_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Session]] = []

    def noted(*arguments: Any, **options: Any) -> Session:  # noqa: ANN401 - as they come
        opened = Session(*arguments, **options)
        made.append(weakref.ref(opened))
        return opened

    monkeypatch.setattr("service.engine.loading.instances.Session", noted)
    monkeypatch.setattr(
        "service.engine.loading.batch_invariance.VerificationResult.repeat", lambda *_: {}
    )  # never the same bytes
    instances, _ = onnxruntime_instances("generator", Runtime(device="cpu", threads=2), verification(SPEC))
    gc.collect()
    assert instances.all_cores is None
    assert [reference() for reference in made] == [instances.single_thread, None]


def test_a_run_that_is_over_before_other_cores_are_awake_is_not_spread() -> None:
    instances, _ = onnxruntime_instances("generator", Runtime(device="cpu", threads=2), verification(identity()))
    assert (instances.concurrency, instances.all_cores, instances.all_cores_s) == (2, None, {})


def test_on_one_core_there_is_one_worker_and_no_session_of_all_cores() -> None:
    instances, report = onnxruntime_instances("generator", Runtime(device="cpu", threads=1), verification(SPEC))
    assert (instances.concurrency, instances.all_cores, instances.all_cores_s) == (1, None, {})
    assert instances.single_thread_s.keys() == set(report.buckets)


def test_a_session_of_all_cores_with_other_bytes_is_not_used() -> None:
    other = toy_graphs(height=160, width=160, seed=1).generator
    instances, report = instances_per_core(session(SPEC), lambda _: session(other), 2, verification(SPEC))
    assert (instances.concurrency, instances.all_cores, instances.all_cores_s) == (2, None, {})
    assert report.buckets == (1, 2, 4, 8)


def test_a_batch_coupled_graph_has_a_worker_per_core_and_no_batch_sizes() -> None:
    spec = toy_graphs(batch_coupled=True).discriminator
    assert spec is not None
    instances, report = onnxruntime_instances("discriminator", Runtime(device="cpu", threads=2), verification(spec))
    assert (instances.concurrency, instances.all_cores, instances.single_thread_s, report.buckets) == (2, None, {}, ())


def test_with_a_session_a_size_each_size_is_opened_once_and_only_those_that_serve_are_kept() -> None:
    """As on CUDA, where a session plans its convolutions for one size; here on the CPU, with sizes that disagree."""
    spec = shifted_from(batch=4, shift=TINY)
    opened = []

    def another() -> Session:
        opened.append(session(spec))
        return opened[-1]

    instances, report = instances_per_batch_size(session(spec), another, verification(spec, max_batch=16))
    assert len(opened) == 4  # beside the first: for 2, 4, 8 and 16
    assert report.buckets == tuple(instances.single_thread_s) == (4, 8, 16)
    assert (instances.concurrency, instances.all_cores) == (1, None)
    latent = np.resize(GOLDEN_LATENT, (8, GOLDEN_LATENT.shape[1]))
    assert (
        instances.single_thread.compute({"latent": latent}, ["sample"])["sample"].tolist() == (latent + TINY).tolist()
    )
    with pytest.raises(KeyError):
        instances.single_thread.compute({"latent": latent[:1]}, ["sample"])


def test_with_a_session_a_size_a_batch_coupled_graph_keeps_one_session_for_all() -> None:
    spec = toy_graphs(batch_coupled=True).discriminator
    assert spec is not None
    instances, _ = instances_per_batch_size(session(spec), lambda: pytest.fail("one is enough"), verification(spec))
    assert instances.concurrency == 1
    for group in (2, 3):
        assert (
            len(instances.single_thread.compute({"sample": spec.golden["sample"][:group]}, ["logit"])["logit"]) == group
        )
