"""Reads a conditional discriminator without a label: the class that fits best, and the log-odds of real.

    logits of every class ─┬─▶ softmax regression ──▶ P(y|x), whose largest names the label ─┐
                           └─▶ the labelled calibration ──▶ P(real|x, y) ────────────────────┴─▶ log-odds of P(real|x)

By the law of total probability, P(real|x) = Σ_y P(y|x)·P(real|x, y), where P(y|x) is the posterior of the class among
real and generated samples together. The logits themselves are no such posterior: the discriminator was never shown a
sample under a wrong class, so its logits there are arbitrary, and the highest logit often belongs to a wrong class. So
the posterior is fitted on samples of known classes, and the log-odds are calibrated once more, since neither factor is
exact; both are evaluated on the other half of the samples.

Shapes: N samples, K classes.

References:
    Guo et al., On Calibration of Modern Neural Networks (2017), section 4.2: matrix scaling.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from training.export.calibration import Calibration, Curve, Numbers, calibrate, quantiles, split

Labels = NDArray[np.int64]

MOST_CLASSES: Final = 64  # of the package format: every class is a run of the discriminator
# Of weights on standardised logits: a normal prior of deviation one, which a hundred samples outweigh.
WEIGHT_PENALTY = 1.0


@dataclass(frozen=True)
class ClassPosterior:
    """P(y|x), as softmax(logits @ weights + offsets).

    Attributes:
        weights: [K, K], of every logit for every class.
        offsets: [K].
    """

    weights: Numbers
    offsets: Numbers

    def log_probabilities(self, logits: Numbers) -> Numbers:
        """Apply to the logits of every class [N, K]; [N, K], nats."""
        values: Numbers = log_softmax(logits @ self.weights + self.offsets, axis=1)
        return values


@dataclass(frozen=True)
class UnknownLabel:
    """Reading of a discriminator without a label.

    Attributes:
        calibration: from the log-odds of `mean_log_odds` to calibrated log-odds.
        real_quantiles: of `mean_log_odds` of held-out real samples.
        generated_quantiles: of `mean_log_odds` of generated samples.
        label_accuracy: share of held-out real samples, not used for fitting, that are given their own class.
    """

    posterior: ClassPosterior
    calibration: Calibration
    real_quantiles: list[float]
    generated_quantiles: list[float]
    label_accuracy: float

    def __str__(self) -> str:
        """The figures, for people."""
        return f"{self.calibration}; {self.label_accuracy:.1%} of held-out samples are given their own class"

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {
            "weights": self.posterior.weights.tolist(),
            "offsets": self.posterior.offsets.tolist(),
            "label_accuracy": self.label_accuracy,
            "calibration": self.calibration.entry(),
            "reference_quantiles": {"real": self.real_quantiles, "generated": self.generated_quantiles},
        }

    def figures(self) -> dict[str, float]:
        """The figures as plain values, for the manifest's provenance."""
        return {
            "area_under_curve": self.calibration.area_under_curve,
            "log_loss": self.calibration.log_loss,
            "expected_calibration_error": self.calibration.expected_calibration_error,
            "evaluation_samples": self.calibration.evaluation_samples,
            "label_accuracy": self.label_accuracy,
        }


def calibrate_unknown_label(
    real: NDArray[np.floating],
    real_labels: Labels,
    generated: NDArray[np.floating],
    generated_labels: Labels,
    labelled: Curve,
) -> UnknownLabel:
    """Fit posterior and calibration on the halves that fitted the labelled one, and evaluate both on the others.

    Args:
        real: [N, K] logits of held-out real samples under every class.
        real_labels: [N], their own classes.
        generated: [N, K] logits of as many generated samples under every class.
        generated_labels: [N], their requested classes.
        labelled: from a logit under a sample's own class to the log-odds of P(real|x, y).

    Raises:
        ValueError: if the counts differ.
    """
    logits, others = real.astype(np.float64), generated.astype(np.float64)
    (fit_real, judge_real), (fit_generated, _) = split(len(real), len(generated))
    posterior = fit_posterior(
        np.concatenate([logits[fit_real], others[fit_generated]]),
        np.concatenate([real_labels[fit_real], generated_labels[fit_generated]]),
    )
    of_real, of_generated = (mean_log_odds(posterior, labelled, each) for each in (logits, others))
    named = posterior.log_probabilities(logits[judge_real]).argmax(axis=1)
    return UnknownLabel(
        posterior=posterior,
        calibration=calibrate(of_real, of_generated),
        real_quantiles=quantiles(of_real),
        generated_quantiles=quantiles(of_generated),
        label_accuracy=float((named == real_labels[judge_real]).mean()),
    )


def fit_posterior(logits: Numbers, labels: Labels) -> ClassPosterior:
    """Fit softmax regression by maximum likelihood, with a small penalty that keeps separable classes finite.

    Args:
        logits: [N, K] of every class.
        labels: [N] in 0 … K − 1.

    Returns:
        The posterior, the unique optimum of a convex problem.
    """
    classes = logits.shape[1]
    centre, scale = logits.mean(axis=0), logits.std(axis=0)
    scale[scale == 0] = 1.0  # a constant logit has no information
    standard, truth = (logits - centre) / scale, np.eye(classes)[labels]

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        weights, offsets = parameters[classes:].reshape(classes, classes), parameters[:classes]
        log_probabilities = log_softmax(standard @ weights + offsets, axis=1)
        residual = np.exp(log_probabilities) - truth
        value = -(log_probabilities * truth).sum() + WEIGHT_PENALTY / 2 * (weights**2).sum()
        slope = standard.T @ residual + WEIGHT_PENALTY * weights
        return float(value) / len(logits), np.concatenate([residual.sum(axis=0), slope.ravel()]) / len(logits)

    fit = minimize(loss, np.zeros(classes + classes**2), jac=True, method="L-BFGS-B", options={"maxiter": 1_000})
    weights = fit.x[classes:].reshape(classes, classes) / scale[:, np.newaxis]
    return ClassPosterior(weights, fit.x[:classes] - centre @ weights)


def mean_log_odds(posterior: ClassPosterior, labelled: Curve, logits: Numbers) -> Numbers:
    """Compute the log-odds of Σ_y P(y|x)·P(real|x, y).

    Args:
        labelled: from a logit under a sample's own class to the log-odds of P(real|x, y).
        logits: [N, K] of every class.

    Returns:
        [N], nats; between the lowest and the highest log-odds of a sample's classes.
    """
    log_probabilities, log_odds = posterior.log_probabilities(logits), labelled.log_odds(logits)
    # log σ(s) = −log(1 + exp(−s)), and log(1 − σ(s)) = −log(1 + exp(s)): exact at both ends
    real = logsumexp(log_probabilities - np.logaddexp(0, -log_odds), axis=1)
    generated = logsumexp(log_probabilities - np.logaddexp(0, log_odds), axis=1)
    values: Numbers = real - generated
    return values
