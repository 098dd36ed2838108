"""Torch modules of a user's own become packages: `ganymede.publish`."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.foreign_graphs import CLASSES, LATENT_SIZE, SHAPE, Floats, symmetric
from tests.support.foreign_torch import Conditional, Dcgan, Judge, OneHot, seeded
from tests.support.toy_models import replay
from training.adopt import Options
from training.adopt.torch_modules import Modules, export, publish
from training.errors import ExportError

ROOT = Path(__file__).parents[3]
Z = LATENT_SIZE


class Reader(nn.Module):
    """Images → latents [N, Z]."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(SHAPE)), Z))

    def forward(self, image: Tensor) -> Tensor:
        found: Tensor = self.main(image)
        return found


class Grouped(nn.Module):
    """StyleGAN2's way: weights of each sample, as one convolution of as many groups as there are samples."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.kernel = nn.Linear(Z, 48), nn.Linear(Z, 81)

    def forward(self, z: Tensor) -> Tensor:
        rows = z.shape[0]
        images, kernels = self.start(z).view(1, rows * 3, 4, 4), self.kernel(z).view(rows * 3, 3, 3, 3)
        return torch.tanh(nn.functional.conv2d(images, kernels, padding=1, groups=rows).view(rows, 3, 4, 4))


class Calls(nn.Module):
    """A module of a function, with a weight and idle parts."""

    def __init__(self, function: Callable[[Tensor], object], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.gain, self.parts = function, nn.Parameter(torch.ones(())), nn.ModuleList(parts)

    def forward(self, z: Tensor) -> object:
        return self.function(self.gain * z)


@dataclass(frozen=True)
class Published:
    """A module, and the manifest and generator of its package."""

    network: nn.Module
    manifest: dict[str, dict[str, object]]
    folder: Path

    def pixels(
        self, latents: Floats, **labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        return replay((self.folder / "generator.onnx").read_bytes(), {"latent": latents, **labels})["pixels"]


def unheard(_line: str) -> None:
    """Discard a message."""


def published(models: Path, network: nn.Module, labels: tuple[str, ...] = (), **how: Any) -> Published:  # noqa: ANN401 - whatever `Modules` takes
    """Publish a module without the service's own check."""
    modules = Modules(generator=network, latent=Z, classes=len(labels), **how)
    options = Options(name="mine", models=models, labels=labels or None, checked=False)
    found = publish(modules, options, unheard)
    assert found.package is not None
    return Published(network, json.loads((found.package / "manifest.json").read_text()), found.package)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Generator, discriminator and encoder."""
    parts: dict[str, Any] = {"discriminator": seeded(Judge, 51), "encoder": seeded(Reader, 52)}
    return published(tmp_path_factory.mktemp("whole"), seeded(Dcgan, 50), **parts)


def latents(rows: int = 4) -> Floats:
    return np.random.default_rng(0).standard_normal((rows, Z)).astype(np.float32)


def shown(images: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """The bytes [N, H, W, C] of images in [-1, 1]."""
    return np.stack([symmetric(image) for image in images.detach().numpy()]).astype(np.int16)


def test_a_published_module_draws_what_it_drew_before(whole: Published) -> None:
    expected = shown(whole.network(torch.from_numpy(latents()).reshape(-1, Z, 1, 1)))
    assert np.abs(whole.pixels(latents()).astype(np.int16) - expected).max() <= 1


def test_a_package_has_the_graphs_of_all_modules(whole: Published) -> None:
    assert {"generator", "discriminator", "encoder"} <= set(whole.manifest)
    assert whole.manifest["encoder"]["outputs"][0]["role"] == "latent"  # type: ignore[index]


@pytest.mark.parametrize(
    ("network", "arguments"), [(Conditional, {}), (OneHot, {"truncation": 0.4})], ids=["integers", "one-hot"]
)
def test_classes_have_their_names_whatever_form_of_label_the_module_takes(
    network: Callable[[], nn.Module], arguments: dict[str, object], tmp_path: Path
) -> None:
    made = seeded(network, 53)
    found = published(tmp_path, made, labels=tuple("abcde"), arguments=arguments)
    assert found.manifest["labels"] == {"names": list("abcde")}
    labels = np.arange(4)
    told = torch.from_numpy(labels) if network is Conditional else torch.eye(CLASSES)[labels]
    expected = shown(made(torch.from_numpy(latents()), told, **arguments))
    assert np.abs(found.pixels(latents(), label=labels).astype(np.int16) - expected).max() <= 1


def test_a_module_whose_batch_torch_cannot_free_is_served_all_the_same(tmp_path: Path) -> None:
    made = seeded(Grouped, 54)
    found = published(tmp_path, made)
    expected = shown(made(torch.from_numpy(latents(1))))
    assert np.abs(found.pixels(latents(1)).astype(np.int16) - expected).max() <= 1


def test_a_division_stays_finite_where_torchs_exporter_would_drop_what_keeps_it_so(tmp_path: Path) -> None:
    def styled(z: Tensor) -> Tensor:  # as StyleGAN normalises its latents
        return torch.tanh(z * torch.rsqrt((z**2).mean(1, keepdim=True) + 1e-8)).view(-1, 1, 4, 4)

    found = published(tmp_path, Calls(styled))
    zeros = np.zeros((1, Z), np.float32)
    assert np.isfinite(replay((found.folder / "generator.onnx").read_bytes(), {"latent": zeros})["sample"]).all()


def test_publishing_leaves_a_module_as_it_was(tmp_path: Path) -> None:
    made = Calls(torch.tanh, nn.Linear(Z, 2), nn.Dropout())
    made.train()
    made.parts[0].eval()  # some parts are frozen in fine-tuning
    unfit = nn.Linear(1, 1)
    modes, weights, stream = [part.training for part in made.modules()], made.gain.clone(), torch.get_rng_state()
    with pytest.raises(ExportError):
        published(tmp_path, made, discriminator=unfit)
    assert [part.training for part in made.modules()] == modes
    assert torch.equal(made.gain, weights)
    assert torch.equal(torch.get_rng_state(), stream)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Calls(lambda z: torch.tanh(z + torch.randn_like(z))), "differently the second time"),
        (Calls(lambda z: torch.dropout(z, 0.5, train=True)), "differently the second time"),
        (Calls(lambda z: (z, z)), "answers a tuple; wrap it"),
        (Calls(lambda z: torch.log(z - 100)), "not finite; check its weights"),
        (Calls(lambda z: torch.tanh(z / z.norm(dim=1, keepdim=True))), "not finite for a latent of zeros"),
        (Calls(lambda z: z.sum()), "first axis must be the batch"),
        (Calls(lambda z: z @ torch.zeros(3, 3)), "with latent .3, 16. it says: mat1 and mat2 shapes"),
        (seeded(Dcgan, 56).bfloat16(), r"bfloat16.*\.float\(\) first"),
        (seeded(Conditional, 56), "missing 1 required positional argument: 'labels'"),
        (Calls(lambda z: z.relu().view(-1, 1, 4, 4)), "state value_range "),
        (lambda z: z, "a function is no torch.nn.Module"),
    ],
    ids=[
        "noise",
        "dropout",
        "tuple",
        "nan",
        "length",
        "no batch",
        "wrong latent",
        "bfloat16",
        "labels",
        "argument",
        "function",
    ],
)
def test_a_module_that_cannot_be_served_is_refused_in_a_sentence(network: nn.Module, says: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=says) as refused:
        published(tmp_path, network)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("latent", [0, -1, (), (8, 0), "8", (8.0,)], ids=str)
def test_a_latent_that_is_no_size_is_refused(latent: Any) -> None:  # noqa: ANN401 - whatever a caller gives
    with pytest.raises(ExportError, match="the number of coordinates, or the shape of one latent"):
        export(Modules(generator=Calls(torch.tanh), latent=latent))


def test_a_branch_on_the_data_is_refused_with_torchs_reason_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError, match="generator Calls: the network cannot be written as ONNX: "):
        published(tmp_path, Calls(lambda z: torch.tanh(z) if z.sum() > 0 else z))
    assert capfd.readouterr() == ("", "")


def test_the_interface_for_python_needs_no_extra_until_it_is_used() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from ganymede import __version__, publish\n"
        "assert not {'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
        "try: publish(None, name='mine', latent=2)\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        done.stdout
        == "publish needs torch, which comes with Ganymede's train extra: pip install 'ganymede-gan[train]'\n"
    )
