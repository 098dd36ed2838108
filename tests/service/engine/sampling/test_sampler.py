"""The seed's promise: the same latent on every machine, alone or in any batch.

The golden values come from a second implementation in `tests/service/engine/sampling/second_sampler.py`.
"""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.engine.interface import SamplerName
from service.engine.model_spec import CodeSpec, Prior
from service.engine.sampling.sampler import check_redraws, check_seeds, codes, labels, latents
from service.errors import InvalidRequest
from tests.service.engine.sampling.second_sampler import second_latent, second_uniforms

LARGEST_SEED = 2**63 - 1
CANDIDATE = ["0xbf0e6b27", "0xbebb78af", "0x3eae2960"]
TRUNCATED = ["0x3d70fa47", "0xbebb78af", "0x3eae2960"]
PRIORS: tuple[Prior, ...] = ("standard_normal", "uniform", "gumbel")


class Options(TypedDict, total=False):
    """What may be asked of `latents` beyond its seeds."""

    candidates: NDArray[np.uint64]
    truncation: float


some_seeds = st.lists(st.integers(0, LARGEST_SEED), min_size=1, max_size=8)
any_prior = st.sampled_from(PRIORS)
any_size = st.integers(1, 40)


def array(*seeds: int) -> NDArray[np.uint64]:
    return np.array(seeds, np.uint64)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 64, 129])
@pytest.mark.parametrize("seed", [0, 1, 7, 2**32, 2**53 + 1, LARGEST_SEED])
def test_a_latent_equals_the_second_implementations(seed: int, size: int, prior: Prior) -> None:
    assert latents(array(seed), size, prior).tobytes() == second_latent(seed, size, prior).tobytes()


@given(seed=st.integers(0, LARGEST_SEED), size=any_size, prior=any_prior)
def test_any_latent_equals_the_second_implementations(seed: int, size: int, prior: Prior) -> None:
    assert latents(array(seed), size, prior).tobytes() == second_latent(seed, size, prior).tobytes()


def test_published_latents_never_change() -> None:
    """What a stored seed means: written down once, in bits."""
    normal = latents(array(0, 2023), 3, "standard_normal").view(np.uint32)
    assert [[hex(bits) for bits in row] for row in normal.tolist()] == [
        ["0x3faea2c3", "0xbfde524d", "0xbf154f1d"],
        ["0x3e07e0a6", "0x3ffa9630", "0x3f9ac46d"],
    ]


@given(
    rows=st.lists(st.tuples(st.integers(0, LARGEST_SEED), st.integers(0, LARGEST_SEED)), min_size=1, max_size=4),
    size=st.integers(1, 9),
    prior=st.sampled_from(("standard_normal", "uniform")),
    truncation=st.none() | st.floats(0.1, 3),
)
def test_any_candidate_under_any_truncation_equals_the_second_implementations(
    rows: list[tuple[int, int]], size: int, prior: Prior, truncation: float | None
) -> None:
    seeds, candidates = (array(*column) for column in zip(*rows, strict=True))
    drawn = latents(seeds, size, prior, candidates=candidates, truncation=truncation)
    expected = [second_latent(seed, size, prior, candidate, truncation) for seed, candidate in rows]
    assert drawn.tobytes() == np.stack(expected).tobytes()


def test_published_candidates_and_truncated_latents_never_change() -> None:
    """Written down once, in bits: candidate 1 of a seed, and its coordinates within ±0.5."""
    candidate = latents(array(2023), 3, "standard_normal", candidates=array(1))
    truncated = latents(array(2023), 3, "standard_normal", candidates=array(1), truncation=0.5)
    assert [hex(bits) for bits in candidate.view(np.uint32)[0].tolist()] == CANDIDATE
    assert [hex(bits) for bits in truncated.view(np.uint32)[0].tolist()] == TRUNCATED


def test_the_first_candidate_is_the_seeds_own_latent() -> None:
    seeds = np.arange(20, dtype=np.uint64)
    first = latents(seeds, 7, "standard_normal", candidates=np.zeros(20, np.uint64))
    assert first.tobytes() == latents(seeds, 7, "standard_normal").tobytes()


