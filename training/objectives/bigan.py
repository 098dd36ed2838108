"""BiGAN: the critic judges pairs of sample and latent, which makes an encoder invert the generator.

    min_{G,E} max_D  E_x log D(x, E(x)) + E_z log(1 - D(G(z), z))

A real sample comes with the latent that the encoder finds for it, a generated one with the latent it was made from. The
best critic is D* = p_EX / (p_EX + p_GZ) and the value there 2 JSD(P_EX, P_GZ) - log 4; the two joint distributions can
only agree if E inverts G. Generator and encoder share one loss, the critic's with its labels exchanged, which does not
saturate where the critic wins.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), equation 3, theorems 1 and 2, section 3.4.
    Authors' code: github.com/jeffdonahue/bigan. Dumoulin et al., Adversarially Learned Inference (2017): the same game.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.penalties import CriticOutputs, GradientPenalties, critic_terms, squared_gradient

Pair = tuple[Tensor, Tensor]  # a sample [B, ...] and a latent [B, Z]


@dataclass(frozen=True, kw_only=True)
class BiGan(GradientPenalties):
    """The joint game; R1 acts on pairs of real samples, R2 on generated ones, by both members of a pair."""

    kind: ClassVar[str] = "bigan"
    loss_family: ClassVar[str] = "non_saturating"

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """Cross-entropy of the critic's answers: (x, E(x)) is real, (G(z), z) is generated; plus the penalties.

        Args:
            nets: the players, with an encoder and a discriminator of pairs.

        Returns:
            2 log 2 where every logit is 0.
        """
        with torch.no_grad():
            real, fake = _pairs(nets, batch)
        real, fake = _leaves(real, self.gamma_r1 > 0), _leaves(fake, self.gamma_r2 > 0)
        real_logits, fake_logits = _judge(nets, real, batch), _judge(nets, fake, batch)
        penalties = {}
        if self.gamma_r1 > 0:
            penalties["r1"] = batch.weight("gamma_r1", self.gamma_r1) / 2 * _squared_gradient(real_logits, real)
        if self.gamma_r2 > 0:
            penalties["r2"] = batch.weight("gamma_r2", self.gamma_r2) / 2 * _squared_gradient(fake_logits, fake)
        judgement = CriticOutputs(real_logits, fake_logits, penalties)
        return critic_terms(softplus(-real_logits).mean() + softplus(fake_logits).mean(), judgement)

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The critic's cross-entropy with exchanged labels; trains G by its pairs and E by its own.

        Args:
            nets: the players, with an encoder and a discriminator of pairs.

        Returns:
            The loss; 2 log 2 where every logit is 0.
        """
        real, fake = _pairs(nets, batch)
        real_logits, fake_logits = _judge(nets, real, batch), _judge(nets, fake, batch)
        encoder, generator = softplus(real_logits).mean(), softplus(-fake_logits).mean()
        parts = {
            "adversarial": encoder + generator,
            "encoder": encoder,
            "logit_real": real_logits.mean(),
            "logit_fake": fake_logits.mean(),
        }
        return LossTerms(encoder + generator, {name: part.detach() for name, part in parts.items()})


def _pairs(nets: Networks, batch: Batch) -> tuple[Pair, Pair]:
    """(x, E(x)) and (G(z), z)."""
    if nets.encoder is None:
        raise ValueError("BiGAN needs an encoder")
    return (batch.real, nets.encoder(batch.real)), (nets.generate(batch), batch.latents)


def _judge(nets: Networks, pair: Pair, batch: Batch) -> Tensor:
    sample, latent = pair
    return nets.discriminator(nets.shown(sample), latent, *batch.conditions)


def _leaves(pair: Pair, differentiable: bool) -> Pair:
    """The pair detached from its networks; requires gradients where a penalty needs them."""
    sample, latent = pair
    return sample.detach().requires_grad_(differentiable), latent.detach().requires_grad_(differentiable)


def _squared_gradient(logits: Tensor, pair: Pair) -> Tensor:
    """Take the gradient by both members: the squared norm of a joint gradient is the sum of its parts'."""
    sample, latent = pair
    return squared_gradient(logits, sample) + squared_gradient(logits, latent)
