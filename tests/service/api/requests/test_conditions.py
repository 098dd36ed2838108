"""Conditions: one id for all samples or one a sample, and sentences that say which ids there are."""

import pytest

from service.api.requests.fields import read_conditions
from service.errors import InvalidRequest
from service.packages.schema import Condition

USER = Condition(name="user", count=5)


def test_one_id_is_for_all_and_a_list_is_one_a_sample() -> None:
    one, each = read_conditions(4, USER, count=3), read_conditions([4, 0, 2], USER, count=3)
    assert one is not None
    assert each is not None
    assert one.tolist() == [4, 4, 4]
    assert each.tolist() == [4, 0, 2]


def test_a_package_without_a_condition_needs_and_takes_none() -> None:
    assert read_conditions(None, None, count=3) is None
    with pytest.raises(InvalidRequest, match="no condition is taken here"):
        read_conditions(0, None, count=3)


@pytest.mark.parametrize(
    ("given", "loc", "words"),
    [
        (None, [], "needs the user's id, a number from 0 to 4: one for all samples, or a list of one a sample"),
        (5, [], "must be the user's id, a number from 0 to 4"),
        (-1, [], "must be the user's id, a number from 0 to 4"),
        (10**400, [], "must be the user's id, a number from 0 to 4"),
        ([0, 5, 0], [1], "must be the user's id, a number from 0 to 4"),
        ([0, 1], [], "there are 2 ids for 3 samples"),
    ],
)
def test_an_id_that_is_missing_or_unknown_is_refused_with_the_ids_there_are(
    given: int | list[int] | None, loc: list[int], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as refusal:
        read_conditions(given, USER, count=3, place="query")
    assert refusal.value.problems[0].loc == ("query", "condition", *loc)