@given(seeds=some_seeds, size=any_size, truncation=st.floats(0.1, 3))
def test_truncation_redraws_what_is_outside_and_leaves_the_rest(seeds: list[int], size: int, truncation: float) -> None:
    whole = latents(array(*seeds), size, "standard_normal").astype(np.float64)
    inside = latents(array(*seeds), size, "standard_normal", truncation=truncation).astype(np.float64)
    assert np.abs(inside).max() <= truncation
    kept = np.abs(whole) <= truncation
    assert (inside[kept] == whole[kept]).all()
    assert (inside[~kept] != whole[~kept]).all()
    longer = latents(array(*seeds), size + 5, "standard_normal", truncation=truncation)
    assert (longer[:, :size] == inside).all()


def test_many_truncated_coordinates_have_the_truncated_priors_deviation() -> None:
    values = latents(np.arange(1000, dtype=np.uint64), 64, "standard_normal", truncation=0.5).astype(np.float64)
    density, inside = math.exp(-(0.5**2) / 2) / math.sqrt(2 * math.pi), math.erf(0.5 / math.sqrt(2))
    assert values.mean() == pytest.approx(0, abs=5 * 0.3 / math.sqrt(values.size))
    assert values.std() == pytest.approx(math.sqrt(1 - 2 * 0.5 * density / inside), rel=0.01)


