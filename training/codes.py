"""The codes of InfoGAN: inputs of a generator beside its latents, with names and a prior.

    code [B, K]   one-hot categorical codes, then continuous ones, each kind in alphabetical order of its names

The order is alphabetical because a TOML table has none. A categorical code is uniform over its categories, a continuous
one over its interval; `training.state.batches` draws them, `training.objectives.infogan` learns to read them. What they
came to mean is measured against labels, or against the factors of data that has known ones.

Shapes: B batch, K width of all codes together, N samples.

References:
    Chen et al., InfoGAN (2016), section 7.1: one uniform categorical code of ten and two uniform on (-1, 1) for MNIST.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from torch import Tensor

from training.errors import ConfigError

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what a package's manifest allows


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Which codes there are.

    Attributes:
        categorical: how many categories each has, at least 2, by name.
        continuous: the interval of each, low below high, by name.

    Raises:
        ConfigError: for a name or an interval that cannot be.
    """

    categorical: Mapping[str, int] = field(default_factory=dict)
    continuous: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and intervals."""
        for name in (*self.categorical, *self.continuous):
            if not NAME.fullmatch(name):
                raise ConfigError(f'"{name}" cannot name a code; names are of a-z, 0-9 and _, a letter first')
        for name in self.categorical.keys() & self.continuous.keys():
            raise ConfigError(f'the code "{name}" is both categorical and continuous; rename one')
        for name, (low, high) in self.continuous.items():
            if low >= high:
                raise ConfigError(f'the continuous code "{name}" must have a low end below its high end')

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Categories of each categorical code, in the order of the layout."""
        return tuple(self.categorical[name] for name in sorted(self.categorical))

    @cached_property
    def intervals(self) -> tuple[tuple[float, float], ...]:
        """Low and high end of each continuous code, in the order of the layout."""
        return tuple(self.continuous[name] for name in sorted(self.continuous))

    @property
    def size(self) -> int:
        """K."""
        return sum(self.sizes) + len(self.intervals)

    @property
    def entropies(self) -> tuple[float, float]:
        """H(c) in nats of all categorical codes, and of all continuous ones (differential)."""
        return sum(map(math.log, self.sizes)), sum(math.log(high - low) for low, high in self.intervals)

    def entry(self) -> dict[str, object]:
        """The manifest's entry, in the order of the layout."""
        return {
            "categorical": [{"name": name, "size": size} for name, size in sorted(self.categorical.items())],
            "continuous": [
                {"name": name, "low": low, "high": high} for name, (low, high) in sorted(self.continuous.items())
            ],
        }

    def split(self, values: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Split codes, or a code head's output, by code.

        Args:
            values: [B, K].

        Returns:
            [B, categories] for each categorical code, and [B, n] for the n continuous ones.
        """
        *categorical, continuous = torch.split(values, [*self.sizes, len(self.intervals)], dim=1)
        return tuple(categorical), continuous


@dataclass(frozen=True)
class CodeAccuracy:
    """Agreement of categories with classes.

    Attributes:
        one_to_one: share of samples whose category is matched with their class.
        majority: share of samples whose class is the most frequent one of their category.
        classes: of each category, its class under the one-to-one matching; -1 where there are more categories.
    """

    one_to_one: float
    majority: float
    classes: tuple[int, ...]


def code_accuracy(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> CodeAccuracy:
    """Compare the categories of samples with their labels.

    Args:
        probabilities: [N, K] of each category.
        labels: [N].

    Returns:
        Both shares and the matching.
    """
    categories = probabilities.shape[1]
    together = np.zeros((categories, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(together, (probabilities.argmax(axis=1), labels), 1)
    matched, chosen = linear_sum_assignment(together, maximize=True)
    classes = np.full(categories, -1)
    classes[matched] = chosen
    return CodeAccuracy(
        one_to_one=float(together[matched, chosen].sum() / len(labels)),
        majority=float(together.max(axis=1).sum() / len(labels)),
        classes=tuple(classes.tolist()),
    )


def factor_agreement(
    codes: Codes,
    readings: NDArray[np.floating],
    discrete: Mapping[str, NDArray[np.int64]],
    continuous: Mapping[str, NDArray[np.floating]],
) -> dict[str, float]:
    """Compare the codes that are read from samples with the factors that the samples were made from.

    Nothing says which code stands for which factor, so a discrete factor is compared with the categorical code that
    tells it best, and continuous ones are matched with continuous codes one to one.

    Args:
        readings: [N, K] of the code head.
        discrete: [N] classes of each factor.
        continuous: [N] values of each factor, none constant.

    Returns:
        Of each discrete factor the one-to-one accuracy, and of each continuous one |Spearman's rank correlation|, 0
        where it has no code of its own.
    """
    *categories, values = np.split(readings, np.cumsum(codes.sizes, dtype=np.int64), axis=1)
    found = {
        name: max((code_accuracy(code, labels).one_to_one for code in categories), default=0.0)
        for name, labels in discrete.items()
    }
    if not (codes.intervals and continuous):
        return found | dict.fromkeys(continuous, 0.0)
    truth = _standard_ranks(np.stack(list(continuous.values()), axis=1))
    related = np.abs(truth.T @ _standard_ranks(values)) / len(truth)
    matched = dict(zip(*linear_sum_assignment(related, maximize=True), strict=True))
    return found | {
        name: float(related[row, matched[row]]) if row in matched else 0.0 for row, name in enumerate(continuous)
    }


def _standard_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks of each column [N, n], of mean 0 and deviation 1; zeros where a column is constant."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    deviation = ranks.std(axis=0)
    standard: NDArray[np.float64] = np.divide(ranks, deviation, out=np.zeros_like(ranks), where=deviation > 0)
    return standard
