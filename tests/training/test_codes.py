"""Codes: their layout, their prior, and what cannot be a code."""

import math

import pytest
import torch

from training.codes import Codes
from training.errors import ConfigError
from training.state.batches import codes as draw

CODES = Codes(categorical={"style": 3, "digit": 10}, continuous={"width": (0.0, 2.0), "slant": (-1.0, 1.0)})


def test_codes_are_laid_out_categorical_first_and_by_name() -> None:
    assert CODES.sizes == (10, 3)
    assert CODES.intervals == ((-1.0, 1.0), (0.0, 2.0))
    assert CODES.size == 15


def test_the_entropies_are_those_of_uniform_codes_in_nats() -> None:
    assert CODES.entropies == pytest.approx((math.log(10) + math.log(3), math.log(2) + math.log(2)))


def test_every_categorical_code_is_one_hot_and_every_continuous_one_within_its_interval() -> None:
    (digit, style), continuous = CODES.split(draw(0, 0, 0, 1_000, CODES))
    for code in (digit, style):
        assert torch.equal(code.sum(1), torch.ones(1_000))
        assert set(code.flatten().tolist()) == {0.0, 1.0}
    for values, (low, high) in zip(continuous.T, CODES.intervals, strict=True):
        assert low <= float(values.min()) < low + 0.05
        assert high - 0.05 < float(values.max()) < high


def test_a_batch_asks_for_each_category_as_often_but_for_the_remainder() -> None:
    (digit, style), _ = CODES.split(draw(0, 0, 0, 64, CODES))
    assert sorted(digit.sum(0).tolist()) == [6] * 6 + [7] * 4
    assert sorted(style.sum(0).tolist()) == [21, 21, 22]


def test_the_remainder_and_the_order_favour_no_category() -> None:
    draws = torch.stack([CODES.split(draw(0, 0, number, 12, CODES))[0][0] for number in range(3_000)])
    assert (draws.mean((0, 1)) - 1 / 10).abs().max() < 0.005
    assert (draws[:, 0].mean(0) - 1 / 10).abs().max() < 0.03  # five standard errors


def test_codes_of_one_sample_are_independent_of_each_other() -> None:
    (digit, style), _ = CODES.split(draw(0, 0, 0, 30_000, CODES))
    together = digit.T @ style / 30_000
    assert (together - 1 / 30).abs().max() < 0.01


def test_a_draw_depends_on_its_number_and_on_nothing_before() -> None:
    assert torch.equal(draw(1, 2, 3, 5, CODES), draw(1, 2, 3, 5, CODES))
    assert not torch.equal(draw(1, 2, 3, 5, CODES), draw(1, 2, 4, 5, CODES))


@pytest.mark.parametrize("codes", [Codes(categorical={"digit": 4}), Codes(continuous={"slant": (-1.0, 1.0)})])
def test_either_kind_may_be_missing(codes: Codes) -> None:
    categorical, continuous = codes.split(draw(0, 0, 0, 8, codes))
    assert sum(code.shape[1] for code in categorical) + continuous.shape[1] == codes.size


def test_what_cannot_be_a_code_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match='"Digit" cannot name a code; names are of a-z, 0-9 and _, a letter first'):
        Codes(categorical={"Digit": 10})
    with pytest.raises(ConfigError, match='the code "a" is both categorical and continuous; rename one'):
        Codes(categorical={"a": 10}, continuous={"a": (-1.0, 1.0)})
    with pytest.raises(ConfigError, match='the continuous code "a" must have a low end below its high end'):
        Codes(continuous={"a": (1.0, 1.0)})
