"""A job that does not fit its package is refused with the field that is wrong and what would be right."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.graphs import PackageKey
from service.engine.job_checks import Offer, check_generate, check_score
from service.engine.port import GenerateJob, ScoreJob
from service.errors import InvalidRequest

KEY = PackageKey("toy", 1)
PLAIN = Offer(
    latent_size=3,
    prior="standard_normal",
    label_count=None,
    sample_shape=(1, 4, 5),
    pixels_shape=(4, 5, 1),
    judges_by_label=False,
    largest_group=None,
)
CONDITIONAL = replace(PLAIN, label_count=10, judges_by_label=True)
VECTORS = replace(PLAIN, sample_shape=(7,), pixels_shape=None)
TOGETHER = replace(PLAIN, largest_group=4)

SEEDS = np.arange(5, dtype=np.uint64)
LATENTS = np.zeros((5, 3), np.float32)
LABELS = np.arange(5)
PIXELS = np.zeros((5, 4, 5, 1), np.uint8)
SAMPLE = np.zeros((5, 1, 4, 5), np.float32)


def not_finite(values: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    damaged = values.copy()
    damaged[..., -1] = value
    return damaged


@pytest.mark.parametrize(
    ("job", "offer"),
    [
        (GenerateJob(package=KEY, seeds=SEEDS), PLAIN),
        (GenerateJob(package=KEY, latents=LATENTS), PLAIN),
        (GenerateJob(package=KEY, seeds=SEEDS), CONDITIONAL),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS), CONDITIONAL),
        (GenerateJob(package=KEY, latents=LATENTS, labels=LABELS), CONDITIONAL),
        (GenerateJob(package=KEY, seeds=SEEDS, want_pixels=False, want_sample=True), VECTORS),
    ],
)
def test_a_job_that_fits_gives_back_what_its_samples_are_drawn_from(job: GenerateJob, offer: Offer) -> None:
    assert check_generate(job, offer) is (job.latents if job.seeds is None else job.seeds)


@pytest.mark.parametrize(
    ("job", "offer", "place", "complaint"),
    [
        (GenerateJob(package=KEY), PLAIN, "seeds", "either seeds or latents"),
        (GenerateJob(package=KEY, seeds=SEEDS, latents=LATENTS), PLAIN, "seeds", "either seeds or latents"),
        (GenerateJob(package=KEY, seeds=SEEDS[:0]), PLAIN, "seeds", "N of 1 or more"),
        (GenerateJob(package=KEY, seeds=SEEDS + 2**32, sampler="numpy-legacy"), PLAIN, "seeds", "numpy-legacy"),
        (GenerateJob(package=KEY, latents=LATENTS[:, :2]), PLAIN, "latents", r"\[N, 3\] .* not \[5, 2\]"),
        (GenerateJob(package=KEY, latents=not_finite(LATENTS, np.nan)), PLAIN, "latents", "finite"),
        (GenerateJob(package=KEY, latents=not_finite(LATENTS, np.inf)), PLAIN, "latents", "finite"),
        (GenerateJob(package=KEY, latents=LATENTS), CONDITIONAL, "labels", "need labels"),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS), PLAIN, "labels", "no labels"),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS[:4]), CONDITIONAL, "labels", "5 labels"),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS + 6), CONDITIONAL, "labels", "0 to 9"),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS - 1), CONDITIONAL, "labels", "0 to 9"),
        (GenerateJob(package=KEY, seeds=SEEDS), VECTORS, "want_pixels", "no pixels"),
        (GenerateJob(package=KEY, seeds=SEEDS, want_pixels=False), PLAIN, "want_pixels", "nothing"),
    ],
)
def test_a_generate_job_that_does_not_fit_names_the_field(
    job: GenerateJob, offer: Offer, place: str, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as refusal:
        check_generate(job, offer)
    assert refusal.value.problems[0].loc[0] == place


@pytest.mark.parametrize(
    ("job", "offer"),
    [
        (ScoreJob(package=KEY, pixels=PIXELS), PLAIN),
        (ScoreJob(package=KEY, sample=SAMPLE), PLAIN),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS), CONDITIONAL),
        (ScoreJob(package=KEY, sample=np.zeros((2, 7), np.float32)), VECTORS),
        (ScoreJob(package=KEY, pixels=PIXELS[:4]), TOGETHER),
    ],
)
def test_a_job_that_fits_gives_back_what_is_judged(job: ScoreJob, offer: Offer) -> None:
    assert check_score(job, offer) is (job.sample if job.pixels is None else job.pixels)


@pytest.mark.parametrize(
    ("job", "offer", "place", "complaint"),
    [
        (ScoreJob(package=KEY), PLAIN, "pixels", "either pixels or a sample"),
        (ScoreJob(package=KEY, pixels=PIXELS, sample=SAMPLE), PLAIN, "pixels", "either pixels or a sample"),
        (ScoreJob(package=KEY, pixels=PIXELS[:, :3]), PLAIN, "pixels", r"\[N, 4, 5, 1\] .* not \[5, 3, 5, 1\]"),
        (ScoreJob(package=KEY, pixels=PIXELS[:0]), PLAIN, "pixels", "N of 1 or more"),
        (ScoreJob(package=KEY, sample=SAMPLE[..., :2]), PLAIN, "sample", r"\[N, 1, 4, 5\]"),
        (ScoreJob(package=KEY, sample=not_finite(SAMPLE, -np.inf)), PLAIN, "sample", "finite"),
        (ScoreJob(package=KEY, pixels=PIXELS), VECTORS, "pixels", "not images"),
        (ScoreJob(package=KEY, pixels=PIXELS), CONDITIONAL, "labels", "needs its label"),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS + 6), CONDITIONAL, "labels", "0 to 9"),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS), PLAIN, "labels", "no labels"),
        (ScoreJob(package=KEY, pixels=PIXELS), TOGETHER, "pixels", "at most 4 at a time"),
        (ScoreJob(package=KEY, sample=SAMPLE), TOGETHER, "sample", "at most 4 at a time"),
    ],
)
def test_a_score_job_that_does_not_fit_names_the_field(job: ScoreJob, offer: Offer, place: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as refusal:
        check_score(job, offer)
    assert refusal.value.problems[0].loc[0] == place
