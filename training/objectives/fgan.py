"""f-GAN: the critic bounds an f-divergence from below, and the generator pulls the bound down.

    bound      F = E_p T(x) - E_q f*(T(x)),   T = g(v),   at most D_f(P || Q)
    critic     -F
    generator  F, that is -E_q f*(T); or, non-saturating, -E_q T

v is the discriminator's raw output, the logit; which f, f*, g belong to a name is `divergences`' knowledge. With
`gan` this is the original game to the last bit. The divergence decides what a generator that cannot draw everything
leaves out: KL makes it cover all of the data, reverse KL makes it keep to where the data is dense.

References:
    Nowozin, Cseke and Tomioka, f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization
    (2016), equation 6 (the game), section 3.2 (the non-saturating generator).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from training.objectives.divergences import LARGEST_ALPHA, Divergence, Name, divergence_named
from training.objectives.penalties import GradientPenalties, critic_terms
from training.objectives.port import Batch, LossTerms, Networks
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class FGan(GradientPenalties):
    """The game over an f-divergence.

    Attributes:
        divergence: which.
        generator: `saddle` descends the bound itself; `non_saturating` maximises E_q T, which has a slope where the
            bound's has vanished, and the same fixed point if the generator can draw the data's law.
        pi: share of the data in the mixture of `weighted_jensen_shannon`; the others have none.
        alpha: order of `alpha`; the others have none.
    """

    kind: ClassVar[str] = "fgan"
    loss_family: ClassVar[str] = "f_divergence"

    divergence: Name = "kl"
    generator: Literal["saddle", "non_saturating"] = "saddle"
    pi: Annotated[float, Range(above=0, below=1)] = 1 / 2
    alpha: Annotated[float, Range(above=0, at_most=LARGEST_ALPHA)] = 1 / 2

    @property
    def row(self) -> Divergence:
        """The divergence's functions."""
        return divergence_named(self.divergence, pi=self.pi, alpha=self.alpha)

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E_q f*(T) - E_p T plus the penalties; the part `adversarial` is the negative of the bound.

        Args:
            nets: the players.
            batch: real samples [B, ...] and latents [B, Z].

        Returns:
            The loss; f*(g(0)) - g(0) where every logit is 0.
        """
        row, judgement = self.row, self.judge(nets, batch)
        on_real = row.activation(judgement.real_logits)
        bound = on_real.mean() - row.conjugate_of_activation(judgement.fake_logits).mean()
        return critic_terms(-bound, judgement, overfitting=on_real - row.threshold)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """-E_q f*(T) or -E_q T.

        Args:
            nets: the players.
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss.
        """
        logits = nets.judge(nets.generate(batch), batch)
        reward = self.row.conjugate_of_activation if self.generator == "saddle" else self.row.activation
        total = -reward(logits).mean()
        return LossTerms(total, {"adversarial": total.detach(), "logit_fake": logits.detach().mean()})
