"""The alarm: when it goes on, when it goes off, and that the rows alone decide."""

import numpy as np
import pytest
import torch

from training.data.mixtures import GaussianMixtureConfig, GridConfig, MixtureConfig, RingConfig, mixture
from training.diagnostics.alarm import Alarm, Change, signs, watch
from training.diagnostics.measures import birthday, modes

TOTAL = 1_000
HEALTHY = {
    "theory/diversity": 0.95,
    "theory/modes": 10.0,
    "theory/modes_of_real": 10.0,
    "theory/in_a_mode": 1.0,
    "theory/probe_samples": 512.0,
}
FEW = {"support": 18.1, "support_high": 19.0, "probe_samples": 512.0, "in_a_mode": 0.9, "modes_of_real": 8.0}
COLLAPSED = {**HEALTHY, "theory/diversity": 0.01}


def changes(*rows: dict[str, float], first: int = 200) -> list[Change]:
    """What the alarm does over rows a hundred samples apart."""
    alarm, seen = Alarm(), []
    for number, row in enumerate(rows):
        alarm, change = watch(alarm, {"samples": first + 100 * number, **row}, TOTAL)
        if change is not None:
            seen.append(change)
    return seen


def test_a_healthy_run_is_left_alone() -> None:
    assert changes(*[HEALTHY] * 8) == []


def test_two_bad_rows_raise_it_and_two_good_ones_clear_it() -> None:
    raised, cleared = changes(HEALTHY, COLLAPSED, COLLAPSED, COLLAPSED, HEALTHY, HEALTHY, HEALTHY)
    assert raised == Change(400, True, "generated samples differ by 1% of what real ones do")
    assert cleared == Change(700, False, "variety is back")


def test_a_single_bad_row_is_chance() -> None:
    assert changes(HEALTHY, COLLAPSED, HEALTHY, COLLAPSED, HEALTHY) == []


def test_an_untrained_generator_is_given_a_tenth_of_the_run() -> None:
    assert changes(COLLAPSED, COLLAPSED, HEALTHY, first=-100) == []


def test_rows_without_measurements_change_nothing() -> None:
    assert len(changes(COLLAPSED, {"critic/total": 1.0}, COLLAPSED)) == 1


@pytest.mark.parametrize(
    ("found", "clause"),
    [
        ({"diversity": 0.2}, "differ by 20% of what real ones do"),
        ({"modes": 4.0, "modes_of_real": 8.0, "in_a_mode": 0.9}, "4 of 8 modes are drawn"),
        ({"support": 30.4, "support_high": 44.0, "probe_samples": 512.0}, "only about 30 different samples"),
        (
            {**FEW, "modes": 8.0},
            "all 8 modes are drawn, but only about 18 different samples: those of a mode are nearly the same",
        ),
        ({**FEW, "modes": 7.0}, "only about 18 different samples are drawn"),
    ],
)
def test_each_sign_is_said_in_words(found: dict[str, float], clause: str) -> None:
    assert clause in signs(found)[0]


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"modes": 1.0, "modes_of_real": 8.0, "in_a_mode": 0.1},
        {"support": 600.0, "support_high": 700.0, "probe_samples": 512.0},
        {"diversity": 0.8, "modes": 5.0, "modes_of_real": 8.0, "in_a_mode": 0.9},
    ],
)
def test_what_is_no_collapse_shows_no_sign(found: dict[str, float]) -> None:
    assert signs(found) == []


LINE = GaussianMixtureConfig(weights=(0.3, 0.7), means=(-1.0, 2.0), deviations=(0.25, 1.4))


@pytest.mark.parametrize("data", [RingConfig(), GridConfig(), LINE], ids=lambda data: data.kind)
@pytest.mark.parametrize(("width", "seen"), [(1.0, False), (0.5, False), (0.0, True)])
def test_modes_of_few_numbers_may_be_half_as_wide_but_no_points(data: MixtureConfig, width: float, seen: bool) -> None:
    law, chance, count = mixture(data), np.random.default_rng(0), 512
    real, drawn = (torch.from_numpy(law.sample(chance, count)) for _ in range(2))
    judge = modes.of_mixture(law)
    centres = torch.from_numpy(law.means[judge.assign(drawn)])
    drawn = centres + width * (drawn - centres)
    found = {
        **modes.readings(judge, drawn),
        **birthday.estimate(drawn, birthday.calibrate(real)).readings(),
        "modes_of_real": float(len(law.weights)),
        "probe_samples": float(count),
    }
    assert [clause.startswith(f"all {len(law.weights)} modes are drawn, but") for clause in signs(found)] == [
        True
    ] * seen
