"""Numbers that are not finite: which rows of a batch hold them, and whose fault they are.

A generator that divides by zero answers NaN, which pixels cannot show: they would be black. So every run's floating
outputs are looked at, wanted or not, by the thread that ran it. Whoever gave the numbers that a graph was fed, and gave
NaN or numbers beyond all reason, gets what the graph makes of them; in every other case the package is at fault.

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


def all_ordinary(given: Iterable[Array | None]) -> bool:
    """Whether numbers that a caller gave are such that every graph must answer finite ones."""
    return all(
        bool((np.abs(values) <= LARGEST_ORDINARY).all())  # false of NaN
        for values in given
        if values is not None and values.dtype.kind == "f"
    )


@dataclass(frozen=True, slots=True)
class Finite:
    """What of a graph must be finite.

    Attributes:
        outputs: names of its floating outputs.
        graph: it and its package, for whoever reads that they were not.
    """

    outputs: Sequence[str]
    graph: str

    def broken_rows(self, batch: Outputs) -> NDArray[np.bool_] | None:
        """Find the rows of a batch with numbers that are not finite.

        Args:
            batch: output name → [B, …].

        Returns:
            [B], or None where all are finite, which costs least.
        """
        finite = [np.isfinite(batch[name]) for name in self.outputs]
        if all(flags.all() for flags in finite):
            return None
        sound = [flags.reshape(len(flags), -1).all(axis=1) for flags in finite]
        broken: NDArray[np.bool_] = np.logical_not(np.min(sound, axis=0))
        return broken

    def fault(self) -> NotFinite:
        """What a caller is told."""
        return NotFinite(f"{self.graph} answers numbers that are not finite; its publisher has to mend the package")


UNCHECKED: Final = Finite((), "the graph")
