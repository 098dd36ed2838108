"""Networks as they are served: what is folded into their weights leaves what they compute as it was."""

import torch
from torch import nn

from training.export.graphs.inference_networks import plain
from training.networks.base import Task
from training.networks.dcgan import Generator, GeneratorConfig


def trained_generator() -> Generator:
    """A generator whose normalisations are not the identity."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(latent_size=6, widths=(12, 8, 4)), Task((1, 13, 16)))
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            state = {"num_batches_tracked": torch.tensor(1), "bias": torch.randn(module.num_features)}
            positive = {name: torch.rand(module.num_features) + 0.5 for name in ("weight", "running_var")}
            module.load_state_dict({**state, **positive, "running_mean": torch.randn(module.num_features)})
    return generator.eval()


def test_a_copy_that_is_served_computes_what_the_trained_network_does() -> None:
    generator, latents = trained_generator(), torch.randn(5, 6)
    assert torch.allclose(plain(generator)(latents), generator(latents), atol=1e-5)


def test_transposed_convolutions_swallow_the_normalisation_that_follows_them() -> None:
    served = plain(trained_generator())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in served.modules()) == 1  # of the linear layer's map


def test_the_trained_network_keeps_its_own_layers() -> None:
    generator = trained_generator()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    plain(generator)
    assert before.keys() == generator.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
