"""The result of a verification: a number of the code, and that of theory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from training.errors import FAILED_CHECK_EXIT_CODE, TrainingError


class VerificationError(TrainingError):
    """Theory and code disagree somewhere.

    Args:
        result: all findings, as `--json` prints them.
    """

    exit_code = FAILED_CHECK_EXIT_CODE

    def __init__(self, broken: str, result: object = None) -> None:
        super().__init__(broken)
        self.result = result


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One identity, checked against the code.

    Attributes:
        identity: the statement, in words and symbols.
        source: reference, with the equation.
        measured: what the code gives.
        expected: what theory gives.
        tolerance: how far apart they may be.
        relation: whether the numbers should be equal, or the expected one is a bound.
    """

    identity: str
    source: str
    measured: float
    expected: float
    tolerance: float
    relation: Literal["equal", "at_most", "at_least"] = "equal"

    @property
    def holds(self) -> bool:
        """Whether the identity holds; False for NaN."""
        excess = self.measured - self.expected
        if self.relation == "equal":
            return abs(excess) <= self.tolerance
        return excess <= self.tolerance if self.relation == "at_most" else excess >= -self.tolerance


Verification = Callable[[], Iterator[Finding]]
