"""InfoGAN: samples keep information about the codes they were generated from.

    min_{G,Q} max_D  V(D, G) - lambda L_I(G, Q)        L_I = E_{c, x ~ G(z, c)} log Q(c|x) + H(c)  <=  I(c; G(z, c))

A code head Q predicts the codes of a generated sample; its log-likelihood bounds their mutual information from below,
and maximising the bound gives the codes a meaning without labels. The bound of a categorical code is at most its
entropy, log 10 for ten categories. A continuous code is modelled by a normal distribution of standard deviation one, as
in the authors' code: maximising the bound minimises the squared error, and at zero error it is log(high - low) - log(2
pi)/2, which is negative for short intervals.

Both sides maximise the bound: D and Q in the critic's step, on samples that count as constant there, and G in its own,
through Q. The adversarial game is the non-saturating one.

The bound does not determine what categories mean: ten slants of a digit satisfy it as well as ten digits. With
`weight_steady`, Q has to agree on a real image x and on a slightly warped one, T(x),

    S(Q) = -E_{x ~ p, T} sum_c Q(c|x) log Q(c|T(x))        with Q(c|x) as a constant,

so that nothing T changes can be a category; the bound keeps S from being satisfied by a single category. S sharpens
existing boundaries, so its weight grows from zero: applied from the first step, it keeps two digits in one category.
This is not in the InfoGAN paper but the self-augmentation of Hu et al.; it costs one more pass over the real images.

References:
    Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets
    (2016), equations 3 to 6, section 6. Authors' code: github.com/openai/InfoGAN, `infogan_trainer.py`.
    Barber and Agakov, The IM Algorithm (2003): the bound.
    Hu et al., Learning Discrete Representations via Information Maximizing Self-Augmented Training (2017).
    Ojha et al., Elastic-InfoGAN (2020): warped real images make InfoGAN's categories invariant, by a contrastive loss.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, ClassVar, Final, Self

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from training.codes import Codes
from training.objectives.base import Batch, LossTerms, Networks
from training.objectives.minimax import NonSaturating
from training.objectives.penalties import Weight
from training.schedule import Fraction
from training.tables import Range

HALF_LOG_TWO_PI: Final = math.log(2 * math.pi) / 2  # of the normal density of standard deviation 1


def information_bounds(codes: Codes, parameters: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Bound the mutual information of samples and codes from below: E log Q(c|x) + H(c), for both kinds of code.

    Args:
        parameters: [B, K] of Q: logits of the categorical codes, then means of the continuous ones.
        drawn: [B, K], the codes that the samples were generated from.

    Returns:
        Nats of all categorical codes together, at most their entropy (log of the number of categories), and of all
        continuous ones; each a lower bound on the mutual information, up to what a finite batch adds by chance.

    References:
        Chen et al. (2016), equation 5.
    """
    logits, means = codes.split(parameters)
    asked, values = codes.split(drawn)
    entropy_categorical, entropy_continuous = codes.entropies
    read = [(one * log_softmax(logit, dim=1)).sum(1).mean() for one, logit in zip(asked, logits, strict=True)]
    density = -(values - means).square().sum(1).mean() / 2 - HALF_LOG_TWO_PI * means.shape[1]
    return sum(read, parameters.new_zeros(())) + entropy_categorical, density + entropy_continuous


@dataclass(frozen=True, kw_only=True)
class InfoGan(NonSaturating):
    """The non-saturating game with codes.

    Attributes:
        categorical: how many categories each categorical code has, by name.
        continuous: the interval of each continuous code, by name.
        weight_categorical: lambda of the categorical codes' bound.
        weight_continuous: lambda of the continuous codes' bound.
        weight_steady: of the categories' steadiness under warps of real images; 0 is the paper's game.
        steady_ramp: share of the run over which this weight grows from 0.
    """

    kind: ClassVar[str] = "infogan"

    categorical: Mapping[str, Annotated[int, Range(at_least=2)]] = field(default_factory=dict)
    continuous: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weight_categorical: Weight = 1.0
    weight_continuous: Weight = 1.0
    weight_steady: Weight = 0.0
    steady_ramp: Fraction = 0.0

    def __post_init__(self) -> None:
        """Check the codes as a whole."""
        _ = self.codes

    @cached_property
    def codes(self) -> Codes:
        """The codes and their prior."""
        return Codes(categorical=self.categorical, continuous=self.continuous)

    def at(self, progress: float, step: int) -> Self:
        """The same objective with the weights of this moment; see `GradientPenalties.at`."""
        grown = min(progress / self.steady_ramp, 1.0) if self.steady_ramp else 1.0
        return replace(super().at(progress, step), weight_steady=self.weight_steady * grown, steady_ramp=0.0)

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The discriminator's loss minus the weighted bounds plus the weighted S(Q); trains D and Q.

        Args:
            batch: real samples [B, ...], latents [B, Z] and codes [B, K].

        Returns:
            The loss; 2 log 2 less the weighted bounds where every logit is 0.
        """
        watched, seen = _watched(nets)
        terms = super().critic_loss(watched, batch)
        real, generated = seen[0], seen[-1]
        terms = self._less_information(terms, nets, batch, generated)
        if self.weight_steady == 0:
            return terms
        unsteadiness = self._unsteadiness(nets, batch.real, real)
        total = terms.total + batch.weight("weight_steady", self.weight_steady) * unsteadiness
        return LossTerms(total, {**terms.parts, "unsteadiness": unsteadiness.detach()})

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """The non-saturating loss minus the weighted bounds; trains G through D and Q.

        Args:
            batch: latents [B, Z] and codes [B, K]; the real samples are not used.

        Returns:
            The loss; log 2 less the weighted bounds where every logit is 0.
        """
        watched, seen = _watched(nets)
        terms = super().generator_loss(watched, batch)
        return self._less_information(terms, nets, batch, seen[-1])

    def _unsteadiness(self, nets: Networks, real: Tensor, features: Tensor) -> Tensor:
        """S(Q) of real images [B, C, H, W] with features [B, F]: nats, at least the entropy of Q(c|x)."""
        if nets.features is None or nets.code_head is None or nets.warp is None:
            raise ValueError("steady categories need a code head and warps")
        with torch.no_grad():
            before, _ = self.codes.split(nets.code_head(features))
        after, _ = self.codes.split(nets.code_head(nets.features(nets.warp(real))))
        pairs = zip(before, after, strict=True)
        return sum(
            (-(softmax(said, dim=1) * log_softmax(now, dim=1)).sum(1).mean() for said, now in pairs), real.new_zeros(())
        )

    def _less_information(self, terms: LossTerms, nets: Networks, batch: Batch, features: Tensor) -> LossTerms:
        if nets.code_head is None or batch.codes is None:
            raise ValueError("InfoGAN needs a code head and codes")
        categorical, continuous = information_bounds(self.codes, nets.code_head(features), batch.codes)
        total = terms.total - self.weight_categorical * categorical - self.weight_continuous * continuous
        readings = {"information_categorical": categorical.detach(), "information_continuous": continuous.detach()}
        return LossTerms(total, {**terms.parts, **readings})


def _watched(nets: Networks) -> tuple[Networks, list[Tensor]]:
    """The players, and the features [B, F] of every batch that the discriminator judges: one pass serves D and Q."""
    seen: list[Tensor] = []

    def discriminator(samples: Tensor) -> Tensor:
        if nets.features is None or nets.verdict is None:
            raise ValueError("InfoGAN needs a discriminator with features for the code head")
        seen.append(nets.features(samples))
        return nets.verdict(seen[-1])

    return replace(nets, discriminator=discriminator), seen
