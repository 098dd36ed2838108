"""The original game, with both losses of its generator and one-sided label smoothing.

With D = sigmoid(o) the critic maximises E log D(x) + E log(1 - D(G(z))). The optimal critic is D* = p/(p + q), where
the value is 2 JSD(p, q) - log 4. The saturating generator minimises E log(1 - D(G(z))), whose slope by the logit is -D:
it vanishes exactly when the critic wins. The non-saturating one minimises -E log D(G(z)), slope -(1 - D), and has the
same fixed point.

With the real target alpha < 1 (one-sided smoothing) D* = alpha p/(p + q): the critic's confidence is bounded, and
regions where the generator already is are not reinforced.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), equation 1, proposition 1, theorem 1, section 3.
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.4.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, critic_terms
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class _ValueFunctionCritic(GradientPenalties):
    """The critic that both generators below play against.

    Attributes:
        real_target: alpha, what the critic should answer on real samples; 1 is the original game, 0.9 is usual
            one-sided smoothing.
    """

    real_target: Annotated[float, Range(above=0, at_most=1)] = 1.0

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """Cross-entropy of the critic with targets `real_target` and 0, plus the penalties.

        Returns:
            2 log 2 where every logit is 0, for any target.
        """
        judgement = self.judge(nets, batch)
        real, fake, alpha = judgement.real_logits, judgement.fake_logits, self.real_target
        # -log D = softplus(-o) and -log(1 - D) = softplus(o), exact at any size of the logit.
        on_real = alpha * softplus(-real) + (1 - alpha) * softplus(real)
        return critic_terms(on_real.mean() + softplus(fake).mean(), judgement)


@dataclass(frozen=True, kw_only=True)
class Minimax(_ValueFunctionCritic):
    """The zero-sum game: the generator minimises what the critic maximises."""

    kind: ClassVar[str] = "minimax"
    loss_family: ClassVar[str] = "minimax"

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E log(1 - D(G(z))), saturating: its slope by the logit is -D.

        Args:
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss; -log 2 where every logit is 0.
        """
        logits = nets.judge(nets.generate(batch), batch)
        return _generator_terms(-softplus(logits).mean(), logits)


@dataclass(frozen=True, kw_only=True)
class NonSaturating(_ValueFunctionCritic):
    """The non-saturating game: the generator maximises the probability that the critic takes its samples for real."""

    kind: ClassVar[str] = "non_saturating"
    loss_family: ClassVar[str] = "non_saturating"

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """-E log D(G(z)); its slope by the logit is -(1 - D).

        Args:
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss; log 2 where every logit is 0.
        """
        logits = nets.judge(nets.generate(batch), batch)
        return _generator_terms(softplus(-logits).mean(), logits)


def _generator_terms(total: Tensor, logits: Tensor) -> LossTerms:
    return LossTerms(total, {"adversarial": total.detach(), "logit_fake": logits.detach().mean()})
