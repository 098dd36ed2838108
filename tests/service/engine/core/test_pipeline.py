"""Every kind of package in the engine: codes, users, vectors, items, encoders; alone and with other requests."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import Curve, EncodeJob, GenerateJob, Job, Path, Samples, ScoreJob
from service.engine.model_spec import PackageGraphs, PackageKey
from service.engine.sampling.codes import code_tensor
from service.engine.sampling.interpolation import between
from service.engine.sampling.sampler import codes, labels, latents
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import InvalidRequest
from service.metrics import Telemetry
from tests.support.toy import toy_graphs
from tests.support.toy_models import Arrays, replay

KEY = PackageKey("toy", 1)
SEEDS = np.arange(40, dtype=np.uint64)
USERS = np.arange(40) % 5
INFOGAN = toy_graphs(categorical=(10, 3), continuous=((-1.0, 1.0), (0.0, 5.0)), encoder=True)
BIGAN = toy_graphs(encoder=True)
VECTORS = toy_graphs(kind="vector", conditional=True, pack=2)
ITEMS = toy_graphs(kind="item", condition_count=5, prior="gumbel", pack=2)


def ask(package: PackageGraphs, *jobs: Job) -> list[Samples]:
    """Answer every job, all of them in flight together."""

    async def run() -> list[Samples]:
        limits = BatchLimits(max_batch_samples=8)
        engine = LocalEngine(Runtime(device="cpu", threads=1), limits, Telemetry(CollectorRegistry()))
        await engine.load(package)
        try:
            return await asyncio.gather(*(engine.submit(job) for job in jobs))
        finally:
            await engine.drain(timeout_s=5)

    return asyncio.run(run())


def drawing(package: PackageGraphs, place: slice = slice(None)) -> GenerateJob:
    """Draw everything there is for some of the seeds."""
    return GenerateJob(
        package=KEY,
        seeds=SEEDS[place],
        conditions=USERS[place] if package.condition_count else None,
        want_pixels=package.sample_range is not None,
        want_sample=True,
        want_logits=True,
    )


def bytes_of(samples: Samples) -> list[bytes]:
    """What the samples hold, row by row."""
    there = (samples.pixels, samples.sample, samples.logits, samples.labels, samples.codes)
    columns = [column for column in there if column is not None]
    return [b"".join(column[i].tobytes() for column in columns) for i in range(len(columns[0]))]


@pytest.mark.parametrize("package", [INFOGAN, VECTORS, ITEMS], ids=["codes", "vectors", "items"])
def test_a_seed_gives_the_same_bytes_alone_together_and_backwards(package: PackageGraphs) -> None:
    together, backwards, *alone = ask(
        package,
        drawing(package),
        drawing(package, slice(None, None, -1)),
        *(drawing(package, slice(i, i + 1)) for i in range(len(SEEDS))),
    )
    assert [bytes_of(each)[0] for each in alone] == bytes_of(together)
    assert bytes_of(backwards)[::-1] == bytes_of(together)


def generated(package: PackageGraphs, inputs: Arrays) -> NDArray[np.generic]:
    """The generator's own answer, one sample at a time."""
    rows = [{name: values[i : i + 1] for name, values in inputs.items()} for i in range(len(SEEDS))]
    return np.concatenate([replay(package.generator.model, row)["sample"] for row in rows])


def test_codes_left_out_are_drawn_from_the_seeds_and_codes_given_are_used() -> None:
    assert INFOGAN.codes is not None
    drawn = codes(SEEDS, INFOGAN.codes)
    some = np.full_like(drawn, np.nan)
    some[:, 0], some[:, 3] = 7, 2.5
    jobs = (replace(drawing(INFOGAN), codes=given) for given in (None, drawn, some))
    left_out, given, partly = ask(INFOGAN, *jobs)
    assert left_out.codes is not None
    assert left_out.codes.tolist() == drawn.tolist()
    assert bytes_of(left_out) == bytes_of(given)
    expected = drawn.copy()
    expected[:, 0], expected[:, 3] = 7, 2.5
    assert partly.codes is not None
    assert partly.codes.tolist() == expected.tolist()
    z = latents(SEEDS, INFOGAN.latent_size, INFOGAN.prior)
    assert partly.sample is not None
    own = generated(INFOGAN, {"latent": z, "code": code_tensor(expected, INFOGAN.codes)})
    np.testing.assert_allclose(partly.sample, own.astype(np.float32), atol=1e-6)
    assert np.isnan(some[:, 1]).all(), "the caller's own array is left alone"


def test_given_latents_and_codes_are_what_a_seed_would_have_drawn() -> None:
    assert INFOGAN.codes is not None
    z, drawn = latents(SEEDS, INFOGAN.latent_size, INFOGAN.prior), codes(SEEDS, INFOGAN.codes)
    by_seed, by_latent = ask(INFOGAN, drawing(INFOGAN), replace(drawing(INFOGAN), seeds=None, latents=z, codes=drawn))
    assert bytes_of(by_latent) == bytes_of(by_seed)


