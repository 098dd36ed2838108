"""The relativistic pairing game (RpGAN): the critic says which of two samples is the real one.

    critic     E softplus(-(D(x) - D(G(z))))
    generator  E softplus(-(D(G(z)) - D(x)))

over pairs of one real and one generated sample. Every generated sample is judged against a real one, so the decision
boundary runs near each mode, and its landscape has no bad local minima where the unpaired game has many. Only
differences of logits mean anything: adding a constant to D changes neither loss. With R1 *and* R2 it converges (with
R1 alone it may not), and with both no further regularisation is needed: this is R3GAN's objective.

References:
    Jolicoeur-Martineau, The relativistic discriminator (2018), section 4.1.
    Sun, Fang and Schwing, Towards a Better Global Loss Landscape of GANs (2020), equation 3.
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), equation 2 and section 2.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import softplus

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import GradientPenalties, critic_terms


@dataclass(frozen=True, kw_only=True)
class Relativistic(GradientPenalties):
    """RpGAN with the logistic loss."""

    kind: ClassVar[str] = "relativistic"
    loss_family: ClassVar[str] = "relativistic"

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E softplus(D(G(z)) - D(x)) plus the penalties.

        Args:
            batch: real samples [B, ...] and latents [B, Z]; row i is a pair.

        Returns:
            The loss; log 2 where all logits agree.
        """
        judgement = self.judge(nets, batch)
        margin = judgement.real_logits - judgement.fake_logits
        return critic_terms(softplus(-margin).mean(), judgement, overfitting=margin)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """E softplus(D(x) - D(G(z))), the critic's loss with the roles exchanged.

        Args:
            batch: real samples [B, ...] and latents [B, Z]; row i is a pair.

        Returns:
            The loss; log 2 where all logits agree.
        """
        with torch.no_grad():  # D(x) does not depend on the generator
            real_logits = nets.judge(batch.real, batch)
        fake_logits = nets.judge(nets.generate(batch), batch)
        total = softplus(real_logits - fake_logits).mean()
        return LossTerms(total, {"adversarial": total.detach(), "logit_fake": fake_logits.detach().mean()})
