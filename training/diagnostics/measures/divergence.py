"""Lower bounds on divergences of data and generator, from the discriminator's logits.

Every critic maximises a quantity that no critic can push above a divergence of the two distributions, so its value on
samples is a lower bound of that divergence (in expectation, on samples that it was not fitted to), for any critic:

    log-odds        JSD(p, q)            >= (V - V_eq) / 2       V   = E log D(x) + E log(1 - D(G(z))), V_eq = -log 4
    relativistic    JSD(p x q, q x p)    >= log 2 - L            L   = E softplus(D(G(z)) - D(x)), over all pairs
    hinge           TV(p, q)             >= 1 - L / 2            L   = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))
    least squares   LeCam(p, q)          >= 1 - 2 L              L   = [E (D(x) - b)^2 + E (D(G(z)) - a)^2]/(b - a)^2
    f-GAN           D_f(p, q)            >= F                    F   = E T(x) - E f*(T(G(z))), T = g_f(D)
    Wasserstein     lip(D) * W1(p, q)    >= E D(x) - E D(G(z))   lip(D) is unknown, so only changes are meaningful

Under one-sided smoothing the value is V = E [alpha log D(x) + (1 - alpha) log(1 - D(x))] + E log(1 - D(G(z))). The
optimal critic alpha p/(p + q) is the posterior of a noisy label, "real" with probability alpha on real samples and
never on generated ones, so (V* - V_eq) / 2 is the mutual information of sample and noisy label, which cannot exceed
that of sample and true label: JSD(p, q). So the bound holds, with V_eq = -2 h(alpha/2), h the binary entropy; at the
equilibrium D = alpha/2; where p and q are disjoint it reaches h(alpha/2) - h(alpha)/2 only.

Logits of a packed discriminator compare m-fold products, those of a conditional one the joint distributions with the
labels. Bounds on JSD are in nats; TV, total variation, and LeCam, half the integral of (p - q)^2 / (p + q), are in
[0, 1].

Shapes: B real and N generated logits.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), theorem 1. Salimans et al. (2016), section 3.4.
    Jolicoeur-Martineau, On Relativistic f-Divergences (2020): the relativistic value as a divergence of pairs.
    Lim and Ye, Geometric GAN (2017). Mao et al., Least Squares GANs (2017), section 3.2. Le Cam (1986), section 4.2.
    Nowozin, Cseke and Tomioka, f-GAN (2016), equation 4. Arjovsky, Chintala and Bottou, Wasserstein GAN (2017),
    equation 2.
"""

import math
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus

from training.objectives.base import Objective
from training.objectives.fgan import FGan
from training.objectives.least_squares import CODINGS, LeastSquares

Readings = dict[str, float]

LOG_ODDS: Final = frozenset({"minimax", "non_saturating"})  # families whose logit is that of D = P(real)


@runtime_checkable
class Smoothed(Protocol):
    """An objective with one-sided label smoothing; `real_target` is alpha."""

    real_target: float


def readings(objective: Objective, real_logits: Tensor, fake_logits: Tensor) -> Readings:
    """Compute the figures that a critic's logits give for the objective's divergence.

    Args:
        real_logits: [B], of samples that the critic was not trained on where there are such.
        fake_logits: [N].

    Returns:
        `paired_accuracy`, the probability that a real sample's logit exceeds a generated one's (1/2 at equilibrium),
        and the family's own figures.
    """
    real, fake = real_logits.double().flatten(), fake_logits.double().flatten()
    return {**_of_family(objective, real, fake), "paired_accuracy": _paired_accuracy(real, fake)}


def equilibrium(alpha: float) -> tuple[float, float]:
    """Compute D and the value of the game for a perfect generator.

    Args:
        alpha: the target on real samples, in (0, 1]; 1 without smoothing.

    Returns:
        D, alpha/2; and the value V there in nats, -2 h(alpha/2), which is -log 4 for alpha 1.
    """
    answer = alpha / 2
    return answer, 2 * (answer * math.log(answer) + (1 - answer) * math.log1p(-answer))


def target_of(objective: Objective) -> float:
    """Alpha, the target on real samples; 1 for objectives without smoothing."""
    return objective.real_target if isinstance(objective, Smoothed) else 1.0


def log_odds_bound(real: Tensor, fake: Tensor, alpha: float = 1.0) -> Readings:
    """Compute the bound on JSD from logits of D = P(real).

    Args:
        real: [B] logits.
        fake: [N] logits.
        alpha: the target on real samples.

    Returns:
        V and its distance from the equilibrium's, the bound on JSD(p, q), D's means on both kinds of samples, and how
        far D is from alpha/2 on average (0 at the equilibrium only; the mean of D itself is alpha/2 for every optimal
        D).
    """
    answer, resting = equilibrium(alpha)
    on_real = alpha * logsigmoid(real) + (1 - alpha) * logsigmoid(-real)
    value = float(on_real.mean() + logsigmoid(-fake).mean())
    return {
        "value": value,
        "value_gap": value - resting,
        "jsd_bound": (value - resting) / 2,
        "d_real": float(real.sigmoid().mean()),
        "d_generated": float(fake.sigmoid().mean()),
        "d_distance": float((torch.cat([real, fake]).sigmoid() - answer).abs().mean()),
    }


def pairs_bound(real: Tensor, fake: Tensor) -> float:
    """A bound on JSD(p x q, q x p), from [B] and [N] logits; it is reached by D = log p/q plus any constant."""
    return math.log(2) - float(softplus(fake[None, :] - real[:, None]).mean())


def margins_bound(real: Tensor, fake: Tensor) -> float:
    """A bound on TV(p, q), from [B] and [N] logits; it is reached by D = sign(p - q)."""
    return 1 - float(relu(1 - real).mean() + relu(1 + fake).mean()) / 2


def squares_bound(real: Tensor, fake: Tensor, generated_target: float, real_target: float) -> float:
    """A bound on LeCam(p, q), from [B] and [N] logits and the targets a and b; reached by D = (b p + a q)/(p + q)."""
    loss = (real - real_target).square().mean() + (fake - generated_target).square().mean()
    return 1 - 2 * float(loss) / (real_target - generated_target) ** 2


def height_difference(real: Tensor, fake: Tensor) -> float:
    """lip(D) times a bound on W1(p, q), from [B] and [N] outputs of the critic."""
    return float(real.mean() - fake.mean())


_BOUNDS: Final[dict[str, tuple[str, Callable[[Tensor, Tensor], float]]]] = {
    "relativistic": ("paired_jsd_bound", pairs_bound),
    "hinge": ("tv_bound", margins_bound),
    "wasserstein": ("wasserstein_estimate", height_difference),
}


def _of_family(objective: Objective, real: Tensor, fake: Tensor) -> Readings:
    match objective:
        case LeastSquares():
            target = CODINGS[objective.coding]
            return {"le_cam_bound": squares_bound(real, fake, target.generated, target.real)}
        case FGan():
            row = objective.row
            return {"f_bound": float(row.activation(real).mean() - row.conjugate_of_activation(fake).mean())}
    if objective.loss_family in LOG_ODDS:
        return log_odds_bound(real, fake, target_of(objective))
    named = _BOUNDS.get(objective.loss_family)
    return {} if named is None else {named[0]: named[1](real, fake)}


def _paired_accuracy(real: Tensor, fake: Tensor) -> float:
    """P(D(x) > D(G(z))), ties counted half: the area under the ROC curve."""
    differences = real[:, None] - fake[None, :]
    return float((differences > 0).double().mean() + (differences == 0).double().mean() / 2)