@pytest.mark.parametrize(
    ("prior", "sampler", "options", "words"),
    [
        ("standard_normal", "numpy-legacy", {"truncation": 1.0}, "one drawing"),
        ("standard_normal", "numpy-legacy", {"candidates": np.zeros(1, np.uint64)}, "one drawing"),
        ("gumbel", "philox-1", {"truncation": 1.0}, "Gumbel"),
        ("standard_normal", "philox-1", {"truncation": 0.09}, "0.1 or more"),
        ("standard_normal", "philox-1", {"truncation": math.nan}, "0.1 or more"),
    ],
)
def test_what_a_seed_has_not_is_refused(prior: Prior, sampler: SamplerName, options: Options, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        check_redraws(prior, sampler, options.get("truncation"), has_candidates="candidates" in options)


@pytest.mark.parametrize(
    ("prior", "seed", "coordinate", "rounded_once"),
    [
        ("standard_normal", 220_933, 33, "0x1.c626b4p-5"),
        ("standard_normal", 305_421, 13, "-0x1.242ec4p-2"),
        ("standard_normal", 437_291, 22, "0x1.07b952p-30"),
        ("standard_normal", 621_422, 20, "0x1.4fc59cp-11"),
        ("standard_normal", 950_472, 25, "-0x1.ffdf3ep-19"),
        ("standard_normal", 1_174_848, 16, "-0x1.0cf8c8p-5"),
        ("standard_normal", 2_048_644, 0, "-0x1.1ed6f8p-26"),
        ("gumbel", 3_792_343, 50, "-0x1.1fe46ep-20"),
        ("gumbel", 4_244_453, 17, "-0x1.b51e26p-24"),
        ("gumbel", 4_440_195, 6, "0x1.9af386p-23"),
    ],
)
def test_a_coordinate_that_float64_rounds_the_wrong_way_is_settled_exactly(
    prior: Prior, seed: int, coordinate: int, rounded_once: str
) -> None:
    """Found by search, and computed to 300 bits elsewhere: float64's last bits decide these, and decide wrongly."""
    assert latents(array(seed), 64, prior)[0, coordinate] == float.fromhex(rounded_once)


@given(seeds=some_seeds, size=any_size, prior=any_prior, data=st.data())
def test_a_seed_gives_the_same_latent_alone_and_in_a_batch_in_any_order(
    seeds: list[int], size: int, prior: Prior, data: st.DataObject
) -> None:
    together = latents(array(*seeds), size, prior)
    order = data.draw(st.permutations(range(len(seeds))))
    shuffled = latents(array(*(seeds[place] for place in order)), size, prior)
    for place, original in enumerate(order):
        assert shuffled[place].tobytes() == together[original].tobytes()
        assert latents(array(seeds[original]), size, prior)[0].tobytes() == together[original].tobytes()


@given(seeds=some_seeds, size=any_size, prior=any_prior)
def test_a_longer_latent_begins_with_the_shorter_one(seeds: list[int], size: int, prior: Prior) -> None:
    assert (latents(array(*seeds), size + 7, prior)[:, :size] == latents(array(*seeds), size, prior)).all()


@given(seeds=some_seeds, size=any_size)
def test_coordinates_keep_to_what_53_bits_can_say(seeds: list[int], size: int) -> None:
    normal, uniform, gumbel = (latents(array(*seeds), size, prior) for prior in PRIORS)
    assert np.abs(normal).max() <= math.sqrt(2 * 53 * math.log(2))
    assert np.abs(uniform).max() <= 1
    assert gumbel.min() >= -math.log(53 * math.log(2))
    assert gumbel.max() <= 53 * math.log(2)


@pytest.mark.parametrize(
    ("prior", "mean", "deviation"),
    [
        ("standard_normal", 0.0, 1.0),
        ("uniform", 0.0, math.sqrt(1 / 3)),
        ("gumbel", float(np.euler_gamma), math.pi / math.sqrt(6)),
    ],
)
def test_many_seeds_have_the_priors_mean_and_deviation(prior: Prior, mean: float, deviation: float) -> None:
    values = latents(np.arange(1000, dtype=np.uint64), 64, prior).astype(np.float64)
    five_sigma = 5 * deviation / math.sqrt(values.size)
    assert values.mean() == pytest.approx(mean, abs=five_sigma)
    assert values.std() == pytest.approx(deviation, rel=0.02)


def test_threads_do_not_mix_up_their_streams() -> None:
    seeds = np.arange(512, dtype=np.uint64)
    together = latents(seeds, 64, "standard_normal")
    start = threading.Barrier(4)

    def draw(part: int) -> bool:
        start.wait()
        alone = [latents(seeds[i : i + 1], 64, "standard_normal")[0] for i in range(part, 512, 4)]
        return bool((np.stack(alone) == together[part::4]).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(draw, range(4)))


@given(seeds=some_seeds, count=st.integers(1, 65_536))
def test_a_drawn_label_is_a_class_and_equals_the_second_implementations(seeds: list[int], count: int) -> None:
    expected = [math.floor(second_uniforms(seed, 1, 1)[0] * count) for seed in seeds]
    drawn = labels(array(*seeds), count)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == expected
    assert 0 <= drawn.min() <= drawn.max() < count


bounds = st.tuples(st.floats(-100, 99), st.floats(0.001, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))
any_codes = st.builds(
    CodeSpec,
    st.lists(st.integers(2, 65_536), max_size=6).map(tuple),
    st.lists(bounds, max_size=6).map(tuple),
)


@given(seeds=some_seeds, spec=any_codes)
def test_drawn_codes_fit_and_equal_the_second_implementations(seeds: list[int], spec: CodeSpec) -> None:
    drawn = codes(array(*seeds), spec)
    assert drawn.shape == (len(seeds), spec.count)
    categories = len(spec.categorical)
    for seed, row in zip(seeds, drawn.tolist(), strict=True):
        u = second_uniforms(seed, 2, spec.count)
        assert row[:categories] == [math.floor(u[i] * size) for i, size in enumerate(spec.categorical)]
        for value, (low, high), each in zip(row[categories:], spec.continuous, u[categories:], strict=True):
            assert value == min(low + (high - low) * each, high)
            assert low <= value <= high


def test_published_codes_never_change() -> None:
    """What a stored seed means to InfoGAN's ten classes and two numbers in [−1, 1]: written down once."""
    spec = CodeSpec((10,), ((-1.0, 1.0), (-1.0, 1.0)))
    assert codes(array(0, 2023), spec).tolist() == [
        [8.0, 0.06592709741436908, 0.1661148298013322],
        [3.0, 0.6564284352350043, -0.3351579317049842],
    ]


def test_a_code_does_not_depend_on_the_codes_behind_it() -> None:
    seeds = np.arange(50, dtype=np.uint64)
    short, long = CodeSpec((7,), ()), CodeSpec((7, 3), ((0.0, 1.0),))
    assert (codes(seeds, long)[:, :1] == codes(seeds, short)).all()


@given(seed=st.integers(0, 2**32 - 1), size=any_size)
def test_the_legacy_sampler_draws_what_published_scripts_drew(seed: int, size: int) -> None:
    published = np.random.RandomState(seed).randn(1, size).astype(np.float32)
    assert latents(array(3, seed), size, "standard_normal", "numpy-legacy")[1:].tobytes() == published.tobytes()


def test_the_legacy_sampler_refuses_a_seed_it_has_not() -> None:
    with pytest.raises(InvalidRequest, match="4294967295") as refusal:
        check_seeds(array(1, 2**32), "standard_normal", "numpy-legacy")
    assert refusal.value.problems[0].loc == ("seeds", 1)


def test_the_legacy_sampler_refuses_a_prior_that_is_not_normal() -> None:
    with pytest.raises(InvalidRequest, match="uniform"):
        check_seeds(array(1), "uniform", "numpy-legacy")
