"""Graphs: faithful at every batch size, rounded as promised, and without a trace of where they were made."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.errors import ExportError
from training.export.graphs import inference_networks, onnx_export, parity
from training.export.graphs.interface import Interface
from training.export.graphs.runtime import Arrays, Graph
from training.networks.base import Task
from training.networks.dcgan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

LATENT_SIZE = 6


def generator_graph(network: nn.Module, shape: tuple[int, int, int], latent_size: int = LATENT_SIZE) -> bytes:
    """The graph of a generator of images, quantisation included."""
    face = Interface(sample_shape=shape, latent_size=latent_size)
    quantising = inference_networks.QuantisingGenerator(inference_networks.plain(network))
    return onnx_export.write(quantising, face.generator_inputs, face.generator_outputs)


def discriminator_graph(network: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """The graph of a discriminator of images."""
    face = Interface(sample_shape=shape, latent_size=LATENT_SIZE)
    return onnx_export.write(inference_networks.plain(network), face.discriminator_inputs, face.discriminator_outputs)


CLASSICAL_SHAPE = (3, 12, 8)


def transposed() -> nn.Sequential:
    """DCGAN's classical generator: transposed convolutions without bias, one grouped, one with output padding."""
    return nn.Sequential(
        nn.Linear(LATENT_SIZE, 8 * 3 * 2, bias=False),
        nn.Unflatten(1, (8, 3, 2)),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 3, padding=1, bias=False),
        nn.Tanh(),
    )


def unlike_at_birth(network: nn.Module) -> nn.Module:
    """Give every normalisation statistics and weights that a wrong export could not get right by chance."""
    chance = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 2, generator=chance)  # type: ignore[union-attr]
            for values in (module.bias.data, module.running_mean):
                values.normal_(generator=chance)  # type: ignore[union-attr]
    return network.eval()


@pytest.fixture(scope="module")
def classical() -> tuple[nn.Module, bytes]:
    """The transposed generator and its graph."""
    network = unlike_at_birth(transposed())
    return network, generator_graph(network, CLASSICAL_SHAPE)


def deviation(network: nn.Module, graph: bytes) -> float:
    inputs: Arrays = {"latent": torch.randn(parity.INPUTS_NEEDED, LATENT_SIZE).numpy()}
    return parity.check_generator(network, Graph(graph), inputs)[0]


def test_transposed_convolutions_without_bias_are_exported_as_they_are(classical: tuple[nn.Module, bytes]) -> None:
    assert deviation(*classical) < 1e-5


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (GeneratorConfig(latent_size=LATENT_SIZE, widths=(6, 5, 4)), (1, 9, 7)),
        (GeneratorConfig(latent_size=LATENT_SIZE, widths=(6, 5), norm="none", depth=1), (3, 8, 8)),
    ],
    ids=["odd-grey", "residual-colour"],
)
def test_a_generators_graph_is_the_generator_at_every_batch_size(
    config: GeneratorConfig, shape: tuple[int, int, int]
) -> None:
    network = unlike_at_birth(Generator(config, Task(shape)))
    assert deviation(network, generator_graph(network, shape)) < 1e-5


@pytest.mark.parametrize(("spectral_norm", "shape"), [(True, (1, 9, 7)), (False, (3, 8, 8))])
def test_a_discriminators_graph_is_the_discriminator_at_every_batch_size(
    spectral_norm: bool, shape: tuple[int, int, int]
) -> None:
    config = DiscriminatorConfig(widths=(4, 6), depth=1, spectral_norm=spectral_norm)
    network = Discriminator(config, Task(shape)).eval()
    graph = Graph(discriminator_graph(network, shape))
    inputs: Arrays = {"sample": torch.randn(parity.INPUTS_NEEDED, *shape).numpy()}
    assert parity.check_discriminator(network, graph, inputs) < 1e-5


def test_a_class_reaches_both_graphs_of_a_conditional_pair() -> None:
    task = Task((1, 8, 8), classes=3)
    face = Interface(sample_shape=(1, 8, 8), latent_size=LATENT_SIZE, labels=("a", "b", "c"))
    config = GeneratorConfig(latent_size=LATENT_SIZE, widths=(6, 5), conditional=True)
    generator = unlike_at_birth(Generator(config, task))
    discriminator = Discriminator(DiscriminatorConfig(widths=(4,), spectral_norm=True), task).eval()
    labels = np.arange(parity.INPUTS_NEEDED) % 3
    latents = torch.randn(parity.INPUTS_NEEDED, LATENT_SIZE).numpy()
    images = torch.randn(parity.INPUTS_NEEDED, 1, 8, 8).numpy()
    drawing = Graph(
        onnx_export.write(
            inference_networks.QuantisingGenerator(generator), face.generator_inputs, face.generator_outputs
        )
    )
    judging = Graph(
        onnx_export.write(
            inference_networks.plain(discriminator), face.discriminator_inputs, face.discriminator_outputs
        )
    )
    assert parity.check_generator(generator, drawing, {"latent": latents, "label": labels})[0] < 1e-5
    assert parity.check_discriminator(discriminator, judging, {"sample": images, "label": labels}) < 1e-5
    asked = [drawing.run({"latent": latents[:1], "label": labels[row : row + 1]})["sample"] for row in range(3)]
    assert not np.array_equal(asked[0], asked[1])
    scores = [judging.run({"sample": images[:1], "label": labels[row : row + 1]})["logit"] for row in range(3)]
    assert len({float(score[0]) for score in scores}) == 3


