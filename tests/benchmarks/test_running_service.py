"""The harness end to end, as small as it can be: our service in a process, held to its work, loaded in every way."""

import asyncio
import os
import random
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import workplace
from benchmarks.capacity.calibration import Effort, Target, calibrate, generating, saturated_per_s
from benchmarks.capacity.check import predict
from benchmarks.capacity.simulation import Fleet
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Launch, Server, ask
from benchmarks.experiments import burst, overload, serving
from benchmarks.load import cells
from benchmarks.load.arrivals import poisson, until
from benchmarks.load.closed_loop import LoadFailed, json_work
from benchmarks.load.connection import exactly
from benchmarks.report.figures import number

SETTING = Setting(network="zero")
PIXELS = (28, 28, 1)
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[int, int]]:
    """The pid and the port of the service with `zero`."""
    workplace.prepare()
    port = free_port()
    with Server(OURS.launch(SETTING, port)) as server:
        server.first_answer(OURS.work(SETTING, port, 1))
        yield server.pid, port


def test_the_service_does_the_work_that_is_timed(served: tuple[int, int]) -> None:
    serving.check(OURS.work(SETTING, served[1], 3), PIXELS)


def test_a_server_that_answers_something_else_is_not_timed(served: tuple[int, int]) -> None:
    with pytest.raises(LoadFailed, match="bytes for 3 samples"):
        serving.check(OURS.work(SETTING, served[1], 3, "png"), PIXELS)
    with pytest.raises(LoadFailed, match="404"):
        ask(json_work(f"http://127.0.0.1:{served[1]}/generate", 1, model="none"), 0)


@needs_wrk
def test_a_closed_loop_tells_rate_times_and_processor_time(served: tuple[int, int]) -> None:
    pid, port = served
    row = cells.measure(cells.closed(OURS.work(SETTING, port, 2), 4, 1.0), pid, 2, attempts=1)
    assert number(row, "samples_per_s") == pytest.approx(2 * number(row, "requests") / number(row, "wall_s"))
    assert 0 < number(row, "p50_s") <= number(row, "p99_s") <= number(row, "worst_s")
    assert number(row, "server_cores") > 0


def test_an_open_loop_answers_every_request_that_was_due(served: tuple[int, int]) -> None:
    pid, port = served
    row = cells.measure(cells.constant(OURS.work(SETTING, port, 1), 20, 1.0), pid, 1, attempts=1)
    assert row["requests"] == 20


def test_a_crowd_is_answered_to_the_last(served: tuple[int, int]) -> None:
    times = exactly(burst.send_burst(OURS.work(SETTING, served[1], 1), callers=20, requests=2))
    assert len(times) == 40
    assert np.min(times) > 0


def test_an_overload_counts_who_is_answered_in_time_and_who_is_not(served: tuple[int, int]) -> None:
    work = OURS.work(SETTING, served[1], 1)
    due_s = until(poisson(200, random.Random(0)), 0.5)  # noqa: S311 - a load, not a secret
    in_time, too_late = (asyncio.run(overload.flood(work, due_s, deadline_ms)) for deadline_ms in (30_000, 1))
    assert len(in_time) == len(too_late) == len(due_s)
    assert all(asked.good for asked in in_time)
    assert not all(asked.good for asked in too_late)
    assert asyncio.run(overload.capacity(work, 0.2)) > 0


def test_a_running_service_is_calibrated_for_the_simulation(served: tuple[int, int]) -> None:
    target = Target(*served, SETTING.network)
    effort = Effort(requests=4, probes=3, pauses=5, saturated_s=0.2)
    with generating([0]):
        assert os.sched_getaffinity(0) == {0}
        profile = calibrate([target], 2, effort)
        assert saturated_per_s([target], 2, effort) > 0
    assert set(profile.run_s) <= set(target.buckets)
    assert all(len(seconds) == effort.requests and min(seconds) > 0 for seconds in profile.run_s.values())
    assert 0 < profile.request_s < 0.1
    assert (len(profile.wake_s), len(profile.after_idle)) == (effort.probes, effort.pauses)
    predicted = predict(Fleet(profile=profile), [0.0, 0.5, 1.0])
    assert number(predicted, "predicted_p50_s") >= profile.request_s + min(profile.run_s[2])


def test_a_server_that_ends_at_once_is_told_with_its_words() -> None:
    workplace.prepare()
    log = workplace.LOGS / "ends.log"
    with (
        Server(Launch(command=["sh", "-c", "echo no such setting"], log=log)) as server,
        pytest.raises(LoadFailed, match="no such setting"),
    ):
        server.first_answer(json_work(f"http://127.0.0.1:{free_port()}/", 1))
