"""Small games with known solutions: players for the objectives, as tables or with small networks.

    table game      two laws on a few points, exact to rounding: every point is in the batch as often as it occurs
    trained critic  a small network against two laws on the line, trained by an objective's own loss

Shapes: N samples, K points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from training.data.mixtures import Mixture
from training.networks.base import Task
from training.networks.mlp import Discriminator, DiscriminatorConfig
from training.objectives.base import Batch, Networks, Objective
from training.schedule import cosine
from training.verification.laws import Numbers, on_the_line, quantile_function

Critic = Callable[[Tensor], Tensor]

CRITIC: Final = DiscriminatorConfig(widths=(64, 64), activation="tanh")  # smooth, as the optimal critics are
BATCH_SIZE: Final = 512
LEARNING_RATE: Final = 1e-2  # with 600 steps along a cosine the loss converges to four digits
PLAYED_RATE: Final = 5e-3  # at first, of both players of a whole game
SEED: Final = 0


def identity(latents: Tensor) -> Tensor:
    """A generator that returns its latents."""
    return latents


@dataclass(frozen=True)
class TableGame:
    """Two laws on K points with rational probabilities.

    Attributes:
        real: [K] how often each point occurs among the real samples.
        generated: [K] how often each occurs among the generated ones; of the same sum.
    """

    real: Tensor
    generated: Tensor

    @property
    def p(self) -> Tensor:
        """[K] probabilities of the real samples."""
        return self.real / self.real.sum()

    @property
    def q(self) -> Tensor:
        """[K] probabilities of the generated samples."""
        return self.generated / self.generated.sum()

    @property
    def batch(self) -> Batch:
        """The batch with every point as often as it occurs."""
        points = torch.arange(len(self.real), dtype=torch.float64)
        real, generated = (points.repeat_interleave(counts.long())[:, None] for counts in (self.real, self.generated))
        return Batch(real, generated)

    @staticmethod
    def players(logits: Tensor) -> Networks:
        """Players with a critic of `logits` [K] on the points."""
        return Networks(identity, lambda samples: logits[samples[:, 0].long()])


def table_of(p: Numbers, q: Numbers, total: int) -> TableGame:
    """Round two densities on the same points to a table.

    Args:
        p: [K], of any scale.
        q: [K], of any scale.
        total: approximate number of samples of each side; every point has at least one.

    Returns:
        The game; the sides' numbers of samples may differ.
    """
    real, generated = (np.maximum(1, np.rint(total * law / law.sum())) for law in (p, q))
    return TableGame(torch.from_numpy(real), torch.from_numpy(generated))


def trained_critic(objective: Objective, real: Mixture, generated: Mixture, steps: int) -> Discriminator:
    """Train a small critic with an objective's own loss until it has converged.

    Each step sees 512 samples of each law in ascending order, one from each of 512 parts of equal probability, which
    has much less noise than independent draws.

    Args:
        objective: its `critic_loss` is minimised, within its `weight_bound`.
        steps: of Adam, the learning rate falling to 0 along half a cosine.

    Returns:
        Samples [N, 1] to logits [N], in double precision, its weights fixed; the same at every call.
    """
    chance = np.random.default_rng(SEED)
    draw_real, draw_generated = quantile_function(real), quantile_function(generated)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        critic = Discriminator(CRITIC, Task(sample_shape=(1,))).double()
        optimizer = torch.optim.Adam(critic.parameters(), lr=LEARNING_RATE)
        for step in range(steps):
            shares = (np.arange(BATCH_SIZE) + chance.random((2, BATCH_SIZE))) / BATCH_SIZE
            between = torch.rand(BATCH_SIZE, 1, dtype=torch.float64)
            batch = Batch(draw_real(shares[0]), draw_generated(shares[1]), between=between)
            optimizer.param_groups[0]["lr"] = cosine(LEARNING_RATE, 0.0, step / steps)
            optimizer.zero_grad()
            torch.autograd.backward(objective.critic_loss(Networks(identity, critic), batch).total)
            optimizer.step()
            if objective.weight_bound is not None:
                with torch.no_grad():
                    for weight in critic.parameters():
                        weight.clamp_(-objective.weight_bound, objective.weight_bound)
    return critic.eval().requires_grad_(False)


def played(
    objective: Objective,
    generator: nn.Module,
    critic: nn.Module,
    real: Mixture,
    steps: int,
    encoder: nn.Module | None = None,
) -> None:
    """Train both players of a small game on the line.

    Args:
        objective: its two losses are minimised in turn.
        generator: latents [N, Z] to samples [N, 1]; trained in place, and in double precision from then on.
        critic: samples [N, 1] to logits [N]; as the generator.
        real: the data's law.
        steps: of Adam for both, the learning rate falling to 0 along half a cosine.
        encoder: samples [N, 1] to latents [N, Z], of games that have one.
    """
    generate, judge = generator.double(), critic.double()
    nets = Networks(generate, judge, encoder=None if encoder is None else encoder.double())
    own = [*generate.parameters(), *(() if encoder is None else encoder.parameters())]
    draw_real, draw_normal = quantile_function(real), quantile_function(on_the_line((1.0,), (0.0,), (1.0,)))
    chance = np.random.default_rng(SEED)
    critics, generators = (
        torch.optim.Adam(side, lr=PLAYED_RATE, betas=(0.0, 0.99)) for side in (judge.parameters(), own)
    )
    for step in range(steps):
        shares = chance.random((2, BATCH_SIZE))
        batch = Batch(draw_real(shares[0]), draw_normal(shares[1]))
        for optimizer, loss in ((critics, objective.critic_loss), (generators, objective.generator_loss)):
            optimizer.param_groups[0]["lr"] = cosine(PLAYED_RATE, 0.0, step / steps)
            optimizer.zero_grad()
            torch.autograd.backward(loss(nets, batch).total)
            optimizer.step()
