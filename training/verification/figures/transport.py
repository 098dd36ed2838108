"""Laws that do not meet: what the Jensen-Shannon divergence and the Wasserstein distance say, and two Lipschitz bounds.

References:
    Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks (2017), theorem 2.4.
    Arjovsky, Chintala and Bottou, Wasserstein GAN (2017), example 1, equation 2.
    Gulrajani et al., Improved Training of Wasserstein GANs (2017), figure 1.
"""

from typing import Final

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from training.objectives import Minimax, NonSaturating, Wasserstein, WassersteinGradientPenalty
from training.objectives.base import Batch, Networks, Objective
from training.verification.figures.base import BLACK, BLUE, GREEN, ORANGE, SOFT, Drawing, panels
from training.verification.games import trained_critic
from training.verification.laws import (
    FAR,
    TWO_HILLS,
    Numbers,
    density,
    even_shares,
    jensen_shannon,
    log_density,
    on_the_line,
    quantile_function,
)

WIDTH: Final = 0.1  # standard deviation of both laws
DATA: Final = on_the_line((1.0,), (0.0,), (WIDTH,))
SHIFTS: Final = np.linspace(0.02, 1.0, 50)
SAMPLES: Final = 2_000
FLOOR: Final = 1e-9  # of what is drawn on a logarithmic axis
STEPS: Final = 600
CLIP, TIGHT = 0.05, 0.02
CRITIC_PLACES: Final = torch.linspace(-3, 4.5, 751, dtype=torch.float64)[:, None]
AT_BOUND: Final = 0.98  # of the bound
BINS: Final = np.linspace(-0.6, 0.6, 61).tolist()


def disjoint_supports(shifts: Numbers = SHIFTS) -> Drawing:
    """Move the generator's narrow law away from the data's, and compute divergences and the generator's gradients.

    Args:
        shifts: of the generator's mean from the data's.

    Returns:
        Facts: JSD, W1 and the sizes of three gradients by the shift, at the last shift, each loss against its own best
        critic.
    """
    noise = quantile_function(on_the_line((1.0,), (0.0,), (WIDTH,)))(even_shares(SAMPLES))
    jsd = [jensen_shannon(density(DATA), density(on_the_line((1.0,), (shift,), (WIDTH,)))) for shift in shifts]
    w1 = [float(wasserstein_distance(noise[:, 0].numpy(), (noise[:, 0] + shift).numpy())) for shift in shifts]
    games: dict[str, tuple[Objective, str]] = {
        "minimax, at D*": (Minimax(), ORANGE),
        "non-saturating, at D*": (NonSaturating(), BLACK),
        "Wasserstein, at its best critic": (Wasserstein(), BLUE),
    }
    gradients = {name: [_gradient(game, shift, noise) for shift in shifts] for name, (game, _) in games.items()}
    figure, (distance, slope) = panels(2)
    distance.plot(shifts, w1, color=BLUE, label="W₁")
    distance.plot(shifts, jsd, color=ORANGE, label="JSD, nats")
    distance.axhline(np.log(2), color=SOFT, linestyle=":")
    distance.text(shifts[-1], np.log(2) - 0.02, "log 2", ha="right", va="top", fontsize=8)
    distance.set(
        title="Once the laws do not meet, JSD is log 2 and flat",
        xlabel="distance θ of the generator's mean (both laws have σ = 0.1)",
        ylabel="JSD, nats; W₁, units of x",
    )
    distance.legend(loc="lower right")
    for (name, values), (_, colour) in zip(gradients.items(), games.values(), strict=True):
        slope.semilogy(shifts, np.maximum(values, FLOOR), color=colour, label=name)
    slope.set(
        title="Only W₁'s gradient is the same at every distance",
        xlabel="distance θ",
        ylabel="|gradient of the generator's loss by θ|",
        ylim=(FLOOR, 1e3),
    )
    slope.legend(loc="lower left")
    minimax, non_saturating, wasserstein = (values[-1] for values in gradients.values())
    return Drawing(
        figure,
        {
            "jsd": jsd[-1],
            "w1": w1[-1],
            "minimax_gradient": minimax,
            "non_saturating_gradient": non_saturating,
            "wasserstein_gradient": wasserstein,
        },
    )


def _gradient(game: Objective, shift: float, noise: Tensor) -> float:
    """Size of the gradient of a generator's loss by its own shift, the best critic of that shift held fixed."""
    theta = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    own = on_the_line((1.0,), (shift,), (WIDTH,))

    def critic(samples: Tensor) -> Tensor:
        if isinstance(game, Wasserstein):
            return -samples[:, 0]  # all generated samples lie to the right: slope -1 everywhere
        return log_density(DATA, samples) - log_density(own, samples)

    loss = game.generator_loss(Networks(lambda latents: latents + theta, critic), Batch(noise, noise)).total
    return abs(torch.autograd.grad(loss, theta)[0].item())


def lipschitz(steps: int = STEPS) -> Drawing:
    """Train a critic of the Wasserstein game with clamped weights and one with the gradient penalty.

    Args:
        steps: of each critic.

    Returns:
        Facts: the median slope of each critic over the samples, and the share of each one's weights that lie at the
        clip's bound or beyond.
    """
    critics = {
        "clip": (f"weights clamped to ±{CLIP:g}", trained_critic(Wasserstein(clip=CLIP), TWO_HILLS, FAR, steps), "-"),
        "tight_clip": (f"to ±{TIGHT:g}", trained_critic(Wasserstein(clip=TIGHT), TWO_HILLS, FAR, steps), "--"),
        "penalty": ("gradient penalty", trained_critic(WassersteinGradientPenalty(), TWO_HILLS, FAR, steps), "-"),
    }
    figure, (slopes, weights) = panels(2)
    facts = {}
    for (fact, (name, critic, style)), colour in zip(critics.items(), (ORANGE, ORANGE, BLUE), strict=True):
        slope = np.abs(np.diff(critic(CRITIC_PLACES).numpy()) / np.diff(CRITIC_PLACES[:, 0].numpy()))
        slopes.semilogy(CRITIC_PLACES[1:, 0], slope, color=colour, linestyle=style, label=name)
        values = _weights(critic)
        facts[f"{fact}_slope"] = float(np.median(slope))
        facts[f"{fact}_at_bound"] = float((np.abs(values) >= AT_BOUND * CLIP).mean())
        if style == "-":
            weights.hist(values, bins=BINS, color=colour, alpha=0.6, density=True, label=name)
    slopes.axhline(1.0, color=GREEN, linestyle=":", label="1, the best critic's")
    slopes.set(
        title="The penalty holds the slope near 1; a clamp fixes none",
        xlabel="sample x",
        ylabel="|slope of the critic|",
    )
    slopes.legend(loc="center", bbox_to_anchor=(0.5, 0.42))
    weights.set(
        title=f"{facts['clip_at_bound']:.0%} of the clamped weights lie at the bound",
        xlabel="weight of the critic",
        ylabel="density",
    )
    weights.legend(loc="center left")
    return Drawing(figure, facts)


def _weights(critic: nn.Module) -> Numbers:
    """All weights and biases of a trained critic, [N]."""
    return torch.cat([weight.flatten() for weight in critic.parameters()]).numpy()
