"""Fixed buckets against batches as they come: the experiment itself, on a provider that every machine has."""

from pathlib import Path

import pytest

from benchmarks.contenders import packages
from benchmarks.experiments import cuda


def test_a_bucket_is_the_smallest_that_holds_the_batch() -> None:
    assert [cuda.bucket_of(size) for size in (1, 2, 3, 33, 64)] == [1, 2, 4, 64, 64]


def test_the_sizes_are_the_same_every_time_and_of_all_buckets() -> None:
    sizes = cuda.sizes(200)
    assert sizes == cuda.sizes(200)
    assert {cuda.bucket_of(size) for size in sizes} == set(cuda.BUCKETS)


def test_both_ways_count_only_samples_that_were_asked_for(tmp_path: Path) -> None:
    model = str(packages.folder_of("zero", tmp_path) / "generator.onnx")
    rows = list(cuda.measure(model, "CPUExecutionProvider", rounds=1, count=5))
    assert [row["way"] for row in rows] == ["as they come", "buckets"]
    assert all(float(row["samples_per_s"] or 0) > 0 for row in rows)


def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cuda.main(["--quick", "--out", str(tmp_path)])
    assert capsys.readouterr().out
