"""What a verification hands over: a number that the code gives, beside the number that theory gives.

It knows nothing of how either number came about, nor of how the table looks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from training.errors import TrainingError

FAILED_EXIT_CODE = 1  # the command was right and ran to its end; what it looked at is wrong


class VerificationError(TrainingError):
    """Theory and code disagree somewhere."""

    exit_code = FAILED_EXIT_CODE


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One identity, held against the code.

    Attributes:
        identity: the statement, in words and symbols.
        source: where it comes from, down to the equation.
        measured: what the code gives.
        expected: what theory gives.
        tolerance: how far apart they may be.
        relation: whether they should be equal, or the expected number is a bound.
    """

    identity: str
    source: str
    measured: float
    expected: float
    tolerance: float
    relation: Literal["equal", "at_most", "at_least"] = "equal"

    @property
    def holds(self) -> bool:
        """Whether the measured number is where it should be; never for one that is not a number."""
        excess = self.measured - self.expected
        if self.relation == "equal":
            return abs(excess) <= self.tolerance
        return excess <= self.tolerance if self.relation == "at_most" else excess >= -self.tolerance


Verification = Callable[[], Iterator[Finding]]
