"""Calibrates a discriminator: a map from a logit to the log-odds of *real*, fitted on samples it was not trained on.

A relativistic or Wasserstein critic fixes its logits only up to a shift or a scale, and none is calibrated on its
training data. So the package has a map, fitted on held-out real samples and on samples of the served generator,
quantised as they are sent. At even prior the log-odds of real are log p_data/p_g, so the map also estimates the density
ratio; it is undefined where neither density has samples.

    logits ─┬─ one half ──▶ Platt: slope·logit + intercept
            │           └─▶ piecewise linear: odds of equal shares of the samples, made monotone
            └─ other half ─▶ log loss chooses (the simpler wins ties), calibration error and AUC are reported

Shapes: N, M logits, K knots.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), proposition 1: D* = p_data / (p_data + p_g).
    Platt, Probabilistic Outputs for Support Vector Machines (1999): the sigmoid and its smoothed targets.
    Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates (2002): isotonic.
    Guo et al., On Calibration of Modern Neural Networks (2017), equation 3: expected calibration error.
    Azadi et al., Discriminator Rejection Sampling (2019), section 3: why a GAN's discriminator needs this.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.stats import rankdata

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]

SPLIT_SEED = 0  # which half fits; files are often sorted
MOST_KNOTS = 20
SAMPLES_PER_KNOT = 50  # two standard errors of the log-odds are then about 0.6
# Jeffreys' prior: half a sample on either side keeps odds finite and within what the sample size supports.
PRIOR_COUNT = 0.5
ERROR_BINS = 15  # of Guo et al., here of equal mass, so that none is nearly empty
QUANTILE_POINTS = 101  # whole percents


@dataclass(frozen=True)
class Platt:
    """log-odds = slope * logit + intercept."""

    slope: float
    intercept: float

    def log_odds(self, logits: Numbers) -> Numbers:
        """Apply to logits [N]; nats."""
        return self.slope * logits + self.intercept

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {"method": "platt", "slope": self.slope, "intercept": self.intercept}


@dataclass(frozen=True)
class PiecewiseLinear:
    """Linear between knots, constant beyond them.

    Attributes:
        knots: [K] logits, strictly ascending, K at least 2.
        values: [K] log-odds, ascending.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def log_odds(self, logits: Numbers) -> Numbers:
        """Apply to logits [N]; nats."""
        return np.interp(logits, self.knots, self.values)

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {"method": "piecewise_linear", "logits": list(self.knots), "log_odds": list(self.values)}


Curve = Platt | PiecewiseLinear


@dataclass(frozen=True)
class Calibration:
    """The chosen map, and its figures on samples that it was not fitted on.

    Attributes:
        fit_samples: real and generated together, that it was fitted on.
        evaluation_samples: real and generated together, for the figures below.
        expected_calibration_error: mean gap between predicted and true share of real, over 15 bins of equal mass.
        log_loss: mean -log of the probability given to the truth, nats; log 2 for chance.
        area_under_curve: probability that a real sample's logit is above a generated one's; ties count half.
    """

    curve: Curve
    fit_samples: int
    evaluation_samples: int
    expected_calibration_error: float
    log_loss: float
    area_under_curve: float

    def probability(self, logits: Numbers) -> Numbers:
        """P(real) at even prior for logits [N]."""
        return _sigmoid(self.curve.log_odds(logits))

    def __str__(self) -> str:
        """The figures, for people."""
        return (
            f"error {self.expected_calibration_error:.4f}, area under the curve {self.area_under_curve:.4f}, "
            f"on {self.evaluation_samples:,} samples"
        )

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {
            **self.curve.entry(),
            "fit_samples": self.fit_samples,
            "evaluation_samples": self.evaluation_samples,
            "expected_calibration_error": self.expected_calibration_error,
        }


def calibrate(real: NDArray[np.floating], generated: NDArray[np.floating]) -> Calibration:
    """Fit the map on one random half of the logits and evaluate it on the other.

    Args:
        real: [N] logits of real samples that no network was trained on, N at least 4.
        generated: [N] logits of quantised samples of the served generator; as many, which makes the prior even.

    Returns:
        The map with the lower log loss on the second half; Platt's where the other is not better by more than one
        standard error of the paired difference.

    Raises:
        ValueError: if the counts differ.
    """
    (fit_real, judge_real), (fit_generated, judge_generated) = split(len(real), len(generated))
    fit_logits, fit_truth = _pooled(real[fit_real], generated[fit_generated])
    logits, truth = _pooled(real[judge_real], generated[judge_generated])
    curve: Curve = fit_platt(fit_logits, fit_truth)
    alternative = fit_piecewise_linear(fit_logits, fit_truth)
    if alternative is not None:
        gain = _losses(curve, logits, truth) - _losses(alternative, logits, truth)
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            curve = alternative
    return Calibration(
        curve=curve,
        fit_samples=len(fit_logits),
        evaluation_samples=len(logits),
        expected_calibration_error=expected_calibration_error(_sigmoid(curve.log_odds(logits)), truth),
        log_loss=float(_losses(curve, logits, truth).mean()),
        area_under_curve=area_under_curve(real[judge_real], generated[judge_generated]),
    )


