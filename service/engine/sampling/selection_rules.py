"""Three rules by which a discriminator selects one of a seed's candidates.

    best-of               the candidate with the highest logit
    rejection             the first candidate that is accepted, with probability p_data/p_g over its largest value
    metropolis-hastings   the state of a chain that starts at the first candidate and is offered the others in turn

A rule gets the candidates in rounds, in their order, and need not get all: its choice after any round is what it would
be if the candidates ended there. Rejection and Metropolis–Hastings use one uniform number per candidate, which the
caller draws from the seed; so the choice is a function of the seed alone.

Shapes: N samples, M of them in one round, R candidates of each in that round.

References:
    Azadi et al., Discriminator Rejection Sampling (2019), section 3, the practical scheme: F̂(x), ε and γ.
    Turner et al., Metropolis-Hastings Generative Adversarial Networks (2019), section 3: α(x′, x).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import Selection
from service.engine.model_spec import DensityRatio
from service.errors import InvalidRequest, Problem

Logits = NDArray[np.float64]
Uniforms = NDArray[np.float64]
Indices = NDArray[np.intp]

# Place of a sample that keeps the candidate of an earlier round.
UNCHANGED = -1


class Rule(Protocol):
    """A selection in progress, for N samples at once."""

    @property
    def active(self) -> Indices:
        """Indices of the samples that may still change, ascending."""
        ...

    def update(self, samples: Indices, logits: Logits, uniforms: Uniforms) -> Indices:
        """Take one round of candidates into account.

        Args:
            samples: [M], their samples; all N in the first round.
            logits: [M, R], finite.
            uniforms: [M, R], in (0, 1).

        Returns:
            [M], the place in the round of each sample's candidate; −1 where an earlier round's stays.
        """
        ...


def rule_of(selection: Selection, ratio: DensityRatio | None, samples: int) -> Rule:
    """The rule of a selection, before its first round.

    Args:
        ratio: of the discriminator's logits.
        samples: N.

    Raises:
        InvalidRequest: the rule needs a ratio and there is none.
    """
    if selection.method == "best-of":
        return BestOf(samples)
    if ratio is None:
        words = "what this discriminator's logits say of the density ratio is not known; ask for best-of"
        raise InvalidRequest(Problem(("selection",), words))
    if selection.method == "rejection":
        return Rejection(samples, ratio, selection.gamma)
    return MetropolisHastings(samples, ratio)


class BestOf:
    """The highest logit; of equal ones the first.

    Args:
        samples: N.
    """

    def __init__(self, samples: int) -> None:
        self._highest = np.full(samples, -np.inf)

    @property
    def active(self) -> Indices:
        """As `Rule.active`: all."""
        return np.arange(len(self._highest))

    def update(self, samples: Indices, logits: Logits, uniforms: Uniforms) -> Indices:
        """As `Rule.see`."""
        return _raise(self._highest, samples, logits)


class Rejection:
    """Discriminator rejection sampling.

    A candidate with log density ratio r is accepted with probability 1 / (1 + e^γ·(e^(M − r) − 1)), the logistic
    function of the paper's F̂ with its ε gone to zero; for γ = 0 that is e^(r − M), which is exact wherever r does not
    pass M. The paper raises M as it meets higher ratios, so that a sample depends on those before it; here M is the
    highest ratio of the exporter's reference samples and is constant. Where nothing is accepted in the end, the sample
    is the candidate that came nearest: the first that a lower M would accept.

    Args:
        samples: N.
        ratio: of the logits.
        gamma: γ, in nats.
    """

    def __init__(self, samples: int, ratio: DensityRatio, gamma: float) -> None:
        self._ratio = ratio
        self._gamma = gamma
        self._nearest = np.full(samples, -np.inf)
        self._accepted = np.zeros(samples, bool)

    @property
    def active(self) -> Indices:
        """As `Rule.active`: those without an accepted candidate."""
        return np.flatnonzero(~self._accepted)

    def update(self, samples: Indices, logits: Logits, uniforms: Uniforms) -> Indices:
        """As `Rule.see`."""
        margins = self._log_acceptance(logits) - np.log(uniforms)
        passed = margins > 0
        accepted = passed.any(axis=1)
        nearest = _raise(self._nearest, samples, margins)
        self._accepted[samples] = accepted
        return np.where(accepted, passed.argmax(axis=1), nearest)

    def _log_acceptance(self, logits: Logits) -> Logits:
        below = np.maximum(self._ratio.ceiling - self._ratio.curve.at(logits), 0)
        with np.errstate(divide="ignore"):  # at the ceiling: log 0, and acceptance 1
            excess = below + np.log(-np.expm1(-below))  # log(e^below − 1), without overflow
        accepted: Logits = -np.logaddexp(0, self._gamma + excess)
        return accepted


class MetropolisHastings:
    """An independence chain: from ratio r it moves to a candidate of ratio r′ with probability min(1, r′/r).

    The paper starts its chains at real samples; a service has none and starts at the first candidate.

    Args:
        samples: N.
        ratio: of the logits.
    """

    def __init__(self, samples: int, ratio: DensityRatio) -> None:
        self._ratio = ratio
        self._current = np.full(samples, -np.inf)  # below any ratio: the chain moves to the first candidate

    @property
    def active(self) -> Indices:
        """As `Rule.active`: all."""
        return np.arange(len(self._current))

    def update(self, samples: Indices, logits: Logits, uniforms: Uniforms) -> Indices:
        """As `Rule.see`."""
        current, places = self._current[samples], np.full(len(samples), UNCHANGED)
        log_uniforms = np.log(uniforms)
        for place, proposed in enumerate(self._ratio.curve.at(logits).T):
            moves = log_uniforms[:, place] < proposed - current
            current[moves], places[moves] = proposed[moves], place
        self._current[samples] = current
        return places


def _raise(highest: NDArray[np.float64], samples: Indices, values: NDArray[np.float64]) -> Indices:
    """Raise the samples' highest values [N] to those of a round [M, R]; returns the places of the new ones, [M]."""
    places = values.argmax(axis=1)
    best = np.take_along_axis(values, places[:, np.newaxis], axis=1)[:, 0]
    raised = best > highest[samples]
    highest[samples] = np.maximum(highest[samples], best)
    return np.where(raised, places, UNCHANGED)
