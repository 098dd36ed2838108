"""IRGAN: a game over items, whose generator draws from a catalogue and learns by policy gradient.

    min over theta, max over phi of  E_{i ~ true(.|u)} log D(i|u) + E_{i ~ p_theta(.|u)} log(1 - D(i|u))

with D = sigmoid(f).

An item has no gradient by the scores that it was drawn from, so the generator follows the likelihood-ratio identity

    grad E_{p_theta} r(i) = E_{p_theta} [r(i) grad log p_theta(i|u)]

with a reward r that grows with f. Few draws of an untrained generator have any, so IRGAN draws from a mixture of it and
of what the user took, p_n = (1 - s) p_theta + s uniform(taken), and weighs each draw by p_theta / p_n. Here every row
of a batch gives one draw of either part (its generated item and its real one), weighted 1 - s and s: the same
expectation, without the variance of choosing a part at random.

The critic's negatives come from the generator at a temperature: below 1 they concentrate on its highest scores, the
hard negatives. Before the game the generator learns by maximum likelihood of each item among those that the user has
not taken.

Shapes: B batch, I items.

References:
    Wang et al., IRGAN: A Minimax Game for Unifying Generative and Discriminative Information Retrieval Models (2017),
    equations 1 and 5, section 2.2; the mixture p_n and the centred reward are those of its published code.
    Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning (1992).
    Veach and Guibas, Optimally Combining Sampling Techniques for Monte Carlo Rendering (1995): stratified mixtures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

import torch
from torch import Tensor
from torch.nn.functional import softplus

from training.objectives.base import Batch, LossTerms, Networks
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class Irgan:
    """The game over items.

    Attributes:
        pretraining_steps: iterations, from the first, in which the generator learns by maximum likelihood.
        temperature: at which the critic's negatives are drawn; 1 draws them as the generator is served, 0.2 is the
            published code's.
        taken_share: s, the weight of what the user took in the importance sampling.
        reward: "centred" is 2 sigmoid(f) - 1, of the published code; "softplus" is log(1 + exp f), of the paper.
        baseline: "batch" takes from each reward the mean of the other rows' draws, which moves no expectation; or none.
    """

    kind: ClassVar[str] = "irgan"
    loss_family: ClassVar[str] = "minimax"
    penalty_every_steps: ClassVar[int] = 1  # there is no penalty: a discrete item has no gradient

    pretraining_steps: Annotated[int, Range(at_least=0)] = 0
    temperature: Annotated[float, Range(above=0)] = 1.0
    taken_share: Annotated[float, Range(at_least=0, below=1)] = 0.2
    reward: Literal["centred", "softplus"] = "centred"
    baseline: Literal["batch", "none"] = "none"

    @property
    def weight_bound(self) -> float | None:
        """No bound on the critic's weights."""
        return None

    def at(self, progress: float, step: int) -> Self:
        """The same objective, with as much pretraining as is left.

        Args:
            progress: share of the run that is over; nothing depends on it.
            step: number of the iteration, from 0.

        Returns:
            An objective that pretrains or plays.
        """
        return replace(self, pretraining_steps=max(0, self.pretraining_steps - step))

    def critic_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """Cross-entropy of the critic with target 1 on taken items and 0 on drawn ones.

        Args:
            nets: the players; the generator draws from a catalogue.
            batch: items [B], users [B] as labels, and Gumbel latents [B, I].

        Returns:
            2 log 2 where every logit is 0.

        References:
            Wang et al. (2017), equation 3.
        """
        with torch.no_grad():
            # argmax(scores / T + z) = argmax(scores + T z), for T > 0.
            drawn = nets.generate(replace(batch, latents=self.temperature * batch.latents))
        real, fake = nets.judge(batch.real, batch), nets.judge(drawn, batch)
        total = softplus(-real).mean() + softplus(fake).mean()
        return _terms(total, logit_real=real.mean(), logit_fake=fake.mean())

    def generator_loss(self, nets: Networks, batch: Batch) -> LossTerms:
        """A surrogate whose gradient is the policy gradient of minus the expected reward; or the likelihood, at first.

        Args:
            nets: the players; the generator has scores and knows what users took.
            batch: items [B], users [B] as labels, and Gumbel latents [B, I].

        Returns:
            The loss; only its gradient is meaningful, and the part `reward` is the figure to watch.

        References:
            Wang et al. (2017), equation 5.
        """
        scores, taken = _catalogue(nets, batch)
        if self.pretraining_steps:
            total = negative_log_likelihood(scores, taken, batch.real)
            return _terms(total, adversarial=total)
        log_p = scores.log_softmax(1)
        with torch.no_grad():
            drawn = nets.generate(batch)
            reward_drawn, reward_taken = (self._reward(nets.judge(items, batch)) for items in (drawn, batch.real))
            # Given the user, a row's real item is a uniform draw of what the user took.
            baseline = self._baseline(reward_drawn)  # one for both parts, or it would not cancel in the mixture
        total = -(
            (1 - self.taken_share) * self._gain(log_p, taken, drawn, reward_drawn - baseline)
            + self.taken_share * self._gain(log_p, taken, batch.real, reward_taken - baseline)
        )
        return _terms(total, adversarial=total, reward=reward_drawn.mean(), reward_taken=reward_taken.mean())

    def _reward(self, logits: Tensor) -> Tensor:
        return 2 * logits.sigmoid() - 1 if self.reward == "centred" else softplus(logits)

    def _gain(self, log_p: Tensor, taken: Tensor, items: Tensor, rewards: Tensor) -> Tensor:
        """Mean over rows of weight * reward * log p, of items [B] with rewards [B]."""
        chosen = log_p.gather(1, items[:, None]).squeeze(1)
        weights = importance(chosen.detach().exp(), taken, items, self.taken_share)
        return (weights * rewards * chosen).mean()

    def _baseline(self, rewards: Tensor) -> Tensor:
        if self.baseline == "none" or len(rewards) == 1:
            return torch.zeros_like(rewards)
        return (rewards.sum() - rewards) / (len(rewards) - 1)


