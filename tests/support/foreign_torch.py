"""Foreign GANs by torch's own exporters: TorchScript at the opsets of its years, and today's.

Weights come from a seed; torch's own stream is left as it was.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from tests.support.foreign_graphs import CLASSES, DISCRIMINATOR, GENERATOR, LATENT_SIZE, SHAPE, ForeignGan

BATCH: Final = {0: "batch_size"}


class Dcgan(nn.Module):
    """Latents [N, Z, 1, 1] → images [N, 3, 12, 12]: the generator of PyTorch's example, small."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(LATENT_SIZE, 8, 6, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(8, SHAPE[0], 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return cast("Tensor", self.main(noise))


class Conditional(nn.Module):
    """Latents [N, Z] and labels [N] → images: an embedding times the latent, as in the conditional DCGAN tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.label_emb = nn.Embedding(CLASSES, LATENT_SIZE)
        self.l1 = nn.Linear(LATENT_SIZE, 8 * 6 * 6)
        self.blocks = nn.Sequential(
            nn.BatchNorm2d(8), nn.Upsample(scale_factor=2), nn.Conv2d(8, SHAPE[0], 3, padding=1), nn.Tanh()
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        features = self.l1(self.label_emb(labels) * noise)
        return cast("Tensor", self.blocks(features.view(features.shape[0], 8, 6, 6)))


class OneHot(nn.Module):
    """Latents [N, Z], one-hot labels [N, K] and a number → images: the signature of pytorch-pretrained-biggan."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Linear(CLASSES, LATENT_SIZE, bias=False)
        self.generator = nn.Linear(2 * LATENT_SIZE, SHAPE[0] * SHAPE[1] * SHAPE[2])

    def forward(self, z: Tensor, class_label: Tensor, truncation: Tensor) -> Tensor:
        told = torch.cat((z * truncation, self.embeddings(class_label)), dim=1)
        return torch.tanh(self.generator(told)).view(-1, *SHAPE)


class Judge(nn.Module):
    """Images → [N]: DCGAN's discriminator, which ends in a sigmoid and drops the axis of one."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(SHAPE[0], 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 6), nn.Sigmoid())

    def forward(self, image: Tensor) -> Tensor:
        return cast("Tensor", self.main(image).view(-1, 1).squeeze(1))


def seeded(network: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with weights of a seed and batch statistics of a training that was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = network()
        for part in made.modules():
            if isinstance(part, nn.ConvTranspose2d):
                nn.init.normal_(part.weight, std=0.3)  # of much contrast, as after a training
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.0  # to export in training mode runs the network, which must not change it
                nn.init.normal_(cast("Tensor", part.running_mean), std=0.1)
                nn.init.uniform_(cast("Tensor", part.running_var), 0.05, 0.5)
    return made.eval()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Torch's exporters warn of their own deprecations and of libraries that are missing."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def scripted(network: nn.Module, examples: tuple[Tensor, ...], opset: int, **how: Any) -> bytes:  # noqa: ANN401 - torch's own arguments
    """Export as before 2025, by TorchScript."""
    buffer = io.BytesIO()
    with silent():
        torch.onnx.export(network, examples, cast("Any", buffer), dynamo=False, opset_version=opset, **how)
    return buffer.getvalue()


def traced(network: nn.Module, examples: tuple[Tensor, ...], **how: Any) -> bytes:  # noqa: ANN401 - torch's own arguments
    """Export as today, by `torch.export`."""
    with silent():
        program = torch.onnx.export(network, examples, dynamo=True, verbose=False, **how)
    content: bytes = cast("torch.onnx.ONNXProgram", program).model_proto.SerializeToString()
    return content


def dcgan(opset: int) -> ForeignGan:
    """The example's call without any option: batch 1, names by number; weights among the inputs before opset 9."""
    content = scripted(seeded(Dcgan, 40), (torch.zeros(1, LATENT_SIZE, 1, 1),), opset)
    name = "onnx::ConvTranspose_0"
    return ForeignGan(files={GENERATOR: content}, feed=lambda z, _: {name: z.reshape(1, -1, 1, 1)})


