"""Checks outputs for NaN and infinity, and tells whether the package or its caller caused them.

Pixels cannot show NaN, so every floating output of every run is checked, requested or not. A caller who gave NaN or
absurdly large numbers gets what the graph makes of them; in every other case the package is at fault.

Shapes: B batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import Array, Outputs
from service.errors import NotFinite

# No prior and no data come near, and its square is far from the end of float32, where sums of such squares overflow.
LARGEST_ORDINARY = 1e6


def all_ordinary(inputs: Iterable[Array | None]) -> bool:
    """Whether a caller's numbers are such that every graph must answer finite ones; integers and None always are."""
    return all(
        bool((np.abs(values) <= LARGEST_ORDINARY).all())  # false of NaN
        for values in inputs
        if values is not None and values.dtype.kind == "f"
    )


@dataclass(frozen=True, slots=True)
class FinitenessCheck:
    """Which outputs of a graph must be finite.

    Attributes:
        outputs: names of its floating outputs.
        graph: the graph and its package, for the error message.
    """

    outputs: Sequence[str]
    graph: str

    def nonfinite_rows(self, batch: Outputs) -> NDArray[np.bool_] | None:
        """Find the rows of a batch, output name → [B, …], that hold NaN or infinity.

        Returns:
            [B], or None where all are finite, which is the cheapest case.
        """
        finite = [np.isfinite(batch[name]) for name in self.outputs]
        if all(flags.all() for flags in finite):
            return None
        rows = [flags.reshape(len(flags), -1).all(axis=1) for flags in finite]
        nonfinite: NDArray[np.bool_] = np.logical_not(np.min(rows, axis=0))
        return nonfinite

    def error(self) -> NotFinite:
        """The error of a request that the package could not answer."""
        return NotFinite(f"{self.graph} answers numbers that are not finite; its publisher has to mend the package")


UNCHECKED: Final = FinitenessCheck((), "the graph")
