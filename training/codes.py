"""The codes of InfoGAN: inputs of a generator beside its latents, with names and a prior.

    code [B, K]   one-hot categorical codes, then continuous ones, each kind in alphabetical order of its names

The order is alphabetical because a TOML table has none. A categorical code is uniform over its categories, a continuous
one over its interval; `training.state.batches` draws them, `training.objectives.infogan` learns to read them.

Shapes: B batch, K width of all codes together.

References:
    Chen et al., InfoGAN (2016), section 7.1: one uniform categorical code of ten and two uniform on (-1, 1) for MNIST.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch
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
