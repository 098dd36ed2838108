"""Scores without a label on densities whose ratio is known, and the identities that hold for every posterior."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from training.export.calibration import Platt, split
from training.export.unknown_label import ClassPosterior, Labels, calibrate_unknown_label, fit_posterior, mean_log_odds

Array = NDArray[np.float64]
MEANS = np.array([-4.0, 0.0, 3.0])
AS_IT_IS = Platt(1.0, 0.0)
COUNT = 20_000
LOGITS = arrays(np.float64, st.tuples(st.integers(1, 10), st.just(3)), elements=st.floats(-20, 20))
SQUARE = arrays(np.float64, (3, 3), elements=st.floats(-3, 3))


def log_density(x: Array, shift: float) -> Array:
    """Log of Σ_y N(x; m_y + shift, 1)/3, less the constant of every normal; [N]."""
    density: Array = np.logaddexp.reduce(-((x[:, np.newaxis] - MEANS - shift) ** 2) / 2, axis=1) - np.log(3)
    return density


def logits_of(x: Array) -> Array:
    """Log p(x|y)/q(x|y) of p = N(m_y + ½, 1) and q = N(m_y − ½, 1): x − m_y, exact under every class; [N, 3].

    The highest is always that of the lowest mean, whatever class a sample is of.
    """
    logits: Array = x[:, np.newaxis] - MEANS
    return logits


def drawn(shift: float, seed: int, count: int = COUNT) -> tuple[Array, Labels]:
    chance = np.random.default_rng(seed)
    labels = chance.integers(3, size=count)
    return chance.normal(MEANS[labels] + shift, 1), labels


def test_the_exact_odds_without_a_label_are_recovered_from_the_exact_odds_with_one() -> None:
    (real, real_labels), (generated, generated_labels) = drawn(0.5, 0), drawn(-0.5, 1)
    found = calibrate_unknown_label(logits_of(real), real_labels, logits_of(generated), generated_labels, AS_IT_IS)
    x = np.linspace(-6, 5, 40)
    statistic = mean_log_odds(found.posterior, AS_IT_IS, logits_of(x))
    exact = log_density(x, 0.5) - log_density(x, -0.5)
    assert found.calibration.curve.log_odds(statistic) == pytest.approx(exact, abs=0.25)
    assert found.calibration.expected_calibration_error < 0.02


def test_the_class_is_named_although_its_logit_is_not_the_highest() -> None:
    (real, real_labels), (generated, generated_labels) = drawn(0.5, 0), drawn(-0.5, 1)
    found = calibrate_unknown_label(logits_of(real), real_labels, logits_of(generated), generated_labels, AS_IT_IS)
    highest = logits_of(real).argmax(axis=1)
    assert (highest == real_labels).mean() < 0.4
    named = found.posterior.log_probabilities(logits_of(real)).argmax(axis=1)
    assert (named == real_labels).mean() > 0.9
    assert found.label_accuracy == pytest.approx((named == real_labels).mean(), abs=0.01)


def test_the_accuracy_is_of_real_samples_that_fitted_nothing() -> None:
    (real, real_labels), (generated, generated_labels) = drawn(0.5, 0, 400), drawn(-0.5, 1, 400)
    (_, judging), _ = split(400, 400)
    wrong = real_labels.copy()
    wrong[judging] = (wrong[judging] + 1) % 3  # a fit on these would show it
    found = calibrate_unknown_label(logits_of(real), wrong, logits_of(generated), generated_labels, AS_IT_IS)
    assert found.label_accuracy < 0.15


def test_classes_that_nothing_tells_apart_are_as_likely_as_they_are_frequent() -> None:
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    posterior = fit_posterior(np.full((1_000, 3), 4.0), labels)
    assert np.exp(posterior.log_probabilities(np.full((1, 3), 4.0)))[0] == pytest.approx([0.7, 0.2, 0.1], abs=1e-3)


def test_classes_that_a_line_separates_get_finite_weights() -> None:
    labels = np.repeat([0, 1], 100)
    logits = np.stack([np.where(labels == 0, 1.0, -1.0), np.zeros(200)], axis=1)
    posterior = fit_posterior(logits, labels)
    assert np.abs(posterior.weights).max() < 20
    assert np.exp(posterior.log_probabilities(logits))[np.arange(200), labels].min() > 0.9


def test_the_posterior_does_not_depend_on_the_logits_scale_or_shift() -> None:
    x, labels = drawn(0.0, 2, 2_000)
    logits = logits_of(x)
    scale, shift = np.array([1e-3, 1.0, 1e3]), np.array([5.0, -1e4, 0.0])
    plain = fit_posterior(logits, labels).log_probabilities(logits)
    moved = fit_posterior(scale * logits + shift, labels).log_probabilities(scale * logits + shift)
    assert np.exp(moved) == pytest.approx(np.exp(plain), abs=2e-3)


@given(LOGITS, SQUARE)
def test_the_mean_lies_between_the_odds_of_the_classes(logits: Array, weights: Array) -> None:
    mean = mean_log_odds(ClassPosterior(weights, np.zeros(3)), AS_IT_IS, logits)
    assert (mean >= logits.min(axis=1) - 1e-9).all()
    assert (mean <= logits.max(axis=1) + 1e-9).all()


@given(LOGITS, st.integers(0, 2))
def test_of_a_class_that_is_certain_the_odds_are_its_labelled_odds(logits: Array, label: int) -> None:
    certain = ClassPosterior(np.zeros((3, 3)), 1e4 * np.eye(3)[label])
    assert mean_log_odds(certain, Platt(0.7, -0.2), logits) == pytest.approx(0.7 * logits[:, label] - 0.2)


def test_counts_that_differ_are_refused() -> None:
    (real, real_labels), (generated, generated_labels) = drawn(0.5, 0, 100), drawn(-0.5, 1, 99)
    with pytest.raises(ValueError, match="100 real and 99 generated"):
        calibrate_unknown_label(logits_of(real), real_labels, logits_of(generated), generated_labels, AS_IT_IS)


def test_the_manifests_words_are_plain_numbers() -> None:
    (real, real_labels), (generated, generated_labels) = drawn(0.5, 0, 200), drawn(-0.5, 1, 200)
    found = calibrate_unknown_label(logits_of(real), real_labels, logits_of(generated), generated_labels, AS_IT_IS)
    entry = json.loads(json.dumps(found.entry()))
    assert np.shape(entry["weights"]) == (3, 3)
    assert len(entry["offsets"]) == 3
    assert entry["calibration"]["fit_samples"] == entry["calibration"]["evaluation_samples"] == 200
    assert len(entry["reference_quantiles"]["real"]) == len(entry["reference_quantiles"]["generated"]) == 101