def split(real: int, generated: int) -> tuple[tuple[Rows, Rows], tuple[Rows, Rows]]:
    """Split samples into those to fit and those to evaluate on, the same for the same counts.

    Args:
        real: how many real samples there are.
        generated: how many generated ones; as many, which makes the prior even.

    Returns:
        Of the real ones, then of the generated ones: the rows to fit and the rows to evaluate on, a random half each.

    Raises:
        ValueError: if the counts differ.
    """
    if real != generated:
        raise ValueError(f"{real} real and {generated} generated logits do not make an even prior")
    chance = np.random.default_rng(SPLIT_SEED)
    shuffled_real, shuffled_generated = chance.permutation(real), chance.permutation(generated)
    half = real // 2
    return (shuffled_real[:half], shuffled_real[half:]), (shuffled_generated[:half], shuffled_generated[half:])


def fit_platt(logits: Numbers, truth: NDArray[np.bool_]) -> Platt:
    """Fit slope and intercept by maximum likelihood with Platt's targets.

    The targets (n + 1)/(n + 2) and 1/(n + 2) instead of 1 and 0 keep the slope finite where a threshold separates the
    samples. The slope is at least 0: a discriminator that ranks in the wrong direction gets slope 0.

    Args:
        logits: [N].
        truth: [N], whether real.
    """
    centre, scale = float(logits.mean()), float(logits.std()) or 1.0  # makes the fit independent of shift and scale
    standard = (logits - centre) / scale
    reals = int(truth.sum())
    target = np.where(truth, (reals + 1) / (reals + 2), 1 / (len(truth) - reals + 2))

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        log_odds = parameters[0] * standard + parameters[1]
        residual = _sigmoid(log_odds) - target
        value = (np.logaddexp(0, log_odds) - target * log_odds).mean()
        return float(value), np.array([(residual * standard).mean(), residual.mean()])

    fit = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)])
    slope = float(fit.x[0]) / scale
    return Platt(slope, float(fit.x[1]) - slope * centre)


def fit_piecewise_linear(logits: Numbers, truth: NDArray[np.bool_]) -> PiecewiseLinear | None:
    """Fit a monotone curve through the odds of bins of equal mass.

    Each bin's log-odds are smoothed by Jeffreys' prior, weighted by their precision and made ascending by isotonic
    regression; the knot lies at the bin's mean logit.

    Args:
        logits: [N].
        truth: [N], whether real.

    Returns:
        The curve, or None where there are too few samples or different logits for two knots.
    """
    bins = _equal_mass_bins(logits, min(MOST_KNOTS, len(logits) // SAMPLES_PER_KNOT))
    sizes = np.bincount(bins)
    if len(sizes) <= 1:
        return None
    reals = np.bincount(bins, weights=truth) + PRIOR_COUNT
    fakes = np.bincount(bins, weights=~truth) + PRIOR_COUNT
    precision = 1 / (1 / reals + 1 / fakes)  # of a log-odds ratio, to first order
    values = isotonic_regression(np.log(reals / fakes), weights=precision).x
    knots = np.bincount(bins, weights=logits) / sizes
    return PiecewiseLinear(tuple(knots.tolist()), tuple(values.tolist()))


def expected_calibration_error(probabilities: Numbers, truth: NDArray[np.bool_]) -> float:
    """Mean distance between the predicted and the true share of real, over bins of equal mass.

    Args:
        probabilities: [N] of being real.
        truth: [N], whether real.

    Returns:
        In [0, 1]. Chance alone makes it about sqrt(bins / N) / 2 for a perfect prediction near one half.

    References:
        Guo et al. (2017), equation 3.
    """
    bins = _equal_mass_bins(probabilities, ERROR_BINS)
    gaps = np.bincount(bins, weights=probabilities) - np.bincount(bins, weights=truth)
    return float(np.abs(gaps).sum() / len(probabilities))


def area_under_curve(real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Probability that a real sample outranks a generated one; ties count half.

    Args:
        real: [N] logits.
        generated: [M] logits.

    Returns:
        In [0, 1]; 1/2 is chance.

    References:
        Mann and Whitney (1947).
    """
    ranks = rankdata(np.concatenate([real, generated]))[: len(real)]
    return float((ranks.sum() - len(real) * (len(real) + 1) / 2) / (len(real) * len(generated)))


def quantiles(logits: NDArray[np.floating]) -> list[float]:
    """Quantiles at whole percents, 0 to 100, ascending."""
    values: list[float] = np.quantile(logits.astype(np.float64), np.linspace(0, 1, QUANTILE_POINTS)).tolist()
    return values


def _pooled(real: NDArray[np.floating], generated: NDArray[np.floating]) -> tuple[Numbers, NDArray[np.bool_]]:
    return np.concatenate([real, generated]).astype(np.float64), np.arange(len(real) + len(generated)) < len(real)


def _losses(curve: Curve, logits: Numbers, truth: NDArray[np.bool_]) -> Numbers:
    """[N] -log of the probability of what was true; -log sigmoid(s) = log(1 + exp(-s))."""
    log_odds = curve.log_odds(logits)
    return np.logaddexp(0, np.where(truth, -log_odds, log_odds))


def _equal_mass_bins(values: Numbers, count: int) -> NDArray[np.int64]:
    """[N] bin numbers from 0, ascending with the value, none empty; equal values share a bin."""
    edges = np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]) if count > 1 else np.empty(0)
    _, bins = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    return bins.astype(np.int64)


def _sigmoid(log_odds: Numbers) -> Numbers:
    return np.exp(-np.logaddexp(0, -log_odds))
