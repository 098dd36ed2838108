"""From a logit to P(real) and a density ratio, and what selection by that ratio draws.

References:
    Platt, Probabilistic Outputs for Support Vector Machines (1999).
    Azadi et al., Discriminator Rejection Sampling (2019), section 3.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from training.export.calibration import Numbers, calibrate, expected_calibration_error
from training.objectives import LeastSquares
from training.verification.figures.base import BLACK, BLUE, GREEN, ORANGE, SOFT, Drawing, panels
from training.verification.games import trained_critic
from training.verification.laws import GRID, NEAR, TWO_HILLS, density, integral, jensen_shannon

SAMPLES: Final = 20_000
SEED: Final = 0
STEPS: Final = 600
BINS: Final = 15
LEAST_DENSITY: Final = 0.01  # where there is less, hardly a sample has trained the critic


def calibration(steps: int = STEPS) -> Drawing:
    """Calibrate a least-squares critic, whose logits are no log-odds, on held-out samples, and select by the ratio.

    Args:
        steps: of the critic.

    Returns:
        Facts: the calibration error of sigmoid(logit) and of the calibrated probability; and the JSD from the data, in
        nats, of the generator and of its samples accepted in proportion to the estimated ratio.
    """
    critic = trained_critic(LeastSquares(), TWO_HILLS, NEAR, steps)
    chance = np.random.default_rng(SEED)
    real, generated = (
        critic(torch.from_numpy(law.sample(chance, SAMPLES).astype(np.float64))).numpy() for law in (TWO_HILLS, NEAR)
    )
    half = SAMPLES // 2
    fitted = calibrate(real[:half], generated[:half])
    logits, truth = np.concatenate([real[half:], generated[half:]]), np.arange(SAMPLES) < half
    probabilities = {"sigmoid(logit)": 1 / (1 + np.exp(-logits)), "calibrated": fitted.probability(logits)}
    errors = {name: expected_calibration_error(values, truth) for name, values in probabilities.items()}

    figure, (reliability, ratio, selected) = panels(3, wide=0.86)
    reliability.plot([0, 1], [0, 1], color=SOFT, linestyle=":", label="as stated")
    for (name, values), colour, marker in zip(probabilities.items(), (ORANGE, BLUE), ("s", "o"), strict=True):
        reliability.plot(*_reliability(values, truth), color=colour, marker=marker, markersize=4, label=name)
    reliability.set(
        title="A least-squares logit is no log-odds; calibrated, it is",
        xlabel="P(real), as stated",
        ylabel="share that is real",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    reliability.legend()

    p, q = density(TWO_HILLS), density(NEAR)
    shown = p + q > LEAST_DENSITY
    estimate = np.exp(fitted.curve.log_odds(critic(torch.from_numpy(GRID)[:, None]).numpy()))
    ratio.plot(GRID[shown], (p / q)[shown], color=BLACK, linestyle="--", label="p/q")
    ratio.plot(GRID[shown], estimate[shown], color=BLUE, label="exp(calibrated log-odds)")
    ratio.set(title="P/(1 − P) estimates the density ratio", xlabel="sample x", ylabel="ratio p/q", ylim=(0, 2.4))
    ratio.legend(loc="upper right")

    accepted = q * estimate / integral(q * estimate)
    selected.fill_between(GRID[shown], p[shown], color=SOFT, alpha=0.4, linewidth=0, label="p, the data")
    selected.plot(GRID[shown], q[shown], color=ORANGE, linestyle="--", label="q, the generator")
    selected.plot(GRID[shown], accepted[shown], color=GREEN, label="q, accepted by the ratio")
    selected.set(title="Selection by the ratio draws nearly p", xlabel="sample x", ylabel="density", ylim=(0, None))
    selected.legend(loc="lower center", fontsize=7)
    return Drawing(
        figure,
        {
            "raw_error": errors["sigmoid(logit)"],
            "calibrated_error": errors["calibrated"],
            "jsd": jensen_shannon(p, q),
            "selected_jsd": jensen_shannon(p, np.maximum(accepted, np.finfo(np.float64).tiny)),
        },
    )


def _reliability(probabilities: Numbers, truth: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Mean stated probability and share of real samples, in bins of equal mass; equal values share a bin."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, probabilities, side="right")
    kept = [bins == number for number in np.unique(bins)]
    return [float(probabilities[part].mean()) for part in kept], [float(truth[part].mean()) for part in kept]
