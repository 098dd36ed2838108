"""How the logits of every class are read where none is named: the identities that hold for every posterior."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from service.packages.calibration import Calibration, Ranking
from service.packages.schema import Platt
from service.packages.unknown_label import UnknownLabelReader

CLASSES = 7
NUMBERS = st.floats(-20, 20, width=32)
LOGITS = arrays(np.float32, st.tuples(st.integers(1, 20), st.just(CLASSES)), elements=NUMBERS)
WEIGHTS = arrays(np.float64, (CLASSES, CLASSES), elements=st.floats(-3, 3))
OFFSETS = arrays(np.float64, CLASSES, elements=st.floats(-3, 3))
CERTAIN = 1e4  # nats: no other class has a probability that a double can hold


def platt(slope: float, intercept: float) -> Calibration:
    fit = Platt(
        method="platt",
        slope=slope,
        intercept=intercept,
        fit_samples=2,
        evaluation_samples=2,
        expected_calibration_error=0,
    )
    return Calibration(fit, Ranking([0.0, 1.0]), Ranking([0.0, 1.0]))


LABELLED = platt(0.7, -0.2)


def reader(weights: NDArray[np.float64], offsets: NDArray[np.float64]) -> UnknownLabelReader:
    return UnknownLabelReader(weights, offsets, LABELLED, platt(1, 0))


@given(LOGITS, WEIGHTS, OFFSETS)
def test_the_odds_without_a_label_lie_between_those_of_the_classes(
    logits: NDArray[np.float32], weights: NDArray[np.float64], offsets: NDArray[np.float64]
) -> None:
    ratios, rounding = LABELLED.log_density_ratio(logits), 1e-9
    read = reader(weights, offsets).read(logits)
    assert (read.log_odds >= ratios.min(axis=1) - rounding).all()
    assert (read.log_odds <= ratios.max(axis=1) + rounding).all()
    assert ((read.label_probabilities >= 1 / CLASSES - rounding) & (read.label_probabilities <= 1)).all()


@given(LOGITS, st.integers(0, CLASSES - 1))
def test_a_class_that_is_certain_is_read_as_if_it_were_named(logits: NDArray[np.float32], label: int) -> None:
    read = reader(np.zeros((CLASSES, CLASSES)), CERTAIN * np.eye(CLASSES)[label]).read(logits)
    assert (read.labels == label).all()
    assert (read.label_probabilities == 1).all()
    assert read.log_odds == pytest.approx(LABELLED.log_density_ratio(logits[:, label]), rel=1e-12, abs=1e-12)


@given(arrays(np.float32, st.integers(1, 20), elements=NUMBERS), WEIGHTS, OFFSETS)
def test_where_every_class_has_the_same_logit_the_label_does_not_matter(
    logit: NDArray[np.float32], weights: NDArray[np.float64], offsets: NDArray[np.float64]
) -> None:
    read = reader(weights, offsets).read(np.repeat(logit[:, np.newaxis], CLASSES, axis=1))
    assert read.log_odds == pytest.approx(LABELLED.log_density_ratio(logit), rel=1e-9, abs=1e-9)


@given(LOGITS, WEIGHTS, OFFSETS)
def test_what_is_read_of_a_sample_does_not_depend_on_the_others(
    logits: NDArray[np.float32], weights: NDArray[np.float64], offsets: NDArray[np.float64]
) -> None:
    together, own = reader(weights, offsets).read(logits), reader(weights, offsets)
    for index in range(len(logits)):
        alone = own.read(logits[index : index + 1])
        assert alone.labels[0] == together.labels[index]
        assert alone.label_probabilities.tobytes() == together.label_probabilities[index : index + 1].tobytes()
        assert alone.log_odds.tobytes() == together.log_odds[index : index + 1].tobytes()


def test_logits_as_large_as_a_float_can_be_are_read_as_numbers() -> None:
    largest = np.finfo(np.float32).max
    logits = np.array([[largest] * CLASSES, [-largest] * CLASSES, [largest, *[-largest] * (CLASSES - 1)]], np.float32)
    read = reader(np.eye(CLASSES), np.zeros(CLASSES)).read(logits)
    assert np.isfinite(read.log_odds).all()
    assert np.isfinite(read.label_probabilities).all()