def importance(probabilities: Tensor, taken: Tensor, items: Tensor, taken_share: float) -> Tensor:
    """Weights p_theta / p_n of draws from the mixture p_n.

    Args:
        probabilities: [B] p_theta of the drawn items.
        taken: [B, I] bool, at least one a row.
        items: [B] the drawn items.
        taken_share: s.

    Returns:
        [B], at most 1 / (1 - s).
    """
    uniform = taken.gather(1, items[:, None]).squeeze(1) / taken.sum(1)
    return probabilities / ((1 - taken_share) * probabilities + taken_share * uniform)


def negative_log_likelihood(scores: Tensor, taken: Tensor, items: Tensor) -> Tensor:
    """Minus the mean log-probability of an item among itself and all that its user has not taken.

    Args:
        scores: [B, I].
        taken: [B, I] bool.
        items: [B], each taken.

    Returns:
        Scalar, nats.

    References:
        Plackett (1975): the last of a user's choices, for any order of the others.
    """
    others = scores.masked_fill(taken, -torch.inf).logsumexp(1)
    return softplus(others - scores.gather(1, items[:, None]).squeeze(1)).mean()


def _catalogue(nets: Networks, batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores [B, I] and what users took, [B, I]."""
    return _given(nets.scores, "scores")(*batch.conditions), _given(nets.choices, "choices")(*batch.conditions)


def _given(function: Callable[[Tensor], Tensor] | None, name: str) -> Callable[[Tensor], Tensor]:
    if function is None:
        raise ValueError(f"IRGAN needs the generator's {name}: it must draw from a catalogue")
    return function


def _terms(total: Tensor, **parts: Tensor) -> LossTerms:
    return LossTerms(total, {name: part.detach() for name, part in parts.items()})
