"""A batch in parts: the gradients and readings of the whole batch, the same resume, and what is refused."""

import math
from typing import Any

import pytest
import torch

from tests.support import games, small
from tests.support.states import same, whole_and_resumed
from training.config import Config
from training.data import DigitsConfig, digits
from training.errors import ConfigError
from training.loop.plan import Plan
from training.loop.trainer import Trainer
from training.state.batches import BatchStream
from training.state.inputs import CPU, Recipe
from training.tables import Value

DIGITS = digits.load(DigitsConfig())
# Without batch normalisation, and so slow that the generator meets the critic that it would have met.
STILL: dict[str, Value] = {"learning_rate_generator": 1e-30, "learning_rate_discriminator": 1e-30}
PLAIN: dict[str, Value] = {"norm": "none"}
GAMES = {
    "both penalties, packs, flips and ada": small.config(
        generator=PLAIN,
        discriminator={"pack": 2},
        augmentation={"kind": "ada", "target": 0.01, "adjustment_samples": 160},
        trainer={**STILL, "horizontal_flips": True},
    ),
    "labels and diffaugment": small.config(
        generator={**PLAIN, "conditional": True}, augmentation={"kind": "diffaugment"}, trainer=STILL
    ),
    "hinge, twice a step": small.config(
        generator=PLAIN, objective={"kind": "hinge"}, trainer={**STILL, "critic_steps": 2}
    ),
    "f-divergence": small.config(generator=PLAIN, objective={"kind": "fgan"}, trainer=STILL),
    "codes and warps": games.infogan(1.0, generator=PLAIN, trainer=STILL),
}


def in_parts(config: Config, parts: int) -> Trainer:
    object.__setattr__(config.trainer, "accumulate", parts)
    return Trainer(config, DIGITS)


def gradients(training: Trainer) -> torch.Tensor:
    found = [
        parameter.grad.flatten()
        for side in (training.players.generator_side, training.players.critic_side)
        for parameter in side.parameters()
        if parameter.grad is not None
    ]
    return torch.cat(found)


@pytest.mark.parametrize("config", GAMES.values(), ids=GAMES.keys())
def test_the_gradients_and_readings_are_those_of_the_whole_batch(config: Config) -> None:
    whole, parted = in_parts(config, 1), in_parts(config, 4)
    expected, found = whole.step(), parted.step()
    assert found.keys() == expected.keys()
    for name, reading in expected.items():
        assert torch.isclose(found[name], reading, rtol=1e-3, atol=1e-5), name
    scale = gradients(whole).abs().max()
    assert scale > 0
    assert torch.allclose(gradients(parted), gradients(whole), atol=1e-5 * float(scale))


def test_batch_normalisation_sees_a_part_at_a_time() -> None:
    whole, parted = (in_parts(small.config(trainer=STILL), parts) for parts in (1, 4))
    whole.step(), parted.step()
    assert not torch.allclose(gradients(parted), gradients(whole), atol=1e-4)


def test_a_run_in_parts_resumes_bit_for_bit() -> None:
    config = small.config(augmentation={"kind": "ada"}, trainer={"accumulate": 2, "beta2_start": 0.5})
    whole, second = whole_and_resumed(lambda: Trainer(config, DIGITS), steps=3)
    assert same(whole.checkpoint(), second.checkpoint())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"trainer": {"accumulate": 2}, "objective": {"kind": "feature_matching"}},
            '[trainer] accumulate must be 1: [objective] of kind "feature_matching" compares the mean features of a '
            "whole batch",
        ),
        ({"trainer": {"accumulate": 3}}, "[trainer] batch_size 16 does not divide into accumulate = 3 parts"),
        (
            {"trainer": {"accumulate": 8}, "discriminator": {"pack": 4}},
            "[trainer] batch_size 16 does not divide into accumulate = 8 parts of whole packs of 4",
        ),
        (
            {"trainer": {"optimizer": "rmsprop", "beta2_start": 0.9}},
            '[trainer] beta2_start is Adam\'s; it needs optimizer = "adam"',
        ),
    ],
)
def test_what_cannot_be_right_is_refused(changes: dict[str, dict[str, Value]], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(small.config(**changes), DIGITS)
    assert str(caught.value) == sentence


def test_beta2_and_the_averages_half_life_follow_a_cosine_from_their_starts() -> None:
    pace: dict[str, Value] = {"beta2_start": 0.9, "beta2": 0.99, "batch_size": 16, "total_samples": 1_600}
    pace |= {"ema_half_life_samples": 40, "ema_half_life_start_fraction": 0.0}
    config = small.config(trainer=pace, objective={"penalty_every_steps": 2})
    stream = BatchStream(DIGITS, CPU, seed=0, batch_size=16, generator=config.generator)
    plan = Plan(config, Recipe(stream, 0, 16, slice(None), 1, None), CPU, tensors=False)
    seen = [plan.values(iteration) for iteration in (0, 50, 100)]
    halfway = 0.99 + (0.9 - 0.99) / 2
    for values, beta2 in zip(seen, (0.9, halfway, 0.99), strict=True):
        assert values.betas is not None
        assert [second for _, second in values.betas] == pytest.approx([beta2, beta2 ** (2 / 3)])
    for values, half_life in zip(seen[1:], (20, 40), strict=True):
        assert values.new_share == pytest.approx(1 - 0.5 ** (16 / half_life))
    assert seen[0].new_share == 1
    training = Trainer(config, DIGITS)
    assert math.isfinite(float(training.step()["critic/total"]))
    optimizer: Any = training.checkpoint()["state"]["critic_optimizer"]
    assert optimizer["param_groups"][0]["betas"][1] == pytest.approx(0.9 ** (2 / 3))
