"""Games small enough to be known completely: players for the real objectives, without networks or with tiny ones.

    table game      two laws on a few points, exact to rounding: row i of a batch is a point, as often as it occurs
    trained critic  a small network against two laws on the line, trained by an objective's own loss

Shapes: N samples, K points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from training.data.mixtures import Mixture
from training.networks.base import Task
from training.networks.mlp import Discriminator, DiscriminatorConfig
from training.objectives.base import Batch, Networks, Objective
from training.schedule import cosine
from training.verification.laws import Numbers, quantile_function

Critic = Callable[[Tensor], Tensor]

CRITIC: Final = DiscriminatorConfig(widths=(64, 64), activation="tanh")  # smooth, as the best critics here are
BATCH_SIZE: Final = 512
LEARNING_RATE: Final = 1e-2  # with 600 steps along a cosine the loss has settled to four digits
SEED: Final = 0


def identity(latents: Tensor) -> Tensor:
    """A generator that passes on what it is given: the generated law is the latents' own."""
    return latents


@dataclass(frozen=True)
class TableGame:
    """Two laws on K points with rational probabilities.

    Attributes:
        real: [K] how often each point occurs among the real samples.
        generated: [K] likewise among the generated ones; of the same sum.
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
        """Every point as often as it occurs."""
        points = torch.arange(len(self.real), dtype=torch.float64)
        real, generated = (points.repeat_interleave(counts.long())[:, None] for counts in (self.real, self.generated))
        return Batch(real, generated)

    @staticmethod
    def players(logits: Tensor) -> Networks:
        """The critic that answers `logits` [K] on the points."""
        return Networks(identity, lambda samples: logits[samples[:, 0].long()])


def table_of(p: Numbers, q: Numbers, total: int) -> TableGame:
    """Round two densities on the same points to a table.

    Args:
        p: [K], of any scale.
        q: [K], of any scale.
        total: about how many samples each side has; no point is left without.

    Returns:
        The game; the sides' numbers of samples may differ.
    """
    real, generated = (np.maximum(1, np.rint(total * law / law.sum())) for law in (p, q))
    return TableGame(torch.from_numpy(real), torch.from_numpy(generated))


def trained_critic(objective: Objective, real: Mixture, generated: Mixture, steps: int) -> Critic:
    """Train a small critic with an objective's own loss until it has settled.

    Each step sees 512 samples of each law in ascending order, one from each of 512 parts of equal probability, which
    leaves hardly any of the noise that independent draws would have.

    Args:
        objective: whose `critic_loss` is descended.
        real: the law of the real samples.
        generated: the law of the generated ones.
        steps: of Adam, the learning rate falling to 0 along half a cosine.

    Returns:
        Samples [N, 1] to logits [N], in double precision; the same at every call.
    """
    chance = np.random.default_rng(SEED)
    draw_real, draw_generated = quantile_function(real), quantile_function(generated)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        critic = Discriminator(CRITIC, Task(sample_shape=(1,))).double()
        optimizer = torch.optim.Adam(critic.parameters(), lr=LEARNING_RATE)
        for step in range(steps):
            shares = (np.arange(BATCH_SIZE) + chance.random((2, BATCH_SIZE))) / BATCH_SIZE
            batch = Batch(draw_real(shares[0]), draw_generated(shares[1]))
            optimizer.param_groups[0]["lr"] = cosine(LEARNING_RATE, 0.0, step / steps)
            optimizer.zero_grad()
            torch.autograd.backward(objective.critic_loss(Networks(identity, critic), batch).total)
            optimizer.step()
    return critic.eval().requires_grad_(False)
