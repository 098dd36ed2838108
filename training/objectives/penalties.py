"""Zero-centred gradient penalties R1 and R2, open to every objective, computed in every step or lazily.

    R1 = gamma/2 * E_{x ~ data}      ||grad_x D(x)||^2
    R2 = gamma/2 * E_{x ~ generator} ||grad_x D(x)||^2

They flatten the critic at the samples, which makes training converge locally where the game without them circles the
equilibrium. D is the logit; the square is summed over pixels and averaged over the batch. The penalties change more
slowly than the game, so they may be computed in every k-th step only, k times as strong (lazy regularisation).

References:
    Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge? (2018), equations 9 and 10.
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), section 2: both together; equation 3 there.
    Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), section 3.1 and appendix B: lazily.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from torch import Tensor

from training.objectives.base import Batch, LossTerms, Networks
from training.schedule import Fraction, cosine
from training.tables import Range

Weight = Annotated[float, Range(at_least=0)]


def squared_gradient(logits: Tensor, samples: Tensor) -> Tensor:
    """Mean over the logits of the squared norm of each one's gradient by its own samples.

    Args:
        logits: [B / m], a function of `samples` in which no logit depends on another's samples.
        samples: [B, ...] that require a gradient.

    Returns:
        Scalar, differentiable once more.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.square().sum() / len(logits)


@dataclass(frozen=True)
class CriticOutputs:
    """A critic's logits and penalties on a real and a generated batch.

    Attributes:
        real_logits: [B / m].
        fake_logits: [B / m].
        penalties: weighted scalars by name, `r1` and `r2`; a weight of 0 leaves its penalty out, uncomputed.
    """

    real_logits: Tensor
    fake_logits: Tensor
    penalties: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class GradientPenalties:
    """The weights of both penalties, the base of every objective.

    Attributes:
        gamma_r1: weight on real samples.
        gamma_r2: weight on generated samples.
        gamma_final_fraction: what is left of both weights at the end of a cosine over the run; 1 keeps them constant.
        penalty_every_steps: k; the penalties are computed in every k-th step, k times as strong.
    """

    gamma_r1: Weight = 0.0
    gamma_r2: Weight = 0.0
    gamma_final_fraction: Fraction = 1.0
    penalty_every_steps: Annotated[int, Range(at_least=1)] = 1

    @property
    def weight_bound(self) -> float | None:
        """No bound on the critic's weights."""
        return None

    def at(self, progress: float, step: int) -> Self:
        """The same objective with the weights of this moment.

        Args:
            progress: share of the run that is over, in [0, 1].
            step: number of the iteration, from 0; the penalties are due in step 0.

        Returns:
            An objective whose weights are constant.
        """
        due = self.penalty_every_steps if step % self.penalty_every_steps == 0 else 0
        left = due * cosine(1.0, self.gamma_final_fraction, progress)
        return replace(
            self,
            gamma_r1=self.gamma_r1 * left,
            gamma_r2=self.gamma_r2 * left,
            gamma_final_fraction=1.0,
            penalty_every_steps=1,
        )

    def judge(self, nets: Networks, batch: Batch) -> CriticOutputs:
        """Evaluate the critic and its penalties on a real and a generated batch.

        Args:
            nets: the players; the generator's output counts as constant.
        """
        with torch.no_grad():
            fake = nets.generate(batch)
        real, fake = (
            batch.real.detach().requires_grad_(self.gamma_r1 > 0),
            fake.detach().requires_grad_(self.gamma_r2 > 0),
        )
        real_logits, fake_logits = nets.judge(real, batch), nets.judge(fake, batch)
        penalties = {}
        if self.gamma_r1 > 0:
            penalties["r1"] = batch.weight("gamma_r1", self.gamma_r1) / 2 * squared_gradient(real_logits, real)
        if self.gamma_r2 > 0:
            penalties["r2"] = batch.weight("gamma_r2", self.gamma_r2) / 2 * squared_gradient(fake_logits, fake)
        return CriticOutputs(real_logits, fake_logits, penalties)


def critic_terms(adversarial: Tensor, judgement: CriticOutputs, overfitting: Tensor | None = None) -> LossTerms:
    """The critic's loss from the game's own term and the penalties.

    Args:
        adversarial: scalar, the objective's own term.
        overfitting: [B / m] numbers that are positive where a real sample is taken for real; None takes its logit,
            which is right only where the objective fixes the zero.

    Returns:
        Their sum, with every term, the mean logits and `real_sign` as parts: the share of real samples that are taken
        for real less that of those that are not, Karras et al.'s (2020) sign of overfitting.
    """
    parts = {
        "adversarial": adversarial,
        **judgement.penalties,
        "logit_real": judgement.real_logits.mean(),
        "logit_fake": judgement.fake_logits.mean(),
        "real_sign": (judgement.real_logits if overfitting is None else overfitting).sign().mean(),
    }
    total = adversarial + sum(judgement.penalties.values())
    return LossTerms(total, {name: part.detach() for name, part in parts.items()})
