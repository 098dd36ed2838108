"""The encoder: shapes of all kinds of samples, and what its last layer sees."""

import pytest
import torch

from training.networks.base import Task
from training.networks.encoder import ConvolutionalConfig, Encoder, EncoderConfig, PerceptronConfig

SHAPES = [(1, 8, 8), (3, 28, 28), (1, 5, 9)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("config", [ConvolutionalConfig(), PerceptronConfig(widths=(16, 12))])
def test_images_of_any_size_become_latents(config: EncoderConfig, shape: tuple[int, ...]) -> None:
    encoder = Encoder(config, Task(sample_shape=shape), latent_size=7)
    assert encoder(torch.zeros(3, *shape)).shape == (3, 7)


def test_vectors_become_latents_too() -> None:
    encoder = Encoder(PerceptronConfig(widths=(16,)), Task(sample_shape=(5,)), latent_size=2)
    assert encoder(torch.zeros(3, 5)).shape == (3, 2)


@pytest.mark.parametrize("config", [ConvolutionalConfig(widths=(4, 6)), PerceptronConfig(widths=(16, 12))])
def test_the_latent_is_affine_in_the_features(config: EncoderConfig) -> None:
    encoder = Encoder(config, Task(sample_shape=(1, 8, 8)), latent_size=2).eval()
    samples = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features = encoder.features(samples)
    assert features.shape == (4, encoder.last.in_features)
    assert torch.allclose(encoder(samples), features @ encoder.last.weight.T + encoder.last.bias, atol=1e-6)


@pytest.mark.parametrize("kind", [ConvolutionalConfig, PerceptronConfig])
def test_without_normalisation_no_sample_depends_on_another(kind: type[EncoderConfig]) -> None:
    samples = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normed, plain = (Encoder(kind(widths=(6, 8), norm=norm), Task((1, 8, 8)), 2) for norm in ("batch", "none"))
    assert torch.allclose(plain(samples)[:1], plain(samples[:1]), atol=1e-6)
    assert not torch.allclose(normed(samples)[:2], normed(samples[:2]), atol=1e-3)
