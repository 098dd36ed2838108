"""The hinge game: samples beyond the critic's margin have no gradient.

    critic     E relu(1 - D(x)) + E relu(1 + D(G(z)))
    generator  -E D(G(z))

The optimal critic is the sign of p - q, where its loss is 2 (1 - TV(p, q)); against it the generator descends the total
variation TV. A sample on the right side of the margin has no gradient, so logits stay moderate; the generator's slope
by the logit is -1 everywhere, so it cannot saturate. Spectral normalisation is usually added, because the loss does not
bound the critic's slope.

References:
    Lim and Ye, Geometric GAN (2017): the hinge loss of support vector machines as a game.
    Miyato et al., Spectral Normalization for Generative Adversarial Networks (2018), equations 16 and 17.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import relu

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, critic_terms


@dataclass(frozen=True, kw_only=True)
class Hinge(GradientPenalties):
    """The game with the hinge loss."""

    kind: ClassVar[str] = "hinge"
    loss_family: ClassVar[str] = "hinge"

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E relu(1 - D(x)) + E relu(1 + D(G(z))) plus the penalties.

        Returns:
            The loss; 2 where every logit is 0.
        """
        judgement = self.judge(nets, batch)
        return critic_terms(relu(1 - judgement.real_logits).mean() + relu(1 + judgement.fake_logits).mean(), judgement)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """-E D(G(z)), whose slope by the logit is -1.

        Args:
            batch: latents [B, Z]; the real samples are not used.

        Returns:
            The loss; 0 where every logit is 0.
        """
        logit = nets.judge(nets.generate(batch), batch).mean()
        return LossTerms(-logit, {"adversarial": -logit.detach(), "logit_fake": logit.detach()})
