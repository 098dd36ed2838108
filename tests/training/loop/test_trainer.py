"""The loop: who is trained when, what is averaged, what a checkpoint restores, and what stops it."""

import copy
import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support import small
from tests.support.states import same, whole_and_resumed
from training import config as configuration
from training import keys
from training.config import Config
from training.data import DigitsConfig, digits
from training.data.pixels import to_floats
from training.errors import ConfigError, DivergenceError
from training.loop.trainer import Trainer
from training.schedule import ema_decay
from training.tables import Value

DIGITS = digits.load(DigitsConfig())


def trainer(**changes: dict[str, Value]) -> Trainer:
    return Trainer(small.config(**changes), DIGITS)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def test_a_step_is_one_batch_of_training_time() -> None:
    training = trainer()
    training.step()
    assert training.samples_seen == 16


def test_a_run_ends_at_its_length() -> None:
    training = trainer(trainer={"total_samples": 40})
    steps = 0
    while not training.finished:
        training.step()
        steps += 1
    assert steps == 3


def test_the_average_moves_by_the_decay_of_its_schedule_and_copies_buffers() -> None:
    training = trainer()
    expected = weights(training.ema)
    for _ in range(5):
        training.step()
        decay = ema_decay(16, 500, training.samples_seen)
        expected = [
            decay * old + (1 - decay) * new
            for old, new in zip(expected, weights(training.players.generator_side), strict=True)
        ]
    for average, by_hand in zip(weights(training.ema), expected, strict=True):
        assert torch.allclose(average, by_hand, atol=1e-6)
    for copied, buffer in zip(training.ema.buffers(), training.players.generator_side.buffers(), strict=True):
        assert torch.equal(copied, buffer)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_average_of_all_weights_at_once_is_that_of_one_after_the_other_bit_for_bit(norm: str) -> None:
    training = trainer(generator={"norm": norm})
    for _ in range(5):
        before = copy.deepcopy(training.ema)
        training.step()
        decay = ema_decay(16, 500, training.samples_seen)
        with torch.no_grad():
            for average, weight in zip(before.parameters(), training.players.generator_side.parameters(), strict=True):
                average.lerp_(weight, 1 - decay)
        assert same(weights(training.ema), weights(before))


def test_the_average_is_in_evaluation_mode_so_a_sample_depends_on_its_own_latent() -> None:
    training = trainer()
    training.step()
    latents = torch.randn(3, 8)
    averaged = training.ema["generator"]
    assert torch.allclose(averaged(latents)[:1], averaged(latents[:1]), atol=1e-6)


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_the_critic_takes_its_number_of_steps_for_each_of_the_generators(critic_steps: int) -> None:
    training = trainer(trainer={"critic_steps": critic_steps})
    for _ in range(2):
        training.step()
    state = training.checkpoint()["state"]
    counts = [
        {float(moments["step"]) for moments in state[name]["state"].values()}  # type: ignore[attr-defined]
        for name in ("critic_optimizer", "generator_optimizer")
    ]
    assert counts == [{2.0 * critic_steps}, {2.0}]


@pytest.mark.parametrize("idle", ["generator", "discriminator"])
def test_each_players_step_moves_its_own_weights_only(idle: str) -> None:
    training = trainer(trainer={f"learning_rate_{idle}": 1e-60})
    before = copy.deepcopy(training.players)
    training.step()
    for name in ("generator", "discriminator"):
        now, former = weights(getattr(training.players, name)), weights(getattr(before, name))
        assert same(now, former) == (name == idle)


def test_learning_rates_fall_along_a_cosine_to_their_final_fraction() -> None:
    training = trainer(trainer={"total_samples": 64, "learning_rate_generator": 0.01})
    rates = []
    for _ in range(4):
        training.step()
        groups = training.checkpoint()["state"]["generator_optimizer"]["param_groups"]
        rates.append(groups[0]["lr"])  # type: ignore[index]
    assert rates == pytest.approx(
        [0.01, 0.01 * (0.1 + 0.9 * 0.853553), 0.01 * 0.55, 0.01 * (0.1 + 0.9 * 0.146447)], rel=1e-5
    )


def test_gammas_fall_along_with_the_run() -> None:
    constant, falling = (
        trainer(
            trainer={"total_samples": 32, "learning_rate_discriminator": 1e-60, "learning_rate_generator": 1e-60},
            objective={"gamma_final_fraction": fraction},
        )
        for fraction in (1.0, 0.1)
    )
    first = [training.step()["critic/r1"].item() for training in (constant, falling)]
    second = [training.step()["critic/r1"].item() for training in (constant, falling)]
    assert first[0] == first[1]
    assert second[1] / second[0] == pytest.approx(0.55)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    one, again, other = (Trainer(dataclasses.replace(small.config(), seed=seed), DIGITS) for seed in (1, 1, 2))
    for training in (one, again, other):
        training.step()
    assert same(weights(one.players.generator), weights(again.players.generator))
    assert not same(weights(one.players.generator), weights(other.players.generator))


def test_the_generator_learns_from_latents_that_the_critic_has_not_just_seen() -> None:
    still = {"learning_rate_generator": 1e-60, "learning_rate_discriminator": 1e-60}
    readings = trainer(trainer={**still}, generator={"norm": "none"}).step()
    assert readings["generator/logit_fake"] != readings["critic/logit_fake"]


