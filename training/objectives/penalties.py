"""Zero-centred gradient penalties R1 and R2, open to every objective.

    R1 = gamma/2 * E_{x ~ data}      ||grad_x D(x)||^2
    R2 = gamma/2 * E_{x ~ generator} ||grad_x D(x)||^2

They pull the critic flat where the samples are, which makes training converge locally where the bare game circles
the equilibrium. D is the logit; the square is summed over pixels and averaged over the batch.

References:
    Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge? (2018), equations 9 and 10.
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), section 2: both together; equation 3 there.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from torch import Tensor

from training.objectives.port import Batch, LossTerms, Networks
from training.schedule import Fraction, cosine
from training.tables import Range

Weight = Annotated[float, Range(at_least=0)]


def squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """Mean over the batch of the squared norm of each logit's gradient by its own image.

    Args:
        logits: [B], a function of `images` in which no logit depends on another's image.
        images: [B, C, H, W] that require a gradient.

    Returns:
        Scalar, differentiable once more.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


@dataclass(frozen=True)
class Judgement:
    """What a critic says of a real and a generated batch.

    Attributes:
        real_logits: [B].
        fake_logits: [B].
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
    """

    gamma_r1: Weight = 0.0
    gamma_r2: Weight = 0.0
    gamma_final_fraction: Fraction = 1.0

    def at(self, progress: float) -> Self:
        """The same objective with the weights of this moment.

        Args:
            progress: share of the run that is over, in [0, 1].

        Returns:
            An objective whose weights are constant.
        """
        left = cosine(1.0, self.gamma_final_fraction, progress)
        return replace(self, gamma_r1=self.gamma_r1 * left, gamma_r2=self.gamma_r2 * left, gamma_final_fraction=1.0)

    def judge(self, nets: Networks, batch: Batch) -> Judgement:
        """Let the critic see a real and a generated batch, and weigh its gradients there.

        Args:
            nets: the players; the generator's output counts as constant.
            batch: real samples [B, C, H, W] and latents [B, Z].

        Returns:
            The logits and the penalties.
        """
        with torch.no_grad():
            fake = nets.generator(batch.latents)
        real, fake = (
            batch.real.detach().requires_grad_(self.gamma_r1 > 0),
            fake.detach().requires_grad_(self.gamma_r2 > 0),
        )
        real_logits, fake_logits = nets.discriminator(real), nets.discriminator(fake)
        penalties = {}
        if self.gamma_r1 > 0:
            penalties["r1"] = self.gamma_r1 / 2 * squared_gradient(real_logits, real)
        if self.gamma_r2 > 0:
            penalties["r2"] = self.gamma_r2 / 2 * squared_gradient(fake_logits, fake)
        return Judgement(real_logits, fake_logits, penalties)


def critic_terms(adversarial: Tensor, judgement: Judgement) -> LossTerms:
    """The critic's loss from the game's own term and the penalties.

    Args:
        adversarial: scalar, the objective's own term.
        judgement: what `GradientPenalties.judge` returned.

    Returns:
        Their sum, with every term and the mean logits as parts.
    """
    parts = {
        "adversarial": adversarial,
        **judgement.penalties,
        "logit_real": judgement.real_logits.mean(),
        "logit_fake": judgement.fake_logits.mean(),
    }
    total = adversarial + sum(judgement.penalties.values())
    return LossTerms(total, {name: part.detach() for name, part in parts.items()})
