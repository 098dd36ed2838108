"""Findings: when one holds."""

import math
from typing import Literal

import pytest

from training.verification.base import Finding

Relation = Literal["equal", "at_most", "at_least"]


def finding(measured: float, relation: Relation) -> Finding:
    return Finding(identity="one", source="a paper", measured=measured, expected=1.0, tolerance=0.1, relation=relation)


@pytest.mark.parametrize(
    ("relation", "held", "broken"),
    [("equal", (0.95, 1.05), (0.8, 1.2)), ("at_most", (-9.0, 1.05), (1.2,)), ("at_least", (9.0, 0.95), (0.8,))],
)
def test_a_finding_holds_on_the_right_side_of_its_expectation(
    relation: Relation, held: tuple[float, ...], broken: tuple[float, ...]
) -> None:
    assert all(finding(measured, relation).holds for measured in held)
    assert not any(finding(measured, relation).holds for measured in broken)


@pytest.mark.parametrize("relation", ["equal", "at_most", "at_least"])
def test_what_is_not_a_number_never_holds(relation: Relation) -> None:
    assert not finding(math.nan, relation).holds