@pytest.mark.parametrize("curve", ["slerp", "lerp"])
def test_a_path_has_the_latents_between_its_seeds_and_the_first_seeds_codes(curve: Curve) -> None:
    assert INFOGAN.codes is not None
    positions = np.linspace(0, 1, 40)
    job = replace(drawing(INFOGAN), seeds=None, path=Path(first=3, last=9, positions=positions, curve=curve))
    first, last = latents(SEEDS[[3, 9]], INFOGAN.latent_size, INFOGAN.prior)
    points = between(first, last, positions, curve)
    drawn = np.repeat(codes(SEEDS[3:4], INFOGAN.codes), 40, axis=0)
    walked, middle, given, seeds = ask(
        INFOGAN,
        job,
        replace(job, path=Path(first=3, last=9, positions=positions[17:18], curve=curve)),
        replace(job, path=None, latents=points, codes=drawn),
        drawing(INFOGAN),
    )
    assert bytes_of(walked) == bytes_of(given)
    assert bytes_of(middle) == bytes_of(walked)[17:18]
    assert bytes_of(walked)[0] == bytes_of(seeds)[3]


def test_truncation_bounds_seeds_and_the_ends_of_paths() -> None:
    job = replace(drawing(BIGAN), truncation=0.5)
    positions = np.array([0.0, 1.0])
    path = Path(first=3, last=9, positions=positions, curve="slerp")
    z = latents(SEEDS, BIGAN.latent_size, BIGAN.prior, truncation=0.5)
    truncated, given, walked = ask(
        BIGAN, job, replace(drawing(BIGAN), seeds=None, latents=z), replace(job, seeds=None, path=path)
    )
    assert bytes_of(truncated) == bytes_of(given)
    assert bytes_of(walked) == [bytes_of(truncated)[3], bytes_of(truncated)[9]]


def test_an_item_is_the_best_of_a_users_scores_and_the_seeds_gumbel_noise() -> None:
    (made,) = ask(ITEMS, drawing(ITEMS))
    assert made.sample is not None
    assert made.sample.dtype == np.int64
    own = generated(ITEMS, {"latent": latents(SEEDS, 12, "gumbel"), "user": USERS})
    assert made.sample.tolist() == own.tolist()
    assert len(set(made.sample.tolist())) > 3


def test_a_vector_is_the_generators_answer_for_its_seed_and_class() -> None:
    (made,) = ask(VECTORS, drawing(VECTORS))
    own = generated(VECTORS, {"latent": latents(SEEDS, 16, "standard_normal"), "label": labels(SEEDS, 10)})
    assert made.sample is not None
    np.testing.assert_allclose(made.sample, own.astype(np.float32), atol=1e-6)


@pytest.mark.parametrize("package", [VECTORS, ITEMS], ids=["vectors of a class", "items of a user"])
def test_a_generated_logit_is_the_score_of_the_sample_as_it_was_drawn_bit_for_bit(package: PackageGraphs) -> None:
    (made,) = ask(package, drawing(package))
    users = USERS if package.condition_count else None
    job = ScoreJob(package=KEY, sample=made.sample, labels=made.labels, conditions=users)
    alone = replace(
        job,
        sample=None if made.sample is None else made.sample[:1],
        labels=None if made.labels is None else made.labels[:1],
        conditions=None if users is None else users[:1],
    )
    together, first = ask(package, job, alone)
    assert made.logits is not None
    assert together.logits is not None
    assert first.logits is not None
    assert together.logits.tobytes() == made.logits.tobytes()
    assert first.logits.tobytes() == made.logits[:1].tobytes()
    assert len(set(made.logits.tolist())) > 3


def encoding_of(answered: Samples) -> NDArray[np.float32]:
    """The latents or the readings, whichever there are."""
    (found,) = [array for array in (answered.latents, answered.readings) if array is not None]
    return found


@pytest.mark.parametrize("package", [INFOGAN, BIGAN], ids=["code head", "encoder"])
def test_an_encoding_is_the_encoders_answer_and_depends_on_no_other(package: PackageGraphs) -> None:
    (made,) = ask(package, drawing(package))
    assert made.pixels is not None
    together, *alone = ask(
        package,
        EncodeJob(package=KEY, pixels=made.pixels),
        *(EncodeJob(package=KEY, pixels=made.pixels[i : i + 1]) for i in range(len(SEEDS))),
    )
    assert package.encoder is not None
    quantised = (-1 + 2 * made.pixels.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    (own,) = replay(package.encoder.model, {"sample": quantised}).values()
    found = encoding_of(together)
    np.testing.assert_allclose(found, own.astype(np.float32), atol=1e-6)
    assert [encoding_of(each).tobytes() for each in alone] == [row.tobytes() for row in found]


def test_a_package_without_an_encoder_refuses_to_encode() -> None:
    with pytest.raises(InvalidRequest, match="no encoder"):
        ask(VECTORS, EncodeJob(package=KEY, sample=np.zeros((1, 2), np.float32)))
