"""Batch sizes serve only where they agree, and no graph serves that strays from its golden outputs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from service.engine.backends.onnxruntime import RUNTIME, Session
from service.engine.config import Reproducibility
from service.engine.loading.batch_invariance import VerificationSpec, verify
from service.engine.model_spec import Array, GraphReport, GraphSpec, PackageGraphs, Tolerance
from service.errors import GoldenMismatch, GraphRefused
from tests.support.graph_makers import (
    GOLDEN_LATENT,
    TOLERANCE,
    identity,
    mixed_with_mates,
    noisy,
    not_a_number,
    shifted_by_slot,
    shifted_from,
)
from tests.support.toy import TOLERANCES, toy_graphs

TINY = 2.0**-20  # within the tolerance, and exact in float32 next to the golden latents


def open_session(spec: GraphSpec, threads: int) -> Session:
    return Session("generator", spec, device="cpu", threads=threads)


def reported(
    spec: GraphSpec, tolerances: Sequence[Tolerance], max_batch: int, mode: Reproducibility = "strict"
) -> GraphReport:
    return verify(open_session(spec, threads=1), VerificationSpec(spec, tolerances, max_batch, mode)).report


def report_of(spec: GraphSpec, mode: Reproducibility = "strict", max_batch: int = 16) -> GraphReport:
    return reported(spec, [TOLERANCE], max_batch, mode)


def test_sizes_that_agree_all_serve() -> None:
    report = report_of(identity())
    assert (report.provider, report.precision, report.runtime) == ("CPUExecutionProvider", "fp32", RUNTIME)
    assert (report.buckets, report.reproducible) == ((1, 2, 4, 8, 16), True)
    assert (report.largest_deviation, report.golden_deviation, report.pixel_difference) == (0.0, 0.0, None)


def test_a_fingerprint_is_that_of_the_bytes_that_are_served() -> None:
    """The sizes that serve differ, and with them what is answered; which sizes were tried does not matter."""
    tall, small = (
        report_of(shifted_from(batch=4, shift=TINY)),
        report_of(shifted_from(batch=4, shift=TINY), max_batch=8),
    )
    assert (tall.buckets, small.buckets) == ((4, 8, 16), (1, 2))
    assert tall.fingerprint != small.fingerprint == report_of(identity()).fingerprint
    assert report_of(identity(), max_batch=4).fingerprint == report_of(identity()).fingerprint
    coupled = report_of(replace(identity(), batch_coupled=True))
    assert len({coupled.fingerprint, small.fingerprint, tall.fingerprint}) == 3


def test_the_largest_allowed_batch_is_a_size_even_if_no_power_of_two() -> None:
    assert report_of(identity(), max_batch=48).buckets == (1, 2, 4, 8, 16, 32, 48)
    assert report_of(identity(), max_batch=1).buckets == (1,)


def test_strict_keeps_the_most_sizes_that_agree_bit_for_bit() -> None:
    report = report_of(shifted_from(batch=4, shift=TINY))
    assert report.buckets == (4, 8, 16)
    assert report.reproducible
    assert report.largest_deviation == pytest.approx(TINY, rel=0.1)


def test_between_equally_many_sizes_a_cpu_keeps_the_smaller() -> None:
    assert report_of(shifted_from(batch=4, shift=TINY), max_batch=8).buckets == (1, 2)


def test_a_sample_that_depends_on_its_slot_is_served_in_batches_of_one() -> None:
    report = report_of(shifted_by_slot(TINY))
    assert report.buckets == (1,)
    assert report.reproducible


def test_a_sample_that_depends_on_its_mates_is_served_in_batches_of_one() -> None:
    assert report_of(mixed_with_mates(share=1e-6)).buckets == (1,)


def test_a_sample_that_is_never_the_same_twice_is_served_only_fast() -> None:
    with pytest.raises(GraphRefused, match="no batch size gives the same sample twice"):
        report_of(noisy(scale=1e-5))
    report = report_of(noisy(scale=1e-5), mode="fast")
    assert report.buckets == (1, 2, 4, 8, 16)
    assert not report.reproducible
    assert not report_of(noisy(scale=1e-5), mode="fast", max_batch=1).reproducible


def test_fast_keeps_every_size_within_the_tolerance_and_says_so() -> None:
    report = report_of(shifted_from(batch=4, shift=TINY), mode="fast")
    assert report.buckets == (1, 2, 4, 8, 16)
    assert not report.reproducible
    assert report.largest_deviation == pytest.approx(TINY, rel=0.1)


def test_fast_is_reproducible_where_the_sizes_agree() -> None:
    assert report_of(identity(), mode="fast").reproducible


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_fast_leaves_out_sizes_beyond_the_tolerance(shift: float) -> None:
    report = report_of(shifted_from(batch=4, shift=shift), mode="fast")
    assert report.buckets == (1, 2)
    assert report.largest_deviation == pytest.approx(0.5)


def test_fast_never_serves_a_size_in_which_slots_differ() -> None:
    assert report_of(shifted_by_slot(0.5), mode="fast").buckets == (1,)


@pytest.mark.parametrize("sign", [1, -1])
def test_fast_never_mixes_samples_that_depend_on_their_mates(sign: int) -> None:
    """Beside equal rows a row gives its golden sample; other rows change it, up or down."""
    row = sign * np.ones((1, 3), np.float32)
    golden: dict[str, Array] = {"latent": row, "sample": row}
    assert report_of(replace(mixed_with_mates(share=0.5), golden=golden), mode="fast").buckets == (1,)


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_outputs_that_stray_from_the_golden_ones_are_refused_by_name_and_number(mode: Reproducibility) -> None:
    spec = identity()
    golden: dict[str, Array] = {"latent": GOLDEN_LATENT, "sample": GOLDEN_LATENT + np.float32(0.25)}
    with pytest.raises(GoldenMismatch, match=r"generator: sample strays .* by 0.25; .*CPUExecutionProvider at fp32 is"):
        report_of(replace(spec, golden=golden), mode)


def test_a_stray_golden_row_is_found_behind_the_rows_that_are_probed() -> None:
    latent = np.linspace(-1, 1, 60, dtype=np.float32).reshape(20, 3)
    sample = latent.copy()
    sample[19, 2] += 1
    with pytest.raises(GoldenMismatch):
        report_of(replace(identity(), golden={"latent": latent, "sample": sample}))


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_outputs_that_are_not_numbers_are_refused(mode: Reproducibility) -> None:
    with pytest.raises(GoldenMismatch, match="nan"):
        report_of(not_a_number(), mode)


def test_pixels_have_a_tolerance_of_their_own() -> None:
    spec = toy_graphs().generator
    one_step = spec.golden | {"pixels": np.clip(spec.golden["pixels"].astype(int) + 1, 0, 255).astype(np.uint8)}
    two_steps = spec.golden | {"pixels": np.clip(spec.golden["pixels"].astype(int) - 2, 0, 255).astype(np.uint8)}
    report = reported(replace(spec, golden=one_step), TOLERANCES, 4)
    assert report.golden_deviation == 0
    assert report.pixel_difference is not None
    assert report.pixel_difference.largest == 1
    with pytest.raises(GoldenMismatch, match="pixels strays from the golden outputs by 2"):
        reported(replace(spec, golden=two_steps), TOLERANCES, 4)


def test_a_package_without_a_tolerance_for_this_provider_is_refused() -> None:
    elsewhere = replace(TOLERANCE, provider="CUDAExecutionProvider")
    with pytest.raises(GoldenMismatch, match="no tolerance for CPUExecutionProvider at fp32"):
        reported(identity(), [elsewhere], 4)


@pytest.mark.parametrize(
    "sample",
    [None, GOLDEN_LATENT.astype(np.float64), GOLDEN_LATENT[:, :2], GOLDEN_LATENT[0], GOLDEN_LATENT[:0]],
    ids=["missing", "another type", "another shape", "no batch", "empty"],
)
def test_golden_tensors_that_are_not_the_stated_ones_are_refused(sample: Array | None) -> None:
    golden: dict[str, Array] = {"latent": GOLDEN_LATENT}
    if sample is not None:
        golden["sample"] = sample
    with pytest.raises(GraphRefused, match="golden sample is missing, or has not"):
        report_of(replace(identity(), golden=golden))


def test_golden_tensors_of_different_lengths_are_refused() -> None:
    with pytest.raises(GraphRefused, match="different numbers of rows"):
        report_of(replace(identity(), golden={"latent": GOLDEN_LATENT, "sample": GOLDEN_LATENT[:4]}))


def test_a_batch_coupled_graph_is_replayed_whole_and_has_no_sizes() -> None:
    spec = mixed_with_mates(share=0.5)
    mean = GOLDEN_LATENT.mean(axis=0)
    golden: dict[str, Array] = {"latent": GOLDEN_LATENT, "sample": (GOLDEN_LATENT + mean) / 2}
    report = report_of(replace(spec, golden=golden, batch_coupled=True))
    assert report.buckets == ()
    assert not report.reproducible
    assert report.golden_deviation < TOLERANCE.sample


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_a_discriminator_that_denies_its_batch_statistics_is_found_out_by_its_answers(mode: Reproducibility) -> None:
    package = toy_graphs(batch_coupled=True)
    assert package.discriminator is not None
    assert prove_toy(package, package.discriminator, mode).buckets == ()
    with pytest.raises(GraphRefused, match=r"logit of a sample changes by .*must state batch_coupled: true"):
        prove_toy(package, replace(package.discriminator, batch_coupled=False), mode)


def prove_toy(package: PackageGraphs, spec: GraphSpec | None, mode: Reproducibility = "strict") -> GraphReport:
    assert spec is not None
    return reported(spec, package.tolerances, 8, mode)


def test_a_graph_that_answers_integers_alone_is_served_one_sample_at_a_time() -> None:
    package = toy_graphs(kind="item", condition_count=5)
    report = prove_toy(package, package.generator)
    assert report.buckets == (1,)
    assert report.reproducible
    assert prove_toy(package, package.generator, "fast").buckets == (1, 2, 4, 8)
    assert len(prove_toy(package, package.discriminator).buckets) > 1


def test_an_item_is_compared_exactly_whatever_the_tolerance() -> None:
    package = toy_graphs(kind="item", condition_count=5)
    patient = replace(TOLERANCES[0], sample=100.0)
    items = package.generator.golden["sample"].astype(np.int64)
    other = {**package.generator.golden, "sample": (items + 1) % 12}
    with pytest.raises(GoldenMismatch, match=r"sample strays .* at fp32 is 0"):
        prove_toy(replace(package, tolerances=(patient,)), replace(package.generator, golden=other))


@pytest.mark.parametrize(("codes", "output"), [((), "latent"), ((3,), "code")])
def test_what_an_encoder_answers_has_a_tolerance_of_its_own_or_that_of_samples(
    codes: tuple[int, ...], output: str
) -> None:
    package = toy_graphs(encoder=True, categorical=codes)
    assert package.encoder is not None
    values = package.encoder.golden[output].astype(np.float32)
    strayed = replace(package.encoder, golden={**package.encoder.golden, output: values + np.float32(0.01)})
    strict = replace(TOLERANCES[0], sample=0.001)
    own = replace(strict, latent=0.1) if output == "latent" else replace(strict, code=0.1)
    assert prove_toy(replace(package, tolerances=(own,)), strayed).golden_deviation == pytest.approx(0.01, rel=0.01)
    with pytest.raises(GoldenMismatch, match=f"{output} strays .* is 0.001"):
        prove_toy(replace(package, tolerances=(strict,)), strayed)


def test_a_single_golden_row_is_enough() -> None:
    golden: dict[str, Array] = {"latent": GOLDEN_LATENT[:1], "sample": GOLDEN_LATENT[:1]}
    assert report_of(replace(mixed_with_mates(share=1e-6), golden=golden)).buckets == (1,)
    assert report_of(replace(identity(), golden=golden)).buckets == (1, 2, 4, 8, 16)


def test_another_runner_of_the_graph_repeats_the_bytes_in_every_size_and_says_what_it_costs() -> None:
    spec = toy_graphs().generator
    proven = verify(open_session(spec, threads=1), VerificationSpec(spec, TOLERANCES, 8, "strict"))
    again = proven.repeat(open_session(spec, threads=2), spec, proven.report.buckets)
    assert again.keys() == proven.thread_s.keys() == proven.run_s.keys() == {1, 2, 4, 8}
    assert proven.repeat(open_session(spec, threads=2), spec, (1, 4)).keys() == {1, 4}
    assert all(seconds > 0 for costs in (again, proven.thread_s, proven.run_s) for seconds in costs.values())


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_another_runner_that_answers_other_bytes_in_any_size_does_not_repeat_them(mode: Reproducibility) -> None:
    spec = identity()
    proven = verify(open_session(spec, threads=1), VerificationSpec(spec, [TOLERANCE], 8, mode))
    other = open_session(shifted_from(batch=8, shift=TINY), threads=1)
    assert proven.repeat(other, spec, proven.report.buckets) == {}
    assert proven.repeat(other, spec, (1, 2, 4)).keys() == {1, 2, 4}


def test_sizes_are_spread_that_leave_cores_idle_when_shared_out_unless_a_run_is_short() -> None:
    spec = toy_graphs(height=160, width=160).generator  # a run of a millisecond or so
    proven = verify(open_session(spec, threads=1), VerificationSpec(spec, TOLERANCES, 8, "strict"))
    assert proven.sizes_to_spread(cores=1) == ()
    assert proven.sizes_to_spread(cores=2) == (1, 2)
    assert proven.sizes_to_spread(cores=4) == (1, 2, 4)
    short = verify(open_session(identity(), threads=1), VerificationSpec(identity(), [TOLERANCE], 8, "strict"))
    assert short.sizes_to_spread(cores=4) == ()
