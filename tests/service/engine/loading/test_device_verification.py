"""On a device the largest size serves that gives the same bytes in many runs, and its runs are timed under load."""

import math
from collections.abc import Mapping

import pytest

from service.engine.backends.onnxruntime import Session
from service.engine.config import CPU, Reproducibility
from service.engine.loading.batch_invariance import DEVICE_REPEATS, VerificationResult, VerificationSpec, verify
from service.engine.loading.instances import instances_per_batch_size
from service.engine.loading.trials import SPIN_S, TIMED_RUNS
from service.engine.model_spec import GraphReport, GraphSpec
from service.errors import NotReproducible
from tests.support.device import CUDA_TOLERANCE, FakeClock, FakeDevice
from tests.support.graph_makers import TOLERANCE, identity
from tests.support.toy import TOLERANCES, toy_graphs

APART = [(1, 2, 4), (8,), (16, 32)]  # small batches take other kernels, and outnumber the large ones


def verified(
    device: FakeDevice, spec: GraphSpec | None = None, mode: Reproducibility = "strict", max_batch: int = 32
) -> VerificationResult:
    spec = spec or identity()
    device.clock = device.clock or FakeClock()
    verification = VerificationSpec(spec, [TOLERANCE, CUDA_TOLERANCE, *TOLERANCES], max_batch, mode)
    return verify(device.session(spec), verification, device.clock)


def report_of(device: FakeDevice, mode: Reproducibility = "strict", max_batch: int = 32) -> GraphReport:
    return verified(device, mode=mode, max_batch=max_batch).report


def test_a_device_serves_the_sizes_that_agree_with_the_largest() -> None:
    report = report_of(FakeDevice(agreeing=APART))
    assert (report.buckets, report.reproducible) == ((16, 32), True)
    assert report_of(FakeDevice(agreeing=APART), max_batch=8).buckets == (8,)


def test_a_cpu_serves_the_most_sizes_that_agree() -> None:
    assert report_of(FakeDevice(agreeing=APART, provider=CPU)).buckets == (1, 2, 4)


@pytest.mark.parametrize("run_s", [{16: 1e-3, 32: 9.0}, {1: 9.0, 2: 9.0, 4: 9.0}, {}])
def test_which_sizes_serve_does_not_depend_on_what_runs_take(run_s: Mapping[int, float]) -> None:
    assert report_of(FakeDevice(agreeing=APART, run_s=run_s)).buckets == (16, 32)


def test_a_size_that_is_seldom_unsteady_does_not_serve_on_a_device() -> None:
    device = FakeDevice(unsteady={16: DEVICE_REPEATS - 1, 32: DEVICE_REPEATS - 1})
    report = report_of(device)
    assert (report.buckets, report.reproducible) == ((1, 2, 4, 8), True)


def test_a_device_of_which_every_size_is_unsteady_is_refused() -> None:
    device = FakeDevice(unsteady=dict.fromkeys((1, 2, 4), DEVICE_REPEATS - 1))
    with pytest.raises(NotReproducible, match="no batch size gives the same sample twice"):
        report_of(device, max_batch=4)


def test_fast_serves_unsteady_sizes_within_the_tolerance_and_says_so() -> None:
    report = report_of(FakeDevice(unsteady={32: DEVICE_REPEATS - 1}), mode="fast")
    assert (report.buckets, report.reproducible) == ((1, 2, 4, 8, 16, 32), False)


def test_each_arrangement_is_repeated_on_a_device_and_run_once_on_a_cpu() -> None:
    device, cpu = FakeDevice(run_s={4: SPIN_S}), FakeDevice(provider=CPU)
    for each in (device, cpu):
        report_of(each, max_batch=4)
    arrangements = {1: 5 + 32, 2: 3 + 16, 4: 2 + 8}  # in order, then random rows
    replayed, spun = 2, 1
    assert cpu.runs == arrangements | {4: arrangements[4] + replayed}
    assert device.runs == {
        size: count * DEVICE_REPEATS + TIMED_RUNS + (replayed + spun) * (size == 4)
        for size, count in arrangements.items()
    }


def test_a_graph_that_answers_integers_alone_is_served_in_the_largest_batch_of_a_device() -> None:
    spec = toy_graphs(kind="item", condition_count=5).generator
    for provider, buckets in (("CUDAExecutionProvider", (32,)), (CPU, (1,))):
        report = verified(FakeDevice(provider=provider), spec).report
        assert (report.buckets, report.reproducible) == (buckets, True)
    assert verified(FakeDevice(), spec, "fast").report.buckets == (1, 2, 4, 8, 16, 32)


def test_runs_of_a_device_are_timed_when_it_has_been_busy_for_a_while() -> None:
    class Idle(FakeClock):
        """Runs behind the trials take ten times as long until the device has been busy for most of the spinning."""

        warm_at_s = math.inf

        def advance(self, seconds: float) -> None:
            if device.runs.total() == trial_runs + 1:
                self.warm_at_s = self() + 0.9 * SPIN_S
            is_cold = device.runs.total() > trial_runs and self() < self.warm_at_s
            super().advance(seconds * (10 if is_cold else 1))

    trial_runs = (5 + 32 + 3 + 16 + 2 + 8) * DEVICE_REPEATS + 2
    run_s = {1: 1e-3, 2: 2e-3, 4: 3e-3}
    device = FakeDevice(run_s=run_s, clock=Idle())
    assert verified(device, max_batch=4).run_s == pytest.approx(run_s)


def test_with_a_session_a_size_the_costs_are_those_of_the_device() -> None:
    clock, spec = FakeClock(), identity()
    device = FakeDevice(agreeing=APART, run_s={size: 1e-3 * size for size in (1, 2, 4, 8, 16, 32)}, clock=clock)
    verification = VerificationSpec(spec, [CUDA_TOLERANCE], 32, "strict")
    instances, report = instances_per_batch_size(
        device.session(spec), lambda: device.session(spec), verification, clock
    )
    assert report.buckets == (16, 32)
    assert instances.single_thread_s == pytest.approx({16: 16e-3, 32: 32e-3})
    assert len(device.opened) == 6


def test_what_a_cpu_session_reports_does_not_depend_on_the_rule_of_devices() -> None:
    spec = identity()
    session = Session("generator", spec, device="cpu", threads=1)
    assert verify(session, VerificationSpec(spec, [TOLERANCE], 8, "strict")).report.buckets == (1, 2, 4, 8)
