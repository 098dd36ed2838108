"""What crosses between processes comes out as it went in, and nothing else crosses."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from service.engine.core.validation import check_generate
from service.engine.interface import EncodeJob, GenerateJob, InferJob, Path, Samples, ScoreJob, Selection
from service.engine.model_spec import Array, PackageKey
from service.engine.statistics import GraphStatistics, StageTotals, Total
from service.errors import (
    DeadlinePassed,
    GanymedeError,
    GoldenMismatch,
    InvalidRequest,
    NotFound,
    NotReady,
    Problem,
    QueueFull,
    ServiceFault,
    SessionFailed,
)
from service.multiprocess.serialization import pack, pack_error, unpack, unpack_error
from tests.support.toy import toy_graphs
from tests.support.toy_shape import PLAIN

KEY = PackageKey("toy", 3)
VALUES = [
    GenerateJob(package=KEY, seeds=np.arange(3, dtype=np.uint64), timeout_s=0.25),
    GenerateJob(
        package=KEY,
        path=Path(first=2**63 - 1, last=0, positions=np.linspace(0, 1, 3), curve="slerp"),
        codes=np.array([[np.nan, 1.5]]),
        selection=Selection(method="rejection", candidates=4, gamma=-0.5),
    ),
    ScoreJob(package=KEY, pixels=np.zeros((2, 4, 4, 1), np.uint8), labels=np.array([1, 2])),
    EncodeJob(package=KEY, sample=np.ones((1, 2), np.float32)),
    InferJob(package=KEY, graph="generator", inputs={"z": np.ones((1, 2), np.float32)}, outputs=("sample", "pixels")),
    Samples(pixels=np.zeros((0, 4, 4, 1), np.uint8)),
    {"generator": GraphStatistics(batches={4: StageTotals(run=Total(1, 10**15))}, last_answer=1.5)},
    toy_graphs(categorical=(3,), continuous=((0.0, 2.0),), encoder=True),
    (None, True, -1, 2**64, 0.1, float("inf"), "ö", b"\0", ()),
]


def same(one: object, other: object) -> bool:
    """Whether two values are equal, of one type, and their arrays of the same bytes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_out_as_it_went_in(value: object) -> None:
    arrays: list[Array] = []
    plain = pack(value, arrays)
    assert same(unpack(plain, arrays), value)


def test_another_process_does_not_take_over_that_a_job_was_checked() -> None:
    job = GenerateJob(package=KEY, seeds=np.arange(3, dtype=np.uint64))
    check_generate(job, PLAIN)
    arrays: list[Array] = []
    plain = pack(job, arrays)
    assert unpack(plain, arrays).checked_for is None


def test_numbers_that_numpy_made_cross_as_pythons_own() -> None:
    report = Total(count=int(np.int64(3)), ns=np.int64(4))  # type: ignore[arg-type]  # as a careless sum would leave it
    crossed = unpack(pack(report, []), [])
    assert crossed == report
    assert type(crossed.ns) is int


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, [1], lambda: None, Total, 1j], ids=lambda value: type(value).__name__
)
def test_what_is_not_of_the_closed_set_does_not_cross(value: object) -> None:
    with pytest.raises(TypeError, match="does not cross"):
        pack(value, [])


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no such model"),
        InvalidRequest(Problem(("body", "n"), "too many"), Problem(("query",), "unknown")),
        QueueFull("full", 1.5),
        NotReady("loading"),
        DeadlinePassed("late"),
        SessionFailed("failed"),
        GoldenMismatch("generator.onnx: differs"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_as_itself(error: GanymedeError) -> None:
    arrays: list[Array] = []
    crossed = unpack_error(*unpack(pack(pack_error(error), arrays), arrays))
    assert type(crossed) is type(error)
    assert str(crossed) == str(error)
    assert crossed.__dict__ == error.__dict__


def test_an_unexpected_error_crosses_as_a_fault_without_its_words() -> None:
    crossed = unpack_error(*pack_error(KeyError("/home/secret")))
    assert type(crossed) is ServiceFault
    assert "secret" not in str(crossed)
