"""The trainer's `philox-1` is the service's, bit for bit."""

import numpy as np
import pytest

from service.engine.model_spec import CodeSpec
from service.engine.sampling import codes as service_codes
from service.engine.sampling import sampler as service
from training.networks.base import Prior
from training.sampling import seeds as sampler
from training.sampling.seeds import LARGEST_SEED, CodeLayout

SEEDS = [*range(64), 2**32, 2**53 + 1, LARGEST_SEED]
ASKED = np.array(SEEDS, np.uint64)
LAYOUT = CodeLayout((("digit", 10), ("style", 3)), (("slant", -1.0, 1.0), ("width", 0.5, 2.0)))
SPEC = CodeSpec((10, 3), ((-1.0, 1.0), (0.5, 2.0)))


@pytest.mark.parametrize("prior", ["standard_normal", "uniform", "gumbel"])
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_latents_are_those_that_the_service_draws(prior: Prior, size: int) -> None:
    ours = sampler.latents(SEEDS, size, prior)
    assert ours.tobytes() == service.latents(ASKED, size, prior).tobytes()
    assert ours.dtype == np.float32


@pytest.mark.parametrize("prior", ["standard_normal", "uniform"])
@pytest.mark.parametrize("truncation", [0.1, 0.7, 2.5])
def test_truncated_latents_are_those_that_the_service_draws(prior: Prior, truncation: float) -> None:
    ours = sampler.latents(SEEDS, 33, prior, truncation)
    assert ours.tobytes() == service.latents(ASKED, 33, prior, truncation=truncation).tobytes()
    assert np.abs(ours).max() <= np.float32(truncation)


def test_classes_and_codes_that_are_not_given_are_those_that_the_service_draws() -> None:
    assert sampler.labels(SEEDS, 10).tolist() == service.labels(ASKED, 10).tolist()
    ours = sampler.codes(SEEDS, LAYOUT)
    assert np.array_equal(ours, service.codes(ASKED, SPEC))
    assert sampler.code_tensor(ours, LAYOUT).tobytes() == service_codes.code_tensor(ours, SPEC).tobytes()


def test_a_row_depends_on_its_seed_alone() -> None:
    together = sampler.latents(SEEDS, 8, "standard_normal", 0.5)
    for place in (0, 5, len(SEEDS) - 1):
        assert np.array_equal(sampler.latents([SEEDS[place]], 8, "standard_normal", 0.5)[0], together[place])