@pytest.mark.parametrize("pack", [2, 3])
def test_a_packed_discriminator_judges_one_sample_by_copies_of_it(pack: int) -> None:
    shape = (1, 8, 8)
    network = Discriminator(DiscriminatorConfig(widths=(4,), pack=pack), Task(shape, pack=pack)).eval()
    graph = Graph(discriminator_graph(inference_networks.CopyingDiscriminator(network, pack), shape))
    images = torch.randn(5, *shape)
    copies = images.repeat_interleave(pack, dim=0)
    with torch.no_grad():
        expected = network(copies).numpy()
    assert np.allclose(graph.run({"sample": images.numpy()})["logit"], expected, atol=1e-5)


class Unchanged(nn.Module):
    """A generator whose samples are its latents."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents.reshape(-1, 1, 2, 128)


def test_pixels_round_ties_to_even_and_clip_and_put_channels_last() -> None:
    # The float32 numbers around each middle between two bytes, of which some land on the middle exactly.
    middles = (np.arange(255) + 0.5) / 255 * 2 - 1
    near = (middles[:, np.newaxis] + np.arange(-4, 5) * 2**-26).ravel()
    latents = np.concatenate([near, np.linspace(-7, 7, 10 * 256 - len(near))]).astype(np.float32).reshape(10, 256)
    levels = 255 * ((latents + 1) / 2).clip(0, 1)
    ties = levels[levels % 1 == 0.5]
    assert {0, 1} == {int(tie) % 2 for tie in ties}  # both kinds occur, so that no other rounding passes

    outputs = Graph(generator_graph(Unchanged(), (1, 2, 128), 256)).run({"latent": latents})
    assert outputs["pixels"].dtype == np.uint8
    assert outputs["pixels"].shape == (10, 2, 128, 1)
    assert np.array_equal(outputs["pixels"].reshape(10, 256), np.rint(levels).astype(np.uint8))
    assert np.array_equal(outputs["sample"].reshape(10, 256), latents)


def test_a_graph_is_one_file_with_stated_names_and_no_trace_of_this_machine(classical: tuple[nn.Module, bytes]) -> None:
    _, content = classical
    for trace in (str(Path.cwd()), str(Path.home()), "site-packages", "File ", "torch.nn", ".py"):
        assert trace.encode() not in content
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["latent"]
    assert [value.name for value in model.graph.output] == ["sample", "pixels"]
    assert onnx_export.opset_of(content) == 18
    assert all(not weight.external_data for weight in model.graph.initializer)
    dimensions = [value.type.tensor_type.shape.dim for value in (*model.graph.input, *model.graph.output)]
    assert [dimension[0].dim_param for dimension in dimensions] == ["batch"] * 3
    assert [side.dim_value for side in dimensions[2][1:]] == [12, 8, 3]


def test_convolutions_swallow_the_normalisation_behind_them(classical: tuple[nn.Module, bytes]) -> None:
    model = onnx.load_model_from_string(classical[1])
    producers = {output: node.op_type for node in model.graph.node for output in node.output}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    assert [producers[norm.input[0]] for norm in norms] == ["Reshape"]


def test_two_exports_of_one_network_are_the_same_bytes(classical: tuple[nn.Module, bytes]) -> None:
    network, content = classical
    assert generator_graph(network, CLASSICAL_SHAPE) == content


def test_folding_spectral_norm_leaves_the_original_as_it_was() -> None:
    network = Discriminator(DiscriminatorConfig(widths=(4,), spectral_norm=True), Task((1, 4, 4))).eval()
    samples = torch.randn(3, 1, 4, 4)
    before = network(samples)
    final = inference_networks.plain(network)
    assert not any(parametrize.is_parametrized(module) for module in final.modules())
    assert torch.equal(final(samples), before)
    assert torch.equal(network(samples), before)
    assert any(parametrize.is_parametrized(module) for module in network.modules())


class Judge(nn.Module):
    def judge(self, samples: Tensor) -> Tensor:
        return samples.flatten(1).sum(1)


class Noisy(Judge):
    def forward(self, samples: Tensor) -> Tensor:
        return self.judge(samples + torch.randn_like(samples))


class Undecided(Judge):
    def forward(self, samples: Tensor) -> Tensor:
        turned = torch.cond(samples.sum() > 0, lambda x: x + 1, lambda x: 2 * x, (samples,))
        return self.judge(turned)


class Branching(Judge):
    def forward(self, samples: Tensor) -> Tensor:
        return self.judge(samples) if samples.sum() > 0 else -self.judge(samples)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Noisy(), r"draws random numbers of its own \(RandomNormalLike\); all noise must be an input"),
        (Undecided(), "decides its course by its data"),
        (Branching(), "cannot be written as ONNX: "),
    ],
)
def test_a_network_that_is_no_function_of_its_input_is_refused(network: nn.Module, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        discriminator_graph(network, (1, 4, 4))
