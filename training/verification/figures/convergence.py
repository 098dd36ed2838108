"""The Dirac-GAN: two numbers that play the game, and circle the equilibrium unless the critic's slope is penalised.

The data is one point at 0, the generator one point at theta, the critic D(x) = psi x. The equilibrium is (0, 0).

References:
    Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge? (2018), sections 2 and 4.
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), section 2.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch

from training.objectives import Minimax, Relativistic, Wasserstein
from training.objectives.base import Batch, Networks, Objective
from training.verification.figures.base import BLACK, BLUE, GREEN, ORANGE, YELLOW, Drawing, panels

START: Final = (1.0, 0.0)  # theta, psi
RATE: Final = 0.1
STEPS: Final = 300
GAMMA: Final = 0.15  # of each: both penalties are psi^2 here, as the critic is linear
POINT: Final = Batch(torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
Path = list[tuple[float, float]]  # of (theta, psi)

FREE: Final[Mapping[str, Objective]] = {
    "minimax": Minimax(),
    "Wasserstein": Wasserstein(),
    "relativistic": Relativistic(),
}
PENALISED: Final[Mapping[str, Objective]] = {
    "minimax + R1": Minimax(gamma_r1=2 * GAMMA),
    "Wasserstein + R1 + R2": Wasserstein(gamma_r1=GAMMA, gamma_r2=GAMMA),
    "relativistic + R1 + R2": Relativistic(gamma_r1=GAMMA, gamma_r2=GAMMA),
}
COLOURS: Final = (BLUE, ORANGE, GREEN)
STYLES: Final = ("-", "--", ":")


def dirac(steps: int = STEPS) -> Drawing:
    """Follow simultaneous gradient descent of both players, with and without penalties.

    Args:
        steps: of each player, at a rate of 0.1.

    Returns:
        Facts: the distance from the equilibrium at the end over that at the start, by objective.
    """
    figure, axes = panels(3, wide=0.86)
    facts: dict[str, float] = {}
    radii = axes[2]
    for axis, games, width, title, group in (
        (axes[0], FREE, 1.1, "No penalty: none arrives", "no penalty"),
        (axes[1], PENALISED, 2.4, "R1, or R1 + R2: all arrive", "R1, R1 + R2"),
    ):
        for (name, game), colour, style in zip(games.items(), COLOURS, STYLES, strict=True):
            path = trajectory(game, steps)
            axis.plot(*zip(*path, strict=True), color=colour, linestyle=style, linewidth=1.3, label=name)
            distances = [math.hypot(*place) for place in path]
            radii.semilogy(distances, color=colour, linestyle=style, linewidth=width)
            facts[name] = distances[-1] / distances[0]
        radii.plot([], color=BLACK, linewidth=width, label=group)
        axis.plot(*START, "o", color=BLACK, markersize=5)
        axis.plot(0, 0, "*", color=YELLOW, markersize=12, markeredgecolor=BLACK, label="equilibrium")
        axis.set(title=title, xlabel="θ, the generator's point", ylabel="ψ, slope of the critic")
        axis.legend(loc="upper right", fontsize=7)
    radii.legend(loc="lower left")
    radii.set(
        title="Distance from the equilibrium",
        xlabel=f"steps of gradient descent, rate {RATE:g}",
        ylabel="√(θ² + ψ²)",
    )
    return Drawing(figure, facts)


def trajectory(game: Objective, steps: int) -> Path:
    """Play the game by simultaneous gradient descent.

    Returns:
        Places (theta, psi), from the start to after the last step.
    """
    theta, psi = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in START)
    nets = Networks(lambda latents: theta * latents, lambda samples: psi * samples[:, 0])
    places = [(theta.item(), psi.item())]
    for _ in range(steps):
        (by_psi,) = torch.autograd.grad(game.critic_loss(nets, POINT).total, psi)
        (by_theta,) = torch.autograd.grad(game.generator_loss(nets, POINT).total, theta)
        with torch.no_grad():
            psi -= RATE * by_psi
            theta -= RATE * by_theta
        places.append((theta.item(), psi.item()))
    return places
