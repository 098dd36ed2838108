"""When a measurement is made again, and what share of the ceiling a rate is."""

import pytest

from benchmarks.load import cells
from benchmarks.load.closed_loop import Load

LOAD = Load(requests=10, wall_s=2.0, p50_s=0.1, p90_s=0.1, p99_s=0.1, worst_s=0.1, generator_cpu_s=0.0)


def test_a_server_that_uses_what_was_left_to_it_reaches_the_ceiling() -> None:
    assert cells.share_of_ceiling(1500, 0.5, 2000, 0.0, 2) == pytest.approx(1.0)
    assert cells.share_of_ceiling(1500, 0.0, 2000, 0.0, 2) == pytest.approx(0.75)
    assert cells.share_of_ceiling(1000, 0.0, 1000, 1.0, 2) == pytest.approx(0.5)


def test_a_load_is_run_at_most_as_often_as_allowed_and_counted_in_samples() -> None:
    runs = []

    def load() -> Load:
        runs.append(1)
        return LOAD

    row = cells.measure(load, None, 16, attempts=2)
    assert 1 <= len(runs) <= 2
    assert row["samples_per_s"] == 80
    assert row["quiet"] is (float(row["foreign_cores"] or 0) <= cells.FOREIGN_LIMIT)
