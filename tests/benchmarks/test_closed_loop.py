"""What is asked of a server, and how wrk's report is read."""

import json

import pytest

from benchmarks.contenders.contenders import triton_work
from benchmarks.load.closed_loop import LoadFailed, json_work, read

RESULT = (
    'RESULT {"requests": 1000, "duration_us": 2000000, "bytes": 9, "p50_us": 1500.0, "p90_us": 1800.0, '
    '"p99_us": 2500.0, "max_us": 9000.0, "refused": %d, "broken": %d}\n'
)


def test_a_body_is_json_with_its_seed() -> None:
    work = json_work("http://127.0.0.1/generate", 16, model="zero")
    assert json.loads(work.body(7)) == {"model": "zero", "n": 16, "seed": 7}


def test_a_body_for_triton_is_json_with_both_numbers() -> None:
    body = json.loads(triton_work("http://127.0.0.1/v2/models/generator/infer", 16).body(7))
    assert {tensor["name"]: tensor["data"] for tensor in body["inputs"]} == {"count": [16], "first": [7]}


def test_a_report_is_read_in_seconds() -> None:
    load = read("Running 2s test\n" + RESULT % (0, 0), 0.25)
    assert (load.requests, load.wall_s, load.p50_s, load.worst_s) == pytest.approx((1000, 2.0, 0.0015, 0.009))
    assert load.generator_cpu_s == 0.25


@pytest.mark.parametrize("report", [RESULT % (1, 0), RESULT % (0, 1), "unable to connect"])
def test_a_load_that_was_not_answered_well_is_no_result(report: str) -> None:
    with pytest.raises(LoadFailed):
        read(report, 0.0)
