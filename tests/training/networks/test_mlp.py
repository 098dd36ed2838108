"""The fully connected pair: any shape of samples, independent scores, sound weights, affine players, and graphs."""

import numpy as np
import pytest
import torch
from torch import nn

from training import networks
from training.export.graphs import onnx_export
from training.export.graphs.interface import TensorSpec
from training.export.graphs.runtime import Graph
from training.networks import mlp
from training.networks.base import Task
from training.networks.mlp import Activation, Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

PAIR = Task((2,))
ACTIVATIONS: tuple[Activation, ...] = ("relu", "leaky_relu", "tanh", "maxout")


@pytest.mark.parametrize("shape", [(2,), (5,), (1, 4, 6), (3, 5, 5)])
def test_a_pair_fits_vectors_and_images(shape: tuple[int, ...]) -> None:
    samples = Generator(GeneratorConfig(latent_size=3, widths=(8, 6)), Task(shape))(torch.randn(4, 3))
    assert samples.shape == (4, *shape)
    assert Discriminator(DiscriminatorConfig(widths=(8, 6)), Task(shape))(samples).shape == (4,)


def test_images_stay_within_the_range_of_the_data_and_vectors_have_none() -> None:
    latents = 100 * torch.randn(64, 3)
    config = GeneratorConfig(latent_size=3, widths=(8,))
    assert Generator(config, Task((1, 4, 4)))(latents).abs().max() <= 1
    assert Generator(config, PAIR)(latents).abs().max() > 2


def test_without_hidden_layers_the_generator_is_affine_and_the_discriminator_linear() -> None:
    generator = Generator(GeneratorConfig(latent_size=3, widths=()), PAIR)
    first, second = torch.randn(5, 3), torch.randn(5, 3)
    middle = generator((first + second) / 2)
    assert torch.allclose(middle, (generator(first) + generator(second)) / 2, atol=1e-6)
    assert sum(weight.numel() for weight in generator.parameters()) == 3 * 2 + 2
    discriminator = Discriminator(DiscriminatorConfig(widths=()), PAIR)
    samples = torch.randn(5, 2)
    assert torch.allclose(discriminator(samples), samples @ discriminator.last.weight[0] + discriminator.last.bias)
    assert torch.equal(discriminator.features(samples), samples)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_signals_keep_their_scale_through_fresh_layers(activation: Activation) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(widths=(256, 256, 256), activation=activation), Task((64,)))
    features = discriminator.features(torch.randn(512, 64))
    assert 0.5 < features.square().mean().sqrt().item() < 1.5


def test_maxout_takes_the_largest_of_every_five() -> None:
    pieces = torch.arange(20.0).reshape(2, 10)
    assert mlp.Maxout()(pieces).tolist() == [[4, 9], [14, 19]]


def test_fourier_features_are_sines_and_cosines_of_octaves_beside_the_numbers() -> None:
    numbers = torch.tensor([[0.5, -2.0]])
    angles = torch.tensor([0.5, 1.0, 2.0, -2.0, -4.0, -8.0])
    assert torch.allclose(mlp.FourierFeatures(3)(numbers)[0], torch.cat([numbers[0], angles.sin(), angles.cos()]))


@pytest.mark.parametrize("config", [{"activation": "maxout"}, {"spectral_norm": True}, {"fourier_octaves": 4}])
def test_a_samples_logit_is_the_same_alone_and_in_a_batch(config: dict[str, object]) -> None:
    discriminator = networks.discriminator(DiscriminatorConfig(widths=(16,), **config), PAIR).eval()  # type: ignore[arg-type]
    samples = torch.randn(7, 2)
    alone = torch.cat([discriminator(sample[None]) for sample in samples])
    assert torch.allclose(discriminator(samples), alone, atol=1e-6)


def test_spectral_norm_leaves_no_weight_with_a_singular_value_above_one() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(widths=(8, 8), spectral_norm=True), PAIR)
    for _ in range(200):  # power iterations
        discriminator(torch.randn(1, 2))
    discriminator.eval()
    for layer in discriminator.modules():
        if isinstance(layer, nn.Linear):
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-2)


def test_a_label_moves_the_generators_sample_and_the_logit_of_the_same_sample() -> None:
    task = Task((2,), classes=3)
    generator = Generator(GeneratorConfig(latent_size=3, widths=(8,)), task)
    latents, samples = torch.randn(1, 3).expand(3, 3), torch.randn(1, 2).expand(3, 2)
    assert len(generator(latents, torch.arange(3)).unique(dim=0)) == 3
    assert len(Discriminator(DiscriminatorConfig(widths=(8,)), task)(samples, torch.arange(3)).unique()) == 3


def test_codes_enter_beside_the_latents() -> None:
    generator = Generator(GeneratorConfig(latent_size=3, widths=()), Task((2,), code_size=4))
    assert generator.first.in_features == 7
    assert generator(torch.randn(5, 3), torch.randn(5, 4)).shape == (5, 2)


def test_a_pack_is_judged_together() -> None:
    discriminator = Discriminator(DiscriminatorConfig(widths=(8,), pack=2), Task((2,), pack=2))
    samples = torch.randn(6, 2)
    logits = discriminator(samples)
    assert logits.shape == (3,)
    samples[1] += 1
    moved = discriminator(samples) != logits
    assert moved.tolist() == [True, False, False]


def test_a_pair_of_sample_and_latent_is_judged_together() -> None:
    discriminator = Discriminator(DiscriminatorConfig(widths=(8,)), Task((1, 3, 3), joint_size=4))
    samples, latents = torch.randn(1, 1, 3, 3).expand(5, 1, 3, 3), torch.randn(5, 4)
    assert len(discriminator(samples, latents).unique()) == 5


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_without_normalisation_there_is_no_batch_statistic(norm: str) -> None:
    generator = Generator(GeneratorConfig(widths=(8, 8), norm="batch" if norm == "batch" else "none"), PAIR)
    assert sum(isinstance(module, nn.BatchNorm1d) for module in generator.modules()) == (2 if norm == "batch" else 0)


@pytest.mark.parametrize("activation", ["leaky_relu", "maxout"])
def test_a_pair_exports_to_graphs_for_any_batch(activation: Activation) -> None:
    generator = Generator(GeneratorConfig(latent_size=3, widths=(8,), norm="batch"), PAIR).eval()
    discriminator = Discriminator(DiscriminatorConfig(widths=(8,), activation=activation, fourier_octaves=3), PAIR)
    latent, sample, logit = (
        TensorSpec("latent", "FP32", (3,)),
        TensorSpec("sample", "FP32", (2,)),
        TensorSpec("logit", "FP32"),
    )
    generating = Graph(onnx_export.write(generator, [latent], [sample]))
    judging = Graph(onnx_export.write(discriminator.eval(), [sample], [logit]))
    for count in (1, 3):
        latents = torch.randn(count, 3)
        samples = generating.run({"latent": latents.numpy()})["sample"].astype(np.float32)
        assert np.abs(generator(latents).detach().numpy() - samples).max() < 1e-5
        logits = judging.run({"sample": samples})["logit"]
        assert np.abs(discriminator(torch.from_numpy(samples)).detach().numpy() - logits).max() < 1e-5
