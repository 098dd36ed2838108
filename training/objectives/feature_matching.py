"""Feature matching: the generator matches the mean of the discriminator's features instead of fooling it.

    critic     the cross-entropy of the original game
    generator  ||E f(x) - E f(G(z))||^2

f is what the discriminator's last layer sees. The critic learns features in which real and generated samples differ;
the generator makes their means agree instead of following the critic's current logit, and is at a fixed point once
these statistics equal the data's. This is weaker than the original game: equal means do not imply equal distributions.

References:
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.1.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from training.errors import ConfigError
from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.minimax import NonSaturating


@dataclass(frozen=True, kw_only=True)
class FeatureMatching(NonSaturating):
    """The original game's critic against a generator that matches its features."""

    kind: ClassVar[str] = "feature_matching"

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """Squared distance of the mean features of the real and of the generated samples, [F] each.

        Args:
            nets: the players, of which the discriminator gives features.

        Returns:
            The loss, at least 0; by unbiased samples of equal distributions it is about 2 tr Cov(f) / B, not 0.

        Raises:
            ConfigError: if the discriminator has no features.
        """
        if nets.features is None:
            raise ConfigError("[objective] feature_matching needs a discriminator with features, such as a dcgan's")
        with torch.no_grad():  # f(x) does not depend on the generator
            real = nets.features(nets.shown(batch.real)).mean(0)
        fake = nets.features(nets.shown(nets.generate(batch))).mean(0)
        total = (real - fake).square().sum()
        return LossTerms(total, {"feature_distance": total.detach()})
