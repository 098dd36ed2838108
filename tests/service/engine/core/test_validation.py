"""A job that does not fit its package is refused with the field that is wrong and what would be right."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.core.validation import check_encode, check_generate, check_score
from service.engine.interface import EncodeJob, GenerateJob, Path, ScoreJob, Selection
from service.engine.model_spec import Capabilities, CodeSpec, PackageKey, Role
from service.errors import InvalidRequest
from tests.support.toy_shape import PLAIN

KEY = PackageKey("toy", 1)
CONDITIONAL = replace(PLAIN, label_count=10, discriminator_conditioning=frozenset({"label"}))
MANY_CLASSES = replace(CONDITIONAL, label_count=65)
VECTORS = replace(PLAIN, sample_shape=(7,), pixels_shape=None)
TOGETHER = replace(PLAIN, largest_group=4)
CODED = replace(PLAIN, codes=CodeSpec((4,), ((-1.0, 1.0),)))
TAKES_USER: frozenset[Role] = frozenset({"condition"})
ITEMS = replace(
    PLAIN,
    condition_count=6,
    item_count=9,
    sample_shape=(),
    pixels_shape=None,
    discriminator_conditioning=TAKES_USER,
    encoder_conditioning=TAKES_USER,
)

SEEDS = np.arange(5, dtype=np.uint64)
LATENTS = np.zeros((5, 3), np.float32)
LABELS = np.arange(5)
PIXELS = np.zeros((5, 4, 5, 1), np.uint8)
SAMPLE = np.zeros((5, 1, 4, 5), np.float32)
CODES = np.array([[3, 0.5]] * 5)
ARC = Path(first=1, last=2, positions=np.linspace(0, 1, 5), curve="slerp")
CHOSEN = Selection(method="best-of", candidates=3)
FOR_USERS = GenerateJob(package=KEY, seeds=SEEDS, conditions=np.arange(5), want_pixels=False, want_sample=True)


def not_finite(values: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    damaged = values.copy()
    damaged[..., -1] = value
    return damaged


@pytest.mark.parametrize(
    ("job", "capabilities"),
    [
        (GenerateJob(package=KEY, seeds=SEEDS), PLAIN),
        (GenerateJob(package=KEY, latents=LATENTS), PLAIN),
        (GenerateJob(package=KEY, seeds=SEEDS), CONDITIONAL),
        (GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS), CONDITIONAL),
        (GenerateJob(package=KEY, latents=LATENTS, labels=LABELS), CONDITIONAL),
        (GenerateJob(package=KEY, seeds=SEEDS, want_pixels=False, want_sample=True), VECTORS),
        (GenerateJob(package=KEY, seeds=SEEDS), CODED),
        (GenerateJob(package=KEY, seeds=SEEDS, codes=CODES), CODED),
        (GenerateJob(package=KEY, seeds=SEEDS, codes=CODES * np.nan), CODED),
        (GenerateJob(package=KEY, latents=LATENTS, codes=CODES), CODED),
        (FOR_USERS, ITEMS),
        (GenerateJob(package=KEY, seeds=SEEDS, truncation=0.1), PLAIN),
        (GenerateJob(package=KEY, seeds=SEEDS, candidates=SEEDS), PLAIN),
        (GenerateJob(package=KEY, seeds=SEEDS, selection=CHOSEN), PLAIN),
        (GenerateJob(package=KEY, path=ARC, truncation=1.0), CONDITIONAL),
        (GenerateJob(package=KEY, path=ARC, codes=CODES), CODED),
        (GenerateJob(package=KEY, path=replace(ARC, curve="lerp")), replace(PLAIN, prior="uniform")),
    ],
)
def test_a_job_that_fits_gives_back_what_its_samples_are_drawn_from(
    job: GenerateJob, capabilities: Capabilities
) -> None:
    given = check_generate(job, capabilities)
    assert any(given is each for each in (job.seeds, job.latents, None if job.path is None else job.path.positions))


@pytest.mark.parametrize(
    ("job", "capabilities", "place", "complaint"),
    [
        (GenerateJob(package=KEY), PLAIN, "seeds", "either seeds, latents or a path"),
        (GenerateJob(package=KEY, seeds=SEEDS, latents=LATENTS), PLAIN, "seeds", "either seeds, latents or a path"),
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
        (GenerateJob(package=KEY, latents=LATENTS), CODED, "codes", "need every code"),
        (GenerateJob(package=KEY, latents=LATENTS, codes=CODES * [1, np.nan]), CODED, "codes", "need every code"),
        (GenerateJob(package=KEY, seeds=SEEDS, codes=CODES), PLAIN, "codes", "no codes"),
        (GenerateJob(package=KEY, seeds=SEEDS, codes=CODES[:4]), CODED, "codes", r"\[5, 2\], not \[4, 2\]"),
        (GenerateJob(package=KEY, seeds=SEEDS, codes=CODES + np.array([0, 1])), CODED, "codes", "code 1 of sample 0"),
        (replace(FOR_USERS, conditions=None), ITEMS, "conditions", "draws for a condition; name it"),
        (replace(FOR_USERS, conditions=np.arange(2, 7)), ITEMS, "conditions", "0 to 5"),
        (GenerateJob(package=KEY, seeds=SEEDS, conditions=LABELS), PLAIN, "conditions", "no conditions"),
        (GenerateJob(package=KEY, seeds=SEEDS, path=ARC), PLAIN, "seeds", "only one of them"),
        (GenerateJob(package=KEY, path=replace(ARC, positions=ARC.positions + 0.1)), PLAIN, "path", "between 0 and 1"),
        (GenerateJob(package=KEY, path=replace(ARC, positions=ARC.positions[:0])), PLAIN, "path", "N of 1 or more"),
        (GenerateJob(package=KEY, path=replace(ARC, positions=ARC.positions * np.nan)), PLAIN, "path", "finite"),
        (GenerateJob(package=KEY, path=ARC), replace(PLAIN, prior="uniform"), "path", "lerp"),
        (GenerateJob(package=KEY, path=replace(ARC, last=2**32), sampler="numpy-legacy"), PLAIN, "seeds", "4294967295"),
        (GenerateJob(package=KEY, path=ARC, selection=CHOSEN), PLAIN, "selection", "only seeds"),
        (GenerateJob(package=KEY, path=ARC, candidates=SEEDS), PLAIN, "candidates", "only seeds"),
        (GenerateJob(package=KEY, latents=LATENTS, selection=CHOSEN), PLAIN, "selection", "only seeds"),
        (GenerateJob(package=KEY, latents=LATENTS, truncation=1.0), PLAIN, "truncation", "as they are"),
        (GenerateJob(package=KEY, seeds=SEEDS, truncation=0.0), PLAIN, "truncation", "0.1 or more"),
        (GenerateJob(package=KEY, seeds=SEEDS, truncation=1.0), replace(PLAIN, prior="gumbel"), "truncation", "Gumbel"),
        (GenerateJob(package=KEY, seeds=SEEDS, candidates=SEEDS[:4]), PLAIN, "candidates", "5 are needed"),
        (GenerateJob(package=KEY, seeds=SEEDS, candidates=SEEDS, selection=CHOSEN), PLAIN, "candidates", "its own"),
    ],
)
def test_a_generate_job_that_does_not_fit_names_the_field(
    job: GenerateJob, capabilities: Capabilities, place: str, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as refusal:
        check_generate(job, capabilities)
    assert refusal.value.problems[0].loc[0] == place


def test_a_job_that_passed_is_not_checked_again_but_a_copy_is_and_for_other_capabilities_it_is() -> None:
    job = GenerateJob(package=KEY, seeds=SEEDS, labels=LABELS)
    check_generate(job, CONDITIONAL)
    job.labels = LABELS + 100
    assert check_generate(job, CONDITIONAL) is SEEDS
    for each, capabilities in ((replace(job), CONDITIONAL), (job, replace(CONDITIONAL))):
        with pytest.raises(InvalidRequest, match="0 to 9"):
            check_generate(each, capabilities)


@pytest.mark.parametrize(
    ("job", "capabilities"),
    [
        (ScoreJob(package=KEY, pixels=PIXELS), PLAIN),
        (ScoreJob(package=KEY, sample=SAMPLE), PLAIN),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS), CONDITIONAL),
        (ScoreJob(package=KEY, pixels=PIXELS), CONDITIONAL),
        (ScoreJob(package=KEY, pixels=PIXELS), replace(CONDITIONAL, label_count=64)),
        (ScoreJob(package=KEY, sample=np.zeros((2, 7), np.float32)), VECTORS),
        (ScoreJob(package=KEY, pixels=PIXELS[:4]), TOGETHER),
        (ScoreJob(package=KEY, sample=np.arange(5), conditions=np.arange(5)), ITEMS),
    ],
)
def test_a_job_that_fits_gives_back_what_is_judged_and_what_stands_beside_it(
    job: ScoreJob, capabilities: Capabilities
) -> None:
    judged, conditioning = check_score(job, capabilities)
    assert judged is (job.sample if job.pixels is None else job.pixels)
    assert conditioning.get("label") is job.labels
    assert conditioning.get("condition") is job.conditions


@pytest.mark.parametrize(
    ("job", "capabilities", "place", "complaint"),
    [
        (ScoreJob(package=KEY), PLAIN, "pixels", "either pixels or a sample"),
        (ScoreJob(package=KEY, pixels=PIXELS, sample=SAMPLE), PLAIN, "pixels", "either pixels or a sample"),
        (ScoreJob(package=KEY, pixels=PIXELS[:, :3]), PLAIN, "pixels", r"\[N, 4, 5, 1\] .* not \[5, 3, 5, 1\]"),
        (ScoreJob(package=KEY, pixels=PIXELS[:0]), PLAIN, "pixels", "N of 1 or more"),
        (ScoreJob(package=KEY, sample=SAMPLE[..., :2]), PLAIN, "sample", r"\[N, 1, 4, 5\]"),
        (ScoreJob(package=KEY, sample=not_finite(SAMPLE, -np.inf)), PLAIN, "sample", "finite"),
        (ScoreJob(package=KEY, pixels=PIXELS), VECTORS, "pixels", "not images"),
        (ScoreJob(package=KEY, pixels=PIXELS), MANY_CLASSES, "labels", "each sample's label; name it"),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS + 6), CONDITIONAL, "labels", "0 to 9"),
        (ScoreJob(package=KEY, pixels=PIXELS, labels=LABELS), PLAIN, "labels", "no labels"),
        (ScoreJob(package=KEY, pixels=PIXELS), TOGETHER, "pixels", "at most 4 at a time"),
        (ScoreJob(package=KEY, sample=SAMPLE), TOGETHER, "sample", "at most 4 at a time"),
        (ScoreJob(package=KEY, sample=np.arange(5)), ITEMS, "conditions", "each sample's condition; name it"),
        (ScoreJob(package=KEY, sample=np.arange(5), conditions=np.arange(2, 7)), ITEMS, "conditions", "0 to 5"),
        (ScoreJob(package=KEY, sample=np.arange(5, 10), conditions=np.arange(5)), ITEMS, "sample", "0 to 8"),
        (ScoreJob(package=KEY, pixels=PIXELS, conditions=LABELS), PLAIN, "conditions", "no conditions"),
    ],
)
def test_a_score_job_that_does_not_fit_names_the_field(
    job: ScoreJob, capabilities: Capabilities, place: str, complaint: str
) -> None:
    with pytest.raises(InvalidRequest, match=complaint) as refusal:
        check_score(job, capabilities)
    assert refusal.value.problems[0].loc[0] == place


def test_what_the_encoder_takes_is_its_own_and_not_the_discriminators() -> None:
    items, users = np.arange(5), np.arange(5)
    encoded, conditioning = check_encode(EncodeJob(package=KEY, sample=items, conditions=users), ITEMS)
    assert encoded is items
    assert conditioning == {"condition": users}
    with pytest.raises(InvalidRequest, match="no conditions"):
        check_encode(
            EncodeJob(package=KEY, sample=items, conditions=users), replace(ITEMS, encoder_conditioning=frozenset())
        )
    with pytest.raises(InvalidRequest, match="this encoder is told each sample's condition"):
        check_encode(EncodeJob(package=KEY, sample=items), ITEMS)
