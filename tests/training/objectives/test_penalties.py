"""R1 and R2: their closed forms, where they act, and how they follow time."""

import pytest
import torch

from tests.training.objectives.play import OBJECTIVES, batch, curved, linear, players
from training.objectives import FGan, LeastSquares, Minimax, NonSaturating, ObjectiveConfig, Relativistic, Wasserstein
from training.objectives.base import Batch, Networks
from training.objectives.penalties import squared_gradient

Penalised = Minimax | NonSaturating | Relativistic  # and every other objective over samples with a gradient
WEIGHT = torch.tensor([0.7, -1.3], dtype=torch.float64)


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_a_linear_critic_pays_half_gamma_times_its_squared_norm(name: str) -> None:
    objective = Minimax(gamma_r1=3.0 * (name == "r1"), gamma_r2=3.0 * (name == "r2"))
    parts = objective.critic_loss(players(linear(WEIGHT)), batch()).parts
    assert parts[name].item() == pytest.approx(3.0 / 2 * WEIGHT.square().sum().item())


def test_r1_is_taken_at_real_and_r2_at_generated_samples() -> None:
    samples = batch()
    far = Batch(samples.real + 100, samples.latents)  # where tanh is flat
    parts = Minimax(gamma_r1=1.0, gamma_r2=1.0).critic_loss(players(curved(WEIGHT)), far).parts
    assert parts["r1"].item() == pytest.approx(0, abs=1e-12)
    assert parts["r2"].item() > 0.1


def test_the_square_is_summed_over_pixels_and_averaged_over_the_batch() -> None:
    images = batch().real.requires_grad_()
    gradients = [
        torch.autograd.grad(curved(WEIGHT)(image[None]).sum(), image, retain_graph=True)[0] for image in images
    ]
    by_hand = sum(gradient.square().sum().item() for gradient in gradients) / len(gradients)
    assert squared_gradient(curved(WEIGHT)(images), images).item() == pytest.approx(by_hand)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_the_critics_total_is_the_game_plus_the_penalties(objective: Penalised) -> None:
    penalised = type(objective)(gamma_r1=0.5, gamma_r2=2.0)
    nets = players(curved(WEIGHT))
    bare, terms = objective.critic_loss(nets, batch()), penalised.critic_loss(nets, batch())
    assert set(terms.parts) == {*bare.parts, "r1", "r2"}
    assert terms.parts["adversarial"].item() == pytest.approx(bare.total.item())
    together = terms.parts["adversarial"] + terms.parts["r1"] + terms.parts["r2"]
    assert terms.total.item() == pytest.approx(together.item())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_gradients_agree_with_finite_differences(objective: Penalised) -> None:
    penalised, samples = type(objective)(gamma_r1=0.5, gamma_r2=2.0), batch(3)

    def critic(weight: torch.Tensor) -> torch.Tensor:
        return penalised.critic_loss(players(curved(weight)), samples).total

    def generator(latents: torch.Tensor) -> torch.Tensor:
        return penalised.generator_loss(players(curved(WEIGHT)), Batch(samples.real, latents)).total

    assert torch.autograd.gradcheck(critic, WEIGHT.clone().requires_grad_())
    assert torch.autograd.gradcheck(generator, samples.latents.clone().requires_grad_())


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_the_critics_loss_leaves_the_generator_out_of_the_gradient(objective: Penalised) -> None:
    weight = WEIGHT.clone().requires_grad_()
    nets = Networks(lambda latents: (latents * weight).reshape(-1, 1, 1, 2), curved(WEIGHT.clone().requires_grad_()))
    torch.autograd.backward(type(objective)(gamma_r1=1.0, gamma_r2=1.0).critic_loss(nets, batch()).total)
    assert weight.grad is None


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.kind)
def test_parts_carry_no_graph(objective: Penalised) -> None:
    nets = players(curved(WEIGHT.clone().requires_grad_()))
    for loss in (objective.critic_loss, objective.generator_loss):
        assert not any(part.requires_grad for part in loss(nets, batch()).parts.values())


def test_the_weights_fall_along_half_a_cosine_to_their_final_fraction() -> None:
    objective = Relativistic(gamma_r1=1.0, gamma_r2=2.0, gamma_final_fraction=0.1)
    for progress, left in ((0.0, 1.0), (0.5, 0.55), (1.0, 0.1)):
        now = objective.at(progress, step=7)
        assert (now.gamma_r1, now.gamma_r2) == pytest.approx((left, 2 * left))


def test_without_a_final_fraction_the_weights_stay() -> None:
    assert Relativistic(gamma_r1=1.0).at(0.7, step=3) == Relativistic(gamma_r1=1.0)


def test_lazy_penalties_come_every_kth_step_and_add_up_to_the_same() -> None:
    objective = Relativistic(gamma_r1=1.0, gamma_r2=2.0, gamma_final_fraction=0.1, penalty_every_steps=4)
    strengths = [(now.gamma_r1, now.gamma_r2) for now in (objective.at(0.0, step) for step in range(8))]
    assert strengths == [(4.0, 8.0), (0, 0), (0, 0), (0, 0)] * 2
    assert "r1" not in objective.at(0.0, 1).judge(players(curved(WEIGHT)), batch()).penalties


@pytest.mark.parametrize(
    ("objective", "shift"),
    [
        (Relativistic(), 5.0),
        (Wasserstein(), 5.0),
        (LeastSquares(), 0.4),
        (FGan(divergence="kl"), 0.9),
        (Minimax(), 0.0),
    ],
    ids=lambda value: value.kind if not isinstance(value, float) else "",
)
def test_the_sign_of_overfitting_is_taken_where_the_game_takes_a_sample_for_real(
    objective: ObjectiveConfig, shift: float
) -> None:
    samples = batch(4)
    signs = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)  # three of four real samples are above their pair

    def critic(images: torch.Tensor) -> torch.Tensor:
        real = images.shape == samples.real.shape and torch.equal(images, samples.real)
        return shift + 0.2 * (signs if real else torch.zeros(4, dtype=torch.float64))

    share = objective.critic_loss(players(critic), samples).parts["real_sign"].item()
    assert share == pytest.approx(0.5)  # three less one, of four