def dcgan_opset_7() -> ForeignGan:
    """PyTorch 0.4."""
    return dcgan(7)


def dcgan_opset_9() -> ForeignGan:
    """PyTorch 1.2."""
    return dcgan(9)


def dcgan_pair() -> ForeignGan:
    """Generator and discriminator with dynamic axes, opset 17, probabilities [N]."""
    names: dict[str, Any] = {"input_names": ["noise"], "output_names": ["img"]}
    dynamic = {"noise": BATCH, "img": BATCH}
    content = scripted(seeded(Dcgan, 41), (torch.zeros(1, LATENT_SIZE, 1, 1),), 17, dynamic_axes=dynamic, **names)
    judge = scripted(
        seeded(Judge, 42), (torch.zeros(1, *SHAPE),), 17, input_names=["image"], output_names=["validity"],
        dynamic_axes={"image": BATCH, "validity": BATCH},
    )  # fmt: skip
    return ForeignGan(
        files={GENERATOR: content, DISCRIMINATOR: judge}, feed=lambda z, _: {"noise": z.reshape(1, -1, 1, 1)}
    )


def training_mode() -> ForeignGan:
    """Exported without `.eval()`, by an author who asked for training mode."""
    example = (torch.zeros(2, LATENT_SIZE, 1, 1),)
    names: dict[str, Any] = {
        "input_names": ["z"], "output_names": ["img"], "dynamic_axes": {"z": BATCH, "img": BATCH},
    }  # fmt: skip
    how = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
    return ForeignGan(
        files={GENERATOR: scripted(seeded(Dcgan, 43).train(), example, 15, **names, **how)},
        truth=scripted(seeded(Dcgan, 43), example, 15, **names),
        feed=lambda z, _: {"z": z.reshape(1, -1, 1, 1)},
    )


def conditional_scripted() -> ForeignGan:
    """Labels [N] as integers, opset 11."""
    content = scripted(
        seeded(Conditional, 44), (torch.zeros(1, LATENT_SIZE), torch.zeros(1, dtype=torch.long)), 11,
        input_names=["noise", "labels"], output_names=["img"], dynamic_axes={"noise": BATCH, "labels": BATCH},
    )  # fmt: skip
    return ForeignGan(
        files={GENERATOR: content},
        classes=CLASSES,
        feed=lambda z, label: {"noise": z[None], "labels": torch.tensor([label]).numpy()},
    )


def traced_without_options() -> ForeignGan:
    """Today's exporter as the documentation calls it: opset 20, batch 1."""
    content = traced(seeded(Dcgan, 45), (torch.zeros(1, LATENT_SIZE, 1, 1),))
    return ForeignGan(files={GENERATOR: content}, feed=lambda z, _: {"noise": z.reshape(1, -1, 1, 1)})


def traced_one_hot() -> ForeignGan:
    """Today's exporter with a free batch, one-hot labels and a truncation."""
    examples = (torch.zeros(2, LATENT_SIZE), torch.zeros(2, CLASSES), torch.tensor([0.5]))
    free = {0: torch.export.Dim.DYNAMIC}
    content = traced(seeded(OneHot, 46), examples, dynamic_shapes=(free, free, None))
    return ForeignGan(
        files={GENERATOR: content},
        flags=("--set", "truncation=0.4"),
        classes=CLASSES,
        feed=lambda z, label: {
            "z": z[None], "class_label": torch.eye(CLASSES)[None, label].numpy(),
            "truncation": torch.tensor([0.4]).numpy(),
        },
    )  # fmt: skip


MAKERS: Final[Mapping[str, Callable[[], ForeignGan]]] = {
    maker.__name__: maker
    for maker in (
        dcgan_opset_7, dcgan_opset_9, dcgan_pair, training_mode, conditional_scripted, traced_without_options,
        traced_one_hot,
    )
}  # fmt: skip
