"""Least squares (LSGAN): the critic's targets are a on generated and b on real samples, the generator's is c.

    critic     1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2
    generator  1/2 E (D(G(z)) - c)^2

A generated sample that the critic takes for real but that lies far from the decision boundary still has a gradient,
where the logistic loss has none left. The optimal critic is (b p + a q)/(p + q). The paper offers two codings:

    pearson   a = -1, b = 1, c = 0   the generator then descends Pearson's chi^2 between p + q and 2 q
    binary    a =  0, b = 1, c = 1   the targets of a classifier; the generator's is that of real samples

References:
    Mao et al., Least Squares Generative Adversarial Networks (2017), equation 2; section 3.2 for the optimum and the
    two codings.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, critic_terms


class Coding(NamedTuple):
    """What logits are regressed on.

    Attributes:
        generated: a, the critic's target on generated samples.
        real: b, the critic's target on real samples.
        wanted: c, the generator's target.
    """

    generated: float
    real: float
    wanted: float


CODINGS: Final = {"binary": Coding(0.0, 1.0, 1.0), "pearson": Coding(-1.0, 1.0, 0.0)}


@dataclass(frozen=True, kw_only=True)
class LeastSquares(GradientPenalties):
    """The game with squared errors.

    Attributes:
        coding: which of the paper's targets.
    """

    kind: ClassVar[str] = "least_squares"
    loss_family: ClassVar[str] = "least_squares"

    coding: Literal["binary", "pearson"] = "binary"

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2 plus the penalties.

        Returns:
            The loss; (a^2 + b^2)/2 where every logit is 0.
        """
        judgement, target = self.judge(nets, batch), CODINGS[self.coding]
        on_real = (judgement.real_logits - target.real).square().mean()
        on_fake = (judgement.fake_logits - target.generated).square().mean()
        halfway = (target.real + target.generated) / 2
        return critic_terms((on_real + on_fake) / 2, judgement, overfitting=judgement.real_logits - halfway)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """1/2 E (D(G(z)) - c)^2.

        Args:
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss; c^2/2 where every logit is 0.
        """
        logits = nets.judge(nets.generate(batch), batch)
        total = (logits - CODINGS[self.coding].wanted).square().mean() / 2
        return LossTerms(total, {"adversarial": total.detach(), "logit_fake": logits.detach().mean()})
