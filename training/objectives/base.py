"""What an objective is: a pair of losses over networks and a batch.

An objective takes networks, not logits, so that penalties on gradients, paired samples and joint critics all fit one
signature. Objectives are frozen dataclasses of hyper-parameters: mathematics without optimizers, devices, logging or
state. All losses are minimised and in nats.

An objective calls `nets.generate(batch)` for samples and `nets.judge(samples, batch)` for logits, so it works unchanged
with conditional and packed players and with augmented samples. Only objectives that need an encoder or a code head name
them.

Shapes: B batch, Z latent, K width of the codes, ... one sample ([C, H, W] for images, [D] for vectors), m samples that
one logit judges together (1 unless the discriminator is packed).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol, Self

from torch import Tensor

TIMED_WEIGHTS: Final = ("gamma_r1", "gamma_r2", "gamma_slope", "weight_steady")  # what `Objective.at` may change


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        real: [B, ...], in the data's float range; item numbers [B] where samples are items.
        latents: [B, Z], from the prior.
        labels: [B] classes of the real samples, which the generated ones are asked for, too; None unless the players
            are conditional. Where samples are items: the condition's id (a user), for both.
        codes: [B, K] one-hot categorical codes, then continuous ones; None unless the generator is given codes.
        between: [B, 1] uniform on [0, 1): where on the line from a generated to a real sample a slope is looked at;
            None in games that do not look there.
        weights: scalars that stand for the objective's weights of the same names (`TIMED_WEIGHTS`), where a step is
            recorded once and repeated with others.
    """

    real: Tensor
    latents: Tensor
    labels: Tensor | None = None
    codes: Tensor | None = None
    between: Tensor | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)

    def weight(self, name: str, value: float) -> float | Tensor:
        """The weight of a term: `value`, which the objective has, or the scalar that stands for it."""
        return self.weights.get(name, value)

    @property
    def conditions(self) -> tuple[Tensor, ...]:
        """Conditions that both players receive beside their input."""
        return () if self.labels is None else (self.labels,)


@dataclass(frozen=True)
class Networks:
    """The players as functions.

    Attributes:
        generator: latents [B, Z], then labels [B] and codes [B, K] where there are such, to samples [B, ...].
        discriminator: samples [B, ...], then labels [B] where the players are conditional, or latents [B, Z] where
            pairs are judged, to logits [B / m]; a logit depends on its own m samples alone.
        features: samples [B, ...] to what the discriminator's last layer sees, [B / m, F].
        verdict: features [B / m, F] to logits [B / m] of an unconditional discriminator: `verdict(features(x))` is
            `discriminator(x)`.
        encoder: E(x), samples [B, ...] to latents [B, Z]; of games that have one.
        code_head: Q(c|x), features [B, F] to the codes' parameters [B, K]: logits of the categorical codes, then means
            of the continuous ones; of games that have one.
        scores: users [B] to unnormalised log-probabilities of all items [B, I]; of generators of items.
        choices: users [B] to the items they are known to have taken, [B, I] bool; of generators of items.
        warp: images [B, C, H, W] to the same ones slightly warped; of games whose categories must be invariant to
            warps.
        augment: samples [B, ...] to samples as the discriminator is shown them, real and generated alike and
            differentiable; None shows them as they are.
    """

    generator: Callable[..., Tensor]
    discriminator: Callable[..., Tensor]
    features: Callable[[Tensor], Tensor] | None = None
    verdict: Callable[[Tensor], Tensor] | None = None
    encoder: Callable[[Tensor], Tensor] | None = None
    code_head: Callable[[Tensor], Tensor] | None = None
    scores: Callable[[Tensor], Tensor] | None = None
    choices: Callable[[Tensor], Tensor] | None = None
    warp: Callable[[Tensor], Tensor] | None = None
    augment: Callable[[Tensor], Tensor] | None = None

    def generate(self, batch: Batch) -> Tensor:
        """Samples for the latents of a batch, [B, ...]."""
        codes = () if batch.codes is None else (batch.codes,)
        return self.generator(batch.latents, *batch.conditions, *codes)

    def judge(self, samples: Tensor, batch: Batch) -> Tensor:
        """Logits [B / m] of samples [B, ...], given the batch's labels where the players are conditional."""
        return self.discriminator(self.shown(samples), *batch.conditions)

    def shown(self, samples: Tensor) -> Tensor:
        """Samples [B, ...] as the discriminator is shown them."""
        return samples if self.augment is None else self.augment(samples)


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
    """A game between a critic and a generator; `kind` is its name in a configuration.

    Attributes:
        kind: its name.
        loss_family: how its logits may be read, in the words of the package's format.
        weight_bound: after each critic step every weight of the critic is clamped to plus or minus this; None leaves
            them free. (The objective states the constraint, the trainer applies it.)
    """

    kind: ClassVar[str]
    loss_family: ClassVar[str]

    @property
    def weight_bound(self) -> float | None:
        """See above."""
        ...

    def at(self, progress: float, step: int) -> Self:
        """Return the objective at a point of the run, with time-dependent hyper-parameters fixed.

        Args:
            progress: share of the run that is over, in [0, 1].
            step: number of the iteration, from 0, for terms that are not due in every one.
        """
        ...

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The loss of the discriminator (and of a code head); the generator's output counts as constant."""
        ...

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The loss of the generator (and of an encoder); the caller keeps the critic's weights out of the gradient."""
        ...
