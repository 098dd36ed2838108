"""The probe: it measures what theory says, for every game, without changing the run."""

import copy
import math
import random

import numpy as np
import pytest
import torch

from tests.support import small
from tests.support.states import same
from training import data
from training.data import DigitsConfig, ImageData, RingConfig, digits
from training.diagnostics.measures.probe import Probe
from training.loop.trainer import Trainer
from training.tables import Value

DIGITS = digits.load(DigitsConfig())
Tables = dict[str, dict[str, Value]]

GAMES: dict[str, tuple[Tables, set[str]]] = {
    "minimax with smoothing": (
        {"objective": {"kind": "minimax", "real_target": 0.9}},
        {"jsd_bound", "value_gap", "d_distance", "sure_share", "gradient_minimax", "gradient_non_saturating"},
    ),
    "relativistic": ({}, {"paired_jsd_bound", "sure_share"}),
    "hinge, packed": (
        {"objective": {"kind": "hinge"}, "discriminator": {"pack": 2, "widths": [8, 16]}},
        {"tv_bound"},
    ),
    "least squares": ({"objective": {"kind": "least_squares"}}, {"le_cam_bound"}),
    "Wasserstein": ({"objective": {"kind": "wasserstein"}}, {"wasserstein_estimate"}),
    "f-GAN": ({"objective": {"kind": "fgan"}}, {"f_bound"}),
    "feature matching": ({"objective": {"kind": "feature_matching"}}, {"jsd_bound"}),
    "conditional": ({"generator": {"conditional": True}}, {"paired_jsd_bound"}),
    "spectral norm": ({"discriminator": {"spectral_norm": True}}, {"paired_jsd_bound"}),
}
ALWAYS = {"paired_accuracy", "gradient", "probe_samples", "diversity", "unrest", "birthday_pairs", "support_low"}


def looked_at(**changes: dict[str, Value]) -> tuple[Trainer, Probe]:
    """A pair after a step, and its probe."""
    config = small.config(**changes)
    training = Trainer(config, DIGITS)
    training.step()
    return training, Probe(config, DIGITS, training.task, training.device)


@pytest.mark.parametrize(("changes", "own"), GAMES.values(), ids=GAMES.keys())
def test_every_game_is_measured_by_its_own_figures_and_the_run_goes_on_as_if_it_had_not_been(
    changes: Tables, own: set[str]
) -> None:
    training, probe = looked_at(**changes)
    before = copy.deepcopy(training.checkpoint())
    found = probe.measure(training.players, training.ema)
    assert own | ALWAYS <= found.keys()
    assert all(map(math.isfinite, found.values()))
    assert same(training.checkpoint(), before)
    assert probe.measure(training.players, training.ema) == found


def test_a_look_leaves_the_global_generators_and_the_networks_modes_alone() -> None:
    training, probe = looked_at()

    def states() -> list[object]:
        return [random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()]  # noqa: NPY002 - the global one

    before = str(states())
    modes = [module.training for module in training.players.generator_side.modules()]
    probe.measure(training.players, training.ema)
    assert str(states()) == before
    assert [module.training for module in training.players.generator_side.modules()] == modes
    assert all(parameter.requires_grad for parameter in training.players.critic_side.parameters())


def test_held_out_samples_are_probed_where_there_are_enough_and_as_many_as_asked() -> None:
    for asked, probed in ((64, 64), (8_192, 256)):
        config = small.config(diagnostics={"probe_samples": asked})
        training = Trainer(config, DIGITS)
        assert Probe(config, DIGITS, training.task, training.device).size == probed


def test_data_of_a_single_image_has_no_distances_to_measure_in() -> None:
    one = ImageData("one", DIGITS.train[:1], DIGITS.train[:0], None, None, None, "0" * 64, "")
    config = small.config(trainer={"batch_size": 16})
    training = Trainer(config, one)
    found = Probe(config, one, training.task, training.device).measure(training.players, training.ema)
    assert "paired_accuracy" in found
    assert "diversity" not in found


def test_a_generator_that_draws_one_point_has_no_diversity_and_a_support_of_one() -> None:
    training, probe = looked_at(generator={"norm": "none"})
    with torch.no_grad():
        for parameter in training.ema.parameters():
            parameter.zero_()
    found = probe.measure(training.players, training.ema)
    assert found["diversity"] == pytest.approx(0, abs=1e-6)
    assert found["support"] == pytest.approx(1, abs=0.05)


def test_modes_of_a_mixture_are_counted_exactly() -> None:
    config = small.config(
        data={"kind": "ring", "train_samples": 1_000, "held_out_samples": 256},
        generator={"kind": "mlp", "latent_size": 2, "widths": [8]},
        discriminator={"kind": "mlp", "widths": [8]},
    )
    training = Trainer(config, data.load(RingConfig(train_samples=1_000, held_out_samples=256)))
    found = Probe(config, training.data, training.task, training.device).measure(training.players, training.ema)
    assert found["modes_of_real"] == 8
    assert found["in_a_mode"] < 0.2
