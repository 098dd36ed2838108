"""What a generator that cannot draw everything leaves out, by f-divergence.

References:
    Nowozin, Cseke and Tomioka, f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization
    (2016), section 2.4 and table 3.
"""

from typing import Final

import numpy as np
import torch
from scipy.optimize import minimize

from training.networks.base import Task
from training.networks.mlp import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from training.objectives import FGan
from training.objectives.fgan import Name, divergence_named
from training.verification.figures.base import BLUE, GREEN, ORANGE, SOFT, Drawing, panels
from training.verification.games import played
from training.verification.laws import GRID, Numbers, density, integral, on_the_line

DATA: Final = on_the_line((0.35, 0.65), (-2.0, 1.5), (0.5, 0.7))
FITTED: Final[dict[Name, str]] = {"kl": BLUE, "jensen_shannon": GREEN, "reverse_kl": ORANGE}
STYLES: Final = ("-", "--", "-.")
RATIOS: Final = np.logspace(-3, 3, 121)
EDGE: Final = 6.0
SHOWN: Final = np.abs(GRID) < EDGE
STEPS: Final = 1_500
SEED: Final = 0
CRITIC: Final = DiscriminatorConfig(widths=(64, 64), activation="tanh", fourier_octaves=1)
TASK: Final = Task(sample_shape=(1,))


def cost(name: Name, ratios: Numbers) -> Numbers:
    """Cost of a density ratio, for each unit of the probability that is there.

    Args:
        ratios: [N] p/q, positive.

    Returns:
        [N] q (f(u) - f(1) - f'(1) (u - 1)) / (p + q): what is subtracted adds a constant to the divergence.
    """
    row, u = divergence_named(name), torch.from_numpy(ratios)
    one = torch.ones((), dtype=torch.float64)
    values: Numbers = ((row.f(u) - row.f(one) - row.threshold * (u - 1)) / (1 + u)).numpy()
    return values


def fitted(steps: int = STEPS) -> Drawing:
    """Train an affine generator, which draws a normal law, on a mixture of two.

    Args:
        steps: of both players.

    Returns:
        Facts: mean and standard deviation of each learned law and of the exact optimum.
    """
    p = density(DATA)
    figure, (costs, laws) = panels(2)
    laws.fill_between(GRID[SHOWN], p[SHOWN], color=SOFT, alpha=0.4, linewidth=0, label="the data")
    facts: dict[str, float] = {}
    for (name, colour), style in zip(FITTED.items(), STYLES, strict=True):
        label = name.replace("_", " ").replace("kl", "KL").replace("jensen shannon", "Jensen–Shannon")
        costs.plot(RATIOS, cost(name, RATIOS), color=colour, linestyle=style, label=label)
        mean, deviation = learned(name, steps)
        best_mean, best_deviation = optimum(name)
        law = density(on_the_line((1.0,), (mean,), (deviation,)))
        laws.plot(
            GRID[SHOWN], law[SHOWN], color=colour, linestyle=style, label=f"{label}: N({mean:.2f}, {deviation:.2f}²)"
        )
        facts |= {
            f"{name}_mean": mean,
            f"{name}_deviation": deviation,
            f"{name}_best_mean": best_mean,
            f"{name}_best_deviation": best_deviation,
        }
    costs.set(
        title="KL: missing data costs most; reverse KL: added data",
        xscale="log",
        xlabel="p/q   (left: only generated, right: only real)",
        ylabel="cost per unit of probability, nats",
    )
    costs.legend()
    laws.set(
        title="A normal law: KL covers both modes, reverse KL one",
        xlabel="sample x",
        ylabel="density",
        ylim=(0, 0.66),
    )
    laws.legend(loc="upper left", fontsize=7)
    return Drawing(figure, facts)


def learned(name: Name, steps: int) -> tuple[float, float]:
    """Mean and standard deviation of the law that a game over a divergence has taught an affine generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        generator = Generator(GeneratorConfig(latent_size=1, widths=()), TASK)
        critic = Discriminator(CRITIC, TASK)
    played(FGan(divergence=name), generator, critic, DATA, steps)
    with torch.no_grad():
        at_zero, at_one = generator(torch.tensor([[0.0], [1.0]], dtype=torch.float64))[:, 0].tolist()
    return at_zero, abs(at_one - at_zero)


def optimum(name: Name) -> tuple[float, float]:
    """Mean and standard deviation of the normal law with the smallest divergence, by quadrature."""
    p, row = density(DATA), divergence_named(name)

    def divergence(place: Numbers) -> float:
        q = density(on_the_line((1.0,), (place[0],), (np.exp(place[1]),)))
        seen = q > np.finfo(np.float64).tiny
        values = np.zeros_like(q)
        values[seen] = q[seen] * row.f(torch.from_numpy(p[seen] / q[seen])).numpy()
        return integral(np.nan_to_num(values))

    found = minimize(divergence, (0.5, 0.5), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-9}).x
    return float(found[0]), float(np.exp(found[1]))
