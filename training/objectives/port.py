"""What an objective is: a pair of losses over networks and a batch.

An objective takes networks, not logits, so that penalties on gradients, paired samples and joint critics all fit one
signature. Objectives are frozen dataclasses of hyper-parameters: mathematics without optimizers, devices, logging or
state. All losses are minimised and in nats.

Shapes: B batch, Z latent, C H W channels, height and width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from torch import Tensor


@dataclass(frozen=True)
class Networks:
    """The two players as functions.

    Attributes:
        generator: latents [B, Z] to samples [B, C, H, W].
        discriminator: samples [B, C, H, W] to logits [B]; the logit of a sample depends on that sample alone.
    """

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        real: [B, C, H, W], in the data's float range.
        latents: [B, Z], from the prior.
        labels: [B], classes of the real samples, or None where the data has none.
    """

    real: Tensor
    latents: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class LossTerms:
    """A loss and what to plot of it.

    Attributes:
        total: scalar to be minimised.
        parts: detached scalars: the terms of the sum, and readings such as mean logits (`logit_…`).
    """

    total: Tensor
    parts: dict[str, Tensor]


class Objective(Protocol):
    """A game between a critic and a generator; `kind` is its name in a configuration."""

    kind: ClassVar[str]

    def at(self, progress: float) -> Self:
        """The objective at a point of the run, `progress` in [0, 1]: hyper-parameters that follow time, settled."""
        ...

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The loss of the discriminator; the generator's output counts as constant."""
        ...

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The loss of the generator; the caller keeps the discriminator's weights out of the gradient."""
        ...
