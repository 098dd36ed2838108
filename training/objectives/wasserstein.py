"""Wasserstein GANs: the critic estimates the distance of the distributions, and the generator reduces it.

    W1(p, q) = sup { E_p D - E_q D : D is 1-Lipschitz }

    critic     E D(G(z)) - E D(x)
    generator  -E D(G(z))

Where the supports do not meet, the Jensen-Shannon divergence is log 2 and flat; W1 still falls with the distance. What
keeps the critic Lipschitz is the difference between the two classes here: every weight is clamped after each step, or
the norm of the critic's gradient is penalised for differing from 1 on lines between real and generated samples, where
the best critic has exactly that slope. A logit has no fixed zero: adding a constant to D changes neither loss.

The batch brings the places on those lines, as it brings latents.

References:
    Arjovsky, Chintala and Bottou, Wasserstein GAN (2017), equations 2 and 3, algorithm 1.
    Gulrajani et al., Improved Training of Wasserstein GANs (2017), equation 3, proposition 1, algorithm 1.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import torch
from torch import Tensor

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, Weight, critic_terms
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class _CriticDifference(GradientPenalties):
    """The losses that both games share."""

    loss_family: ClassVar[str] = "wasserstein"

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E D(G(z)) - E D(x) plus the penalties.

        Returns:
            The loss; its part `wasserstein_estimate` is E D(x) - E D(G(z)), K times a lower bound of W1 for a critic
            of Lipschitz constant K (unknown under clamped weights, about 1 under the penalty).
        """
        judgement = self.judge(nets, batch)
        estimate = judgement.real_logits.mean() - judgement.fake_logits.mean()
        margin = judgement.real_logits - judgement.fake_logits  # the critic's zero is arbitrary
        terms = critic_terms(-estimate, judgement, overfitting=margin)
        return replace(terms, parts={**terms.parts, "wasserstein_estimate": estimate.detach()})

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """-E D(G(z)).

        Args:
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss; its value alone means nothing, because the critic's zero is arbitrary.
        """
        logit = nets.judge(nets.generate(batch), batch).mean()
        return LossTerms(-logit, {"adversarial": -logit.detach(), "logit_fake": logit.detach()})


@dataclass(frozen=True, kw_only=True)
class Wasserstein(_CriticDifference):
    """WGAN as first published: clamped weights make the critic Lipschitz, by some unknown constant.

    Attributes:
        clip: the bound on every weight of the critic; 0.01 is the paper's, with RMSprop at 5e-5.
    """

    kind: ClassVar[str] = "wasserstein"

    clip: Annotated[float, Range(above=0)] = 0.01

    @property
    def weight_bound(self) -> float | None:
        """After each critic step its weights are clamped to plus or minus this."""
        return self.clip


@dataclass(frozen=True, kw_only=True)
class WassersteinGradientPenalty(_CriticDifference):
    """WGAN-GP: the critic's slope is penalised for differing from 1 between the samples.

    Attributes:
        gamma_slope: lambda, the weight of E (||grad D(x^)|| - 1)^2; 10 is the paper's. `gamma_final_fraction` and
            `penalty_every_steps` act on it as on the other penalties.
    """

    kind: ClassVar[str] = "wasserstein_gp"

    gamma_slope: Weight = 10.0

    def at(self, progress: float, step: int) -> Self:
        """The same objective with the weights of this moment; see `GradientPenalties.at`."""
        follows_time = replace(self, gamma_r1=self.gamma_slope)  # as R1's weight does
        weight = GradientPenalties.at(follows_time, progress, step).gamma_r1
        return replace(super().at(progress, step), gamma_slope=weight)

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E D(G(z)) - E D(x) plus lambda E (||grad D(x^)|| - 1)^2 and the penalties.

        Args:
            batch: real samples [B, ...] and latents [B, Z]; row i is a pair, the ends of a line.

        Returns:
            The loss, with the penalty as the part `slope`.

        Raises:
            ValueError: the batch brings no places between the samples.
        """
        with torch.no_grad():
            fake = nets.generate(batch)
        terms = super().critic_loss(replace(nets, generator=lambda *_: fake), batch)  # the same samples, drawn once
        if self.gamma_slope == 0:
            return terms
        if batch.between is None:
            raise ValueError("the gradient penalty needs places between the samples")
        between = interpolates(batch.real, fake, batch.between).requires_grad_()
        slope = batch.weight("gamma_slope", self.gamma_slope) * slope_error(nets.judge(between, batch), between)
        return LossTerms(terms.total + slope, {**terms.parts, "slope": slope.detach()})


def interpolates(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """One point on the line between each pair of samples.

    Args:
        real: [B, ...].
        fake: [B, ...], without a gradient.
        share: [B, 1], e in [0, 1).

    Returns:
        [B, ...] e x + (1 - e) G(z).
    """
    return torch.lerp(fake, real, share.to(real.dtype).reshape(len(real), *[1] * (real.dim() - 1)))


def slope_error(logits: Tensor, samples: Tensor) -> Tensor:
    """Mean over the logits of the squared distance from 1 of the norm of each one's gradient by its own samples.

    Args:
        logits: [B / m], a function of `samples` in which no logit depends on another's samples.
        samples: [B, ...] that require a gradient; those of one logit are neighbours.

    Returns:
        Scalar, differentiable once more; where a gradient is exactly 0, its term is 1 and has no gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.reshape(len(logits), -1), dim=1)
    return (norms - 1).square().mean()
