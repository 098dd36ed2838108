"""Architectures of published GANs with random weights, exported as their users export them, where they are installed.

They are in `torch-mimicry` and `pytorch-pretrained-biggan`, without their dependencies; no other test needs them.
"""

import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.foreign_graphs import symmetric
from tests.support.foreign_torch import scripted
from tests.support.toy_models import replay
from training.adopt import GraphFile, Options, Sources, adopt

MIMICRY_IMPORTS = (
    "tensorflow",
    "torchvision",
    "torchvision.datasets",
    "torchvision.transforms",
    "skimage",
    "torch._six",
)
ROWS = 2
LATENT_SIZE = 128  # of both packages


def unheard(_line: str) -> None:
    """Discard a message."""


def of_package(name: str, absent: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package's module, without the libraries that it imports and does not need to build a network."""
    for library in absent:
        if library not in sys.modules:
            monkeypatch.setitem(sys.modules, library, MagicMock())
    found: ModuleType = pytest.importorskip(name, exc_type=ImportError)
    return found


def adopted(
    network: nn.Module, examples: tuple[Tensor, ...], opset: int, folder: Path, names: list[str] | None = None
) -> bytes:
    """The generator of a package made of a network, exported with a batch of one, and names of inputs at most."""
    graph = GraphFile.of("generator.onnx", scripted(network.eval(), examples, opset, input_names=names))
    found = adopt(Sources(generator=graph), Options(name="known", models=folder), unheard)
    assert found.package is not None
    return (found.package / "generator.onnx").read_bytes()


def same(content: bytes, network: nn.Module, *told: Tensor) -> bool:
    """Whether a package's graph draws what the network draws, in a batch."""
    latents = torch.randn(ROWS, LATENT_SIZE, generator=torch.Generator().manual_seed(0))
    inputs: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {"latent": latents.numpy()}
    if told:
        inputs["label"] = np.arange(ROWS)
    with torch.no_grad():
        expected = np.stack([symmetric(image) for image in network(latents, *told).numpy()])
    return bool(np.abs(replay(content, inputs)["pixels"].astype(int) - expected.astype(int)).max() <= 1)


@pytest.mark.parametrize(
    ("module", "title"),
    [("sngan.sngan_32", "SNGANGenerator32"), ("ssgan.ssgan_32", "SSGANGenerator32")],
)
def test_generators_of_mimicry_are_adopted(
    module: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = of_package(f"torch_mimicry.nets.{module}", MIMICRY_IMPORTS, monkeypatch)
    with torch.random.fork_rng():
        network = getattr(nets, title)(ngf=16)
        content = adopted(network, (torch.zeros(1, LATENT_SIZE),), 11, tmp_path)
    assert same(content, network)


def test_the_conditional_generator_of_mimicry_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = of_package("torch_mimicry.nets.cgan_pd.cgan_pd_32", MIMICRY_IMPORTS, monkeypatch)
    with torch.random.fork_rng():
        network = nets.CGANPDGenerator32(num_classes=10, ngf=16)
        content = adopted(network, (torch.zeros(1, LATENT_SIZE), torch.zeros(1, dtype=torch.long)), 12, tmp_path)
    assert same(content, network, torch.arange(ROWS))


def test_biggan_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = of_package(
        "pytorch_pretrained_biggan", ("boto3", "botocore", "botocore.exceptions", "requests"), monkeypatch
    )
    layers = [[True, 16, 8], [False, 8, 8], [True, 8, 4], [True, 4, 2], [False, 2, 1]]
    sizes = {"z_dim": LATENT_SIZE, "class_embed_dim": LATENT_SIZE, "num_classes": 10, "channel_width": 8}
    config = package.BigGANConfig(output_dim=32, layers=layers, attention_layer_position=2, n_stats=51, **sizes)

    class Truncated(nn.Module):
        """BigGAN at one truncation, which selects its batch statistics and so is a constant of the graph."""

        def __init__(self) -> None:
            super().__init__()
            self.network = package.BigGAN(config)

        def forward(self, z: Tensor, class_label: Tensor) -> Tensor:
            drawn: Tensor = self.network(z, class_label, 0.4)
            return drawn

    with torch.random.fork_rng():
        network = Truncated()
        nn.init.ones_(network.network.generator.bn.weight)
        nn.init.zeros_(network.network.generator.bn.bias)
        for _ in range(10):  # spectral norms converge
            network(torch.randn(ROWS, LATENT_SIZE), torch.eye(10)[:ROWS])
        network.eval()
        content = adopted(network, (torch.zeros(1, LATENT_SIZE), torch.eye(10)[:1]), 11, tmp_path, ["z", "class_label"])
    assert same(content, network, torch.eye(10)[:ROWS])
