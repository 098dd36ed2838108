"""ONNX Runtime's instances of a graph are all verified, and are as many as the device can use."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from service.engine.backends.base import InstanceGroup
from service.engine.backends.onnxruntime import Session
from service.engine.config import CPU, CUDA, Device, Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import instances_per_batch_size, instances_per_core, onnxruntime_instances
from service.engine.model_spec import Feeds, GraphReport, GraphSpec
from service.errors import GoldenMismatch, GraphRefused
from tests.support.cuda import DEVICE, FakeCuda, fake_cuda
from tests.support.device import cuda_error
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


def load(device: Device) -> tuple[InstanceGroup, GraphReport]:
    return onnxruntime_instances("generator", Runtime(device=device, threads=1), verification(SPEC))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_on_cuda_the_report_names_the_device_and_the_libraries(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    fake_cuda(monkeypatch)
    instances, report = load(device)
    assert (report.provider, report.device, instances.concurrency) == (CUDA, DEVICE, 1)


def test_on_the_cpu_the_report_names_no_device() -> None:
    assert load("cpu")[1].device is None


def test_a_graph_that_fails_on_cuda_is_loaded_on_the_cpu_where_any_device_may_compute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_cuda(monkeypatch, fails_after=5, failure="no_plan")
    instances, report = load("auto")
    assert (report.provider, report.device) == (CPU, None)
    assert instances.release_memory is not None
    assert "generator: it does not run on CUDA: " in caplog.text
    assert "GRAPH_NOT_SUPPORTED" in caplog.text


def test_a_graph_that_fails_on_cuda_is_refused_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, fails_after=5, failure="no_plan")
    with pytest.raises(GraphRefused, match=r"generator: it does not run on CUDA: .*GRAPH_NOT_SUPPORTED"):
        load("cuda")


class Filling(FakeCuda):
    """A card whose memory is full after the smoke run's session and two others."""

    def open(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as onnxruntime has it
        on_cuda = [names for names, _, _ in self.opened if names[0] == CUDA]
        self.refuses = cuda_error("out_of_memory") if len(on_cuda) >= 3 else None
        return super().open(*arguments, **options)


def test_all_sessions_of_a_graph_are_on_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, kind=Filling)
    assert load("auto")[1].provider == CPU


def test_where_the_devices_memory_is_full_a_graph_is_refused_if_cuda_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_cuda(monkeypatch, kind=Filling)
    with pytest.raises(GraphRefused, match=r"cannot load the graph on CUDA: .*Failed to allocate memory"):
        load("cuda")


class Straying(FakeCuda):
    """A card whose sessions are on the CPU after so many runs, as with ONNX Runtime's own fallback."""

    def may_run(self) -> None:
        super().may_run()
        self.opens = self.runs < 20


def test_after_the_verification_sessions_are_asked_again_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch, kind=Straying)
    with pytest.raises(GraphRefused, match="was opened on CUDAExecutionProvider and now runs on CPUExecutionProvider"):
        load("cuda")


def test_what_runs_on_the_cpu_within_a_graph_is_a_warning_and_stands_in_the_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_cuda(monkeypatch, cpu_operators=["Resize"])
    _, report = load("auto")
    assert report.device is not None
    assert (report.provider, report.device.cpu_operators) == (CUDA, ("Resize",))
    assert caplog.text.count("runs these operators of it on the CPU: Resize") == 1


def test_what_runs_on_the_cpu_within_a_graph_is_refused_where_cuda_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_cuda(monkeypatch, cpu_operators=["Resize"])
    with pytest.raises(GraphRefused, match="runs these operators of it on the CPU: Resize"):
        load("cuda")


def test_a_package_without_a_tolerance_for_cuda_runs_on_the_cpu_where_any_device_may_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_cuda(monkeypatch)
    cpu_only = VerificationSpec(identity(), [TOLERANCE], 8, "strict")
    _, report = onnxruntime_instances("generator", Runtime(device="auto", threads=1), cpu_only)
    assert report.provider == CPU
    with pytest.raises(GoldenMismatch, match="states no tolerance for CUDAExecutionProvider"):
        onnxruntime_instances("generator", Runtime(device="cuda", threads=1), cpu_only)
