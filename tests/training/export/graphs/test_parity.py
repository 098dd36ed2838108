"""Parity: a graph that is not its network is refused, with what differs and by how much."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.errors import ExportError
from training.export.graphs import inference_networks, onnx_export, parity
from training.export.graphs.interface import Interface
from training.export.graphs.runtime import Arrays, Graph
from training.networks.base import Task
from training.networks.dcgan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

SHAPE = (1, 4, 4)
CHANCE = torch.Generator().manual_seed(0)
LATENTS: Arrays = {"latent": torch.randn(parity.INPUTS_NEEDED, 3, generator=CHANCE).numpy()}
SAMPLES: Arrays = {"sample": torch.randn(parity.INPUTS_NEEDED, *SHAPE, generator=CHANCE).numpy()}
FACE = Interface(sample_shape=SHAPE, latent_size=3)


class Tampered(nn.Module):
    """A network whose output changes where a condition on the batch size holds."""

    def __init__(self, network: nn.Module, change: float, batch_size: int) -> None:
        super().__init__()
        self.network, self.change, self.batch_size = network, change, batch_size

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.network(values)
        return output + self.change if len(values) == self.batch_size else output


@pytest.fixture(scope="module")
def generator() -> tuple[nn.Module, Graph]:
    network = Generator(GeneratorConfig(latent_size=3, widths=(4, 4), norm="none"), Task(SHAPE)).eval()
    quantising = inference_networks.QuantisingGenerator(network)
    return network, Graph(onnx_export.write(quantising, FACE.generator_inputs, FACE.generator_outputs))


@pytest.fixture(scope="module")
def discriminator() -> tuple[nn.Module, Graph]:
    network = Discriminator(DiscriminatorConfig(widths=(4,)), Task(SHAPE)).eval()
    return network, Graph(onnx_export.write(network, FACE.discriminator_inputs, FACE.discriminator_outputs))


@pytest.mark.parametrize("batch_size", parity.BATCH_SIZES)
def test_a_sample_that_differs_at_one_batch_size_only_is_refused(
    generator: tuple[nn.Module, Graph], batch_size: int
) -> None:
    network, graph = generator
    with pytest.raises(ExportError, match=rf"`sample` differs by 0\.001 at batch {batch_size}, .*most 0\.0001"):
        parity.check_generator(Tampered(network, 1e-3, batch_size), graph, LATENTS)


def test_a_logit_that_differs_is_refused(discriminator: tuple[nn.Module, Graph]) -> None:
    network, graph = discriminator
    with pytest.raises(ExportError, match=r"`logit` differs by 0\.\d+ at batch 5"):
        parity.check_discriminator(Tampered(network, 0.1, 5), graph, SAMPLES)


def test_a_network_without_numbers_is_refused(generator: tuple[nn.Module, Graph]) -> None:
    network, graph = generator
    with pytest.raises(ExportError, match="`sample` differs by nan"):
        parity.check_generator(Tampered(network, float("nan"), 2), graph, LATENTS)


# A generator's graph whose author took 240 levels for 256.
MISQUANTISED = """
<ir_version: 8, opset_import: ["": 18]>
agraph (float[batch, 3] latent) => (float[batch, 1, 1, 3] sample, uint8[batch, 1, 3, 1] pixels) {
    shape = Constant <value_ints: ints = [-1, 1, 1, 3]> ()
    one = Constant <value_float: float = 1.0> ()
    levels = Constant <value_float: float = 120.0> ()
    rows = Reshape (latent, shape)
    sample = Tanh (rows)
    shifted = Add (sample, one)
    scaled = Mul (shifted, levels)
    rounded = Round (scaled)
    bytes = Cast <to: int = 2> (rounded)
    pixels = Transpose <perm: ints = [0, 2, 3, 1]> (bytes)
}
"""


class Tanh(nn.Module):
    def forward(self, latents: Tensor) -> Tensor:
        return latents.reshape(-1, 1, 1, 3).tanh()


def test_pixels_that_are_quantised_otherwise_are_refused() -> None:
    graph = Graph(onnx.parser.parse_model(MISQUANTISED).SerializeToString())
    with pytest.raises(ExportError, match=r"`pixels` differs by \d+ at batch 1, and at most 1 is rounding"):
        parity.check_generator(Tanh(), graph, LATENTS)


def test_large_logits_may_differ_in_proportion() -> None:
    assert parity.magnitude(np.array([-500.0, 3.0])) == 500
    assert parity.magnitude(np.array([0.1])) == 1


def test_a_score_that_depends_on_its_batch_mates_is_found_out() -> None:
    values: Arrays = {"sample": np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)}

    def alone(inputs: Arrays) -> NDArray[np.generic]:
        return np.square(inputs["sample"].astype(np.float32))[:, 0]

    def coupled(inputs: Arrays) -> NDArray[np.generic]:
        rows = inputs["sample"].astype(np.float32)
        centred: NDArray[np.float32] = rows - rows.mean(axis=0)
        return centred[:, 0]

    assert not parity.depends_on_batch_mates(alone, values)
    assert parity.depends_on_batch_mates(coupled, values)
