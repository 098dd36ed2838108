"""Tables as dataclasses: what is accepted, and how each mistake is worded."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import ConfigError
from training.tables import Range, bind, to_toml, unbind


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    eggs: Annotated[int, Range(at_least=1)] = 2
    butter: Annotated[float, Range(above=0, below=1)] = 0.5
    heat: Literal["low", "high"] = "low"
    vegan: bool = False
    layers: tuple[Annotated[int, Range(at_least=1)], ...] | Literal["auto"] = "auto"
    tin: tuple[float, float] = (20.0, 30.0)
    spices: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def test_a_table_fills_the_dataclass_and_defaults_fill_the_rest() -> None:
    table = {
        "name": "cake",
        "eggs": 3,
        "butter": 0.25,
        "layers": [1, 2],
        "tin": [10, 20.5],
        "spices": {"nutmeg": [0, 1]},
    }
    assert bind(table, Recipe, "[cake]") == Recipe(
        name="cake", eggs=3, butter=0.25, layers=(1, 2), tin=(10.0, 20.5), spices={"nutmeg": (0.0, 1.0)}
    )


def test_an_integer_is_accepted_as_a_number_and_becomes_one() -> None:
    tin = bind({"name": "cake", "tin": [10, 20]}, Recipe, "[cake]").tin
    assert [type(side) for side in tin] == [float, float]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"name": "a", "egs": 2}, '[cake] has no key "egs"; did you mean "eggs"?'),
        (
            {"name": "a", "zzz": 2},
            '[cake] has no key "zzz"; valid are "butter", "eggs", "heat", "layers", "name", "spices", "tin", "vegan"',
        ),
        ({}, '[cake] lacks the key "name"'),
        ({"name": 7}, "[cake] name is 7 but must be text"),
        ({"name": "a", "eggs": 0}, "[cake] eggs is 0 but must be an integer of at least 1"),
        ({"name": "a", "eggs": 2.5}, "[cake] eggs is 2.5 but must be an integer of at least 1"),
        ({"name": "a", "eggs": True}, "[cake] eggs is true but must be an integer of at least 1"),
        ({"name": "a", "butter": 1}, "[cake] butter is 1 but must be a number above 0 and below 1"),
        ({"name": "a", "butter": "0.5"}, '[cake] butter is "0.5" but must be a number above 0 and below 1'),
        ({"name": "a", "butter": False}, "[cake] butter is false but must be a number above 0 and below 1"),
        ({"name": "a", "vegan": 1}, "[cake] vegan is 1 but must be true or false"),
        ({"name": "a", "heat": "hihg"}, '[cake] heat is "hihg" but must be one of "low", "high"; did you mean "high"?'),
        (
            {"name": "a", "layers": []},
            '[cake] layers is [] but must be a list of one or more entries, each an integer of at least 1 or "auto"',
        ),
        ({"name": "a", "tin": [1.0]}, "[cake] tin is [1.0] but must be a list of 2 entries, each a number"),
        (
            {"name": "a", "spices": {"salt": 1}},
            '[cake] spices is {"salt": 1} but must be a table of names, each a list of 2 entries, each a number',
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(table: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(table, Recipe, "[cake]")
    assert str(caught.value) == sentence


@dataclass(frozen=True, kw_only=True)
class Toppings:
    layers: tuple[()] | tuple[Annotated[int, Range(at_least=1)], ...] = (1,)


def test_a_list_may_be_empty_where_the_type_says_so() -> None:
    assert bind({"layers": []}, Toppings, "[cake]").layers == ()
    assert bind({"layers": [3, 2]}, Toppings, "[cake]").layers == (3, 2)
    assert bind(tomllib.loads(to_toml(unbind(Toppings(layers=())))), Toppings, "[cake]").layers == ()
    with pytest.raises(ConfigError, match=r"must be an empty list or a list of one or more entries, each an integer"):
        bind({"layers": [0]}, Toppings, "[cake]")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_is_finite(number: float) -> None:
    with pytest.raises(ConfigError, match="tin"):
        bind({"name": "a", "tin": [number, 1.0]}, Recipe, "[cake]")


@given(
    st.builds(
        Recipe,
        name=st.text(st.characters(exclude_categories=["Cs"])),
        eggs=st.integers(1, 2**63 - 1),
        butter=st.floats(0, 1, exclude_min=True, exclude_max=True),
        heat=st.sampled_from(["low", "high"]),
        vegan=st.booleans(),
        layers=st.one_of(st.just("auto"), st.lists(st.integers(1, 9), min_size=1).map(tuple)),
        tin=st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)),
        spices=st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=2
        ),
    )
)
def test_what_is_written_reads_back_as_the_equal_value(recipe: Recipe) -> None:
    assert bind(tomllib.loads(to_toml(unbind(recipe))), Recipe, "[cake]") == recipe
