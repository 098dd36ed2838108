"""InfoGAN: the bound's two ends, whom its gradient reaches, and what remains without it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.training.objectives.play import batch, curved, players
from training.codes import Codes
from training.objectives import InfoGan, NonSaturating
from training.objectives.base import Batch, Networks
from training.objectives.infogan import information_bounds
from training.state.batches import codes as draw

CODES = Codes(categorical={"digit": 10}, continuous={"slant": (-1.0, 1.0)})
DRAWN = draw(0, 0, 0, 200, CODES).double()
OBJECTIVE = InfoGan(categorical=CODES.categorical, continuous=CODES.continuous)
SURE = 1e3  # a logit so far above the others that nothing is left for them
NORMAL_AT_ITS_MEAN = math.log(2) - math.log(2 * math.pi) / 2


def test_a_perfect_code_head_reads_log_ten() -> None:
    categorical, continuous = information_bounds(CODES, torch.cat([SURE * DRAWN[:, :10], DRAWN[:, 10:]], 1), DRAWN)
    assert categorical.item() == pytest.approx(math.log(10))
    assert continuous.item() == pytest.approx(NORMAL_AT_ITS_MEAN)


def test_an_uninformed_code_head_reads_nothing() -> None:
    categorical, continuous = information_bounds(CODES, torch.zeros_like(DRAWN), DRAWN)
    assert categorical.item() == pytest.approx(0, abs=1e-12)
    assert continuous.item() == pytest.approx(NORMAL_AT_ITS_MEAN - DRAWN[:, 10].square().mean().item() / 2)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_no_code_head_reads_more_than_there_is(scale: float) -> None:
    parameters = scale * torch.randn(DRAWN.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    categorical, continuous = information_bounds(CODES, parameters, DRAWN)
    assert categorical.item() <= math.log(10)
    assert continuous.item() <= NORMAL_AT_ITS_MEAN


def test_the_bounds_of_several_codes_add_up() -> None:
    two = Codes(categorical={"a": 10, "b": 3})
    drawn = draw(0, 0, 0, 60, two).double()
    categorical, continuous = information_bounds(two, SURE * drawn, drawn)
    assert categorical.item() == pytest.approx(math.log(30))
    assert continuous.item() == 0


class Game:
    """Networks of one weight each, so that a gradient says who learns."""

    def __init__(self) -> None:
        numbers = torch.Generator().manual_seed(1)

        def weight(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=numbers, dtype=torch.float64).requires_grad_()

        self.generator, self.trunk, self.last, self.head = weight(13, 2), weight(2, 4), weight(4), weight(4, 11)

    def features(self, samples: Tensor) -> Tensor:
        """Of samples [B, 1, 1, 2], [B, 4]."""
        return torch.tanh(samples.flatten(1) @ self.trunk)

    def networks(self) -> Networks:
        """The players as functions."""
        return Networks(
            generator=lambda z, c: torch.tanh(torch.cat([z, c], 1) @ self.generator).reshape(-1, 1, 1, 2),
            discriminator=lambda samples: self.features(samples) @ self.last,
            features=self.features,
            verdict=lambda seen: seen @ self.last,
            code_head=lambda seen: seen @ self.head,
        )

    def learners(self, loss: Callable[[Networks, Batch], object], asked: Batch) -> set[str]:
        """Who has a gradient other than zero."""
        total: Tensor = loss(self.networks(), asked).total  # type: ignore[attr-defined]
        weights = vars(self)
        slopes = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        return {name for name, slope in zip(weights, slopes, strict=True) if slope is not None and slope.any()}


def asked() -> Batch:
    return replace(batch(200), codes=DRAWN)


def test_the_critics_step_trains_the_trunk_and_both_its_ends_and_leaves_the_generator() -> None:
    assert Game().learners(OBJECTIVE.critic_loss, asked()) == {"trunk", "last", "head"}


def test_the_generators_step_reaches_the_generator_through_both_ends() -> None:
    without = replace(OBJECTIVE, weight_categorical=0.0, weight_continuous=0.0)
    assert "generator" in Game().learners(OBJECTIVE.generator_loss, asked())
    silent, game = Game(), Game()
    with torch.no_grad():
        silent.last.zero_()
        game.last.zero_()
    assert "generator" not in silent.learners(without.generator_loss, asked())
    assert "generator" in game.learners(OBJECTIVE.generator_loss, asked())


def test_each_kind_of_code_has_its_own_weight() -> None:
    nets, plain = Game().networks(), replace(OBJECTIVE, weight_categorical=0.0, weight_continuous=0.0)
    for name in ("critic_loss", "generator_loss"):
        bare = getattr(plain, name)(nets, asked())
        weighed = getattr(replace(OBJECTIVE, weight_categorical=2.0, weight_continuous=0.5), name)(nets, asked())
        by_hand = bare.total - 2 * bare.parts["information_categorical"] - bare.parts["information_continuous"] / 2
        assert weighed.total.item() == pytest.approx(by_hand.item())


def test_without_weight_it_is_the_non_saturating_game_penalties_and_all() -> None:
    plain = replace(OBJECTIVE, weight_categorical=0.0, weight_continuous=0.0, gamma_r1=1.0, gamma_r2=0.5)
    nets = players(curved(torch.tensor([0.7, -1.3]).double()))
    coded = replace(
        nets,
        generator=lambda z, _codes: nets.generator(z),
        features=lambda samples: samples,
        verdict=nets.discriminator,
        code_head=lambda seen: seen.new_zeros(len(seen), 11),
    )
    usual = NonSaturating(gamma_r1=1.0, gamma_r2=0.5)
    for name in ("critic_loss", "generator_loss"):
        ours, theirs = getattr(plain, name)(coded, asked()), getattr(usual, name)(nets, batch(200))
        assert ours.total.item() == pytest.approx(theirs.total.item())
        assert {key: ours.parts[key].item() for key in theirs.parts} == pytest.approx(
            {key: part.item() for key, part in theirs.parts.items()}
        )


def test_the_generator_is_asked_once_a_step() -> None:
    calls = []

    def generate(latents: Tensor, _codes: Tensor) -> Tensor:
        calls.append(len(latents))
        return latents.reshape(-1, 1, 1, 2)

    nets = replace(Game().networks(), generator=generate)
    OBJECTIVE.critic_loss(nets, asked())
    OBJECTIVE.generator_loss(nets, asked())
    assert calls == [200, 200]


def test_the_discriminator_and_the_code_head_share_one_walk_over_each_batch() -> None:
    game, walked = Game(), []

    def features(samples: Tensor) -> Tensor:
        walked.append(samples.detach())
        return game.features(samples)

    nets, told = replace(game.networks(), features=features), asked()
    OBJECTIVE.critic_loss(nets, told)
    OBJECTIVE.generator_loss(nets, told)
    generated = nets.generate(told)
    assert [torch.equal(samples, generated) for samples in walked] == [False, True, True]


def test_the_code_head_reads_what_the_discriminator_is_shown() -> None:
    nets, told = Game().networks(), asked()
    darker = replace(nets, augment=lambda samples: samples / 2)
    by_hand = replace(nets, generator=lambda z, c: nets.generator(z, c) / 2)
    for name in ("critic_loss", "generator_loss"):
        ours, theirs = (getattr(OBJECTIVE, name)(players, told).parts for players in (darker, by_hand))
        assert ours["information_categorical"].item() == pytest.approx(theirs["information_categorical"].item())


STEADY: Final = replace(OBJECTIVE, weight_steady=2.0)


def shifted(samples: Tensor) -> Tensor:
    """A warp that moves every sample."""
    return samples + 0.5


def test_steadiness_is_the_cross_entropy_of_what_is_said_before_and_after() -> None:
    nets = replace(Game().networks(), warp=shifted)
    assert nets.features is not None
    assert nets.code_head is not None
    plain, steady = OBJECTIVE.critic_loss(nets, asked()), STEADY.critic_loss(nets, asked())
    before, after = (nets.code_head(nets.features(samples)) for samples in (asked().real, shifted(asked().real)))
    by_hand = cross_entropy(after[:, :10], before[:, :10].softmax(1)).item()
    assert steady.parts["unsteadiness"].item() == pytest.approx(by_hand)
    assert steady.total.item() == pytest.approx(plain.total.item() + 2 * by_hand)
    assert "unsteadiness" not in plain.parts


def test_steadiness_is_at_least_the_entropy_of_what_was_said() -> None:
    nets = replace(Game().networks(), warp=lambda samples: samples)
    assert nets.features is not None
    assert nets.code_head is not None
    said = nets.code_head(nets.features(asked().real))[:, :10].softmax(1)
    entropy = -(said * said.log()).sum(1).mean().item()
    assert STEADY.critic_loss(nets, asked()).parts["unsteadiness"].item() == pytest.approx(entropy)
    moved = STEADY.critic_loss(replace(nets, warp=shifted), asked()).parts["unsteadiness"].item()
    assert moved > entropy


def test_steadiness_moves_what_is_said_of_the_warped_image_towards_that_of_the_image() -> None:
    """The image's own reading is a constant: where it alone could be moved, nothing is."""
    game = Game()
    nets = game.networks()
    assert nets.features is not None
    blind = replace(nets, warp=torch.zeros_like)  # tanh(0 @ trunk) @ head: the warped image has no slope of its own
    total = replace(STEADY, weight_steady=1.0).critic_loss(blind, asked()).total
    plain = OBJECTIVE.critic_loss(blind, asked()).total
    slopes = torch.autograd.grad(total - plain, [game.trunk, game.head])
    assert all(slope.abs().max().item() < 1e-12 for slope in slopes)
    seeing = replace(nets, warp=shifted)
    more = STEADY.critic_loss(seeing, asked()).total - OBJECTIVE.critic_loss(seeing, asked()).total
    assert all(slope.abs().max().item() > 1e-3 for slope in torch.autograd.grad(more, [game.trunk, game.head]))


def test_steadiness_is_the_critics_business_alone() -> None:
    nets = replace(Game().networks(), warp=shifted)
    plain, steady = OBJECTIVE.generator_loss(nets, asked()), STEADY.generator_loss(nets, asked())
    assert steady.total.item() == plain.total.item()
    assert steady.parts.keys() == plain.parts.keys()


def test_the_weight_of_steadiness_grows_over_its_share_of_the_run() -> None:
    ramped = replace(STEADY, steady_ramp=0.4)
    weights = [ramped.at(progress, 0).weight_steady for progress in (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)]
    assert weights == pytest.approx([0.0, 0.5, 1.0, 2.0, 2.0, 2.0])
    assert STEADY.at(0.0, 0).weight_steady == 2.0
    assert ramped.at(0.1, 0).at(0.1, 0).weight_steady == pytest.approx(0.5)  # what is settled stays so


def test_steadiness_without_warps_is_refused() -> None:
    with pytest.raises(ValueError, match="need a code head and warps"):
        STEADY.critic_loss(Game().networks(), asked())