def test_restoring_winds_back_the_global_random_generators() -> None:
    training = trainer()
    saved = copy.deepcopy(training.checkpoint()["state"])

    def draws() -> list[float]:
        return [random.random(), float(np.random.random()), float(torch.rand(()))]  # noqa: S311, NPY002 - the global ones

    first = draws()
    assert draws() != first
    training.restore(saved)
    assert draws() == first


RESUMABLE: dict[str, dict[str, dict[str, Value]]] = {
    "relativistic": {},
    "flips and critic steps": {"trainer": {"horizontal_flips": True, "critic_steps": 2}},
    "spectral norm": {
        "discriminator": {"spectral_norm": True},
        "objective": {"kind": "non_saturating", "real_target": 0.9},
    },
    "conditional": {"generator": {"conditional": True}},
    "packs and lazy penalties": {
        "discriminator": {"pack": 2},
        "objective": {"penalty_every_steps": 3},
    },
    "rmsprop and a uniform prior": {
        "generator": {"prior": "uniform"},
        "trainer": {"optimizer": "rmsprop", "learning_rate_generator": 1e-4, "learning_rate_discriminator": 1e-4},
    },
    "diffaugment": {"augmentation": {"kind": "diffaugment"}},
    "adaptive augmentation": {"augmentation": {"kind": "ada", "target": 0.01, "adjustment_samples": 160}},
    "minimax without batch norm": {"generator": {"norm": "none"}, "objective": {"kind": "minimax"}},
}


@pytest.mark.parametrize("changes", RESUMABLE.values(), ids=RESUMABLE.keys())
def test_a_restored_trainer_goes_on_bit_for_bit(changes: dict[str, dict[str, Value]]) -> None:
    whole, second = whole_and_resumed(lambda: trainer(**changes), steps=4)
    assert same(whole.checkpoint(), second.checkpoint())
    assert whole.take_means() == second.take_means()


def test_means_are_over_the_steps_since_the_last_ones() -> None:
    training = trainer()
    totals = [training.step()["critic/total"].item() for _ in range(3)]
    assert training.take_means()["critic/total"] == pytest.approx(sum(totals) / 3)
    last = training.step()["critic/total"].item()
    assert training.take_means()["critic/total"] == pytest.approx(last)


def test_what_is_due_comes_once_for_each_multiple_and_at_the_end() -> None:
    training = trainer(trainer={"total_samples": 112})
    due = []
    while not training.finished:
        training.step()
        if training.passed(40):
            due.append(training.samples_seen)
    assert due == [48, 80, 112]


def test_a_loss_that_is_no_number_is_named_with_its_sample() -> None:
    training = trainer(trainer={"learning_rate_generator": 1e38, "learning_rate_discriminator": 1e38})
    for _ in range(3):
        training.step()
    with pytest.raises(DivergenceError, match=r"training diverged: \w+/\w+ became -?(nan|inf) at sample (16|32|48); "):
        training.check_finite()


def test_an_infinite_weight_is_named_even_where_losses_still_look_well() -> None:
    training = trainer()
    training.step()
    with torch.no_grad():
        next(training.players.discriminator.parameters())[0] = float("inf")
    with pytest.raises(DivergenceError, match="a weight of the discriminator is infinite at sample 16"):
        training.check_finite()


def test_sound_training_raises_no_alarm() -> None:
    training = trainer()
    training.step()
    training.check_finite()


def energy_distance(left: Tensor, right: Tensor) -> float:
    """Twice the mean distance between two sets less that within each (Székely and Rizzo 2013, equation 5)."""
    left, right = left.flatten(1), right.flatten(1)
    within = torch.cdist(left, left).mean() + torch.cdist(right, right).mean()
    return float(2 * torch.cdist(left, right).mean() - within)


def test_a_short_training_comes_as_near_to_held_out_digits_as_half_as_much_again_as_real_ones() -> None:
    shipped = configuration.load(keys.find("r3gan-digits"))
    pace = dataclasses.replace(shipped.trainer, total_samples=12_800, ema_half_life_samples=1_000)
    config: Config = dataclasses.replace(shipped, trainer=pace)
    training = Trainer(config, DIGITS)
    held_out = to_floats(torch.from_numpy(DIGITS.held_out))
    real = energy_distance(to_floats(torch.from_numpy(DIGITS.train[:256])), held_out)
    latents = torch.randn(256, config.generator.latent_size, generator=torch.Generator().manual_seed(0))
    before = energy_distance(training.ema["generator"](latents), held_out)
    while not training.finished:
        training.step()
    after = energy_distance(training.ema["generator"](latents), held_out)
    assert before > 20 * real
    assert after < 1.5 * real


def test_the_grid_of_a_conditional_generator_has_a_class_in_each_row() -> None:
    training = trainer(generator={"conditional": True})
    asked: list[Tensor] = []
    training.ema["generator"].register_forward_pre_hook(lambda _, inputs: asked.extend(inputs))
    assert len(training.fixed_samples()) == 80
    assert asked[1].reshape(10, 8).tolist() == [[label] * 8 for label in range(10)]


def test_labels_that_the_data_does_not_have_cannot_be_told() -> None:
    bare = dataclasses.replace(DIGITS, train_labels=None, held_out_labels=None, label_names=None)
    with pytest.raises(ConfigError, match="conditional needs labels, and digits has none; a folder has them with"):
        Trainer(small.config(generator={"conditional": True}), bare)
