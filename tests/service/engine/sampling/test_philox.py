"""Streams of words: the authors' own, in every place of key and counter, on every thread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.engine.sampling.philox import Domain, uniforms
from tests.service.engine.sampling.second_sampler import WORD, philox, second_uniforms

NUMBERS = [0.8758745613216316, 0.52566748520794, 0.9403247276034882]
WORDS = st.integers(0, WORD - 1)


def test_the_second_implementation_makes_the_authors_own_words() -> None:
    """Known answers published with Random123."""
    ones = WORD - 1
    zeros_give = (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)
    ones_give = (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)
    assert philox((0, 0, 0, 0), (0, 0)) == zeros_give
    assert philox((ones, ones, ones, ones), (ones, ones)) == ones_give


@given(
    rows=st.lists(st.tuples(st.integers(0, 2**63 - 1), WORDS), min_size=1, max_size=5),
    domain=st.sampled_from(Domain),
    count=st.integers(1, 9),
    redraw=WORDS,
)
def test_any_stream_equals_the_second_implementations(
    rows: list[tuple[int, int]], domain: Domain, count: int, redraw: int
) -> None:
    seeds, candidates = (np.array(column, np.uint64) for column in zip(*rows, strict=True))
    expected = [second_uniforms(seed, domain, count, candidate, redraw) for seed, candidate in rows]
    assert uniforms(seeds, domain, count, candidates, redraw).tolist() == expected


def test_a_stream_without_candidates_is_that_of_the_first() -> None:
    seeds = np.arange(9, dtype=np.uint64)
    assert (uniforms(seeds, Domain.LATENT, 5) == uniforms(seeds, Domain.LATENT, 5, np.zeros(9, np.uint64))).all()


def test_published_uniform_numbers_never_change() -> None:
    """What candidates 0, 1 and 2 of a seed are accepted by: written down once."""
    numbers = uniforms(np.full(3, 2023, np.uint64), Domain.SELECTION, 1, np.arange(3, dtype=np.uint64))
    assert numbers[:, 0].tolist() == NUMBERS
