"""Torch modules of a user's own as foreign graphs: called once to learn how, exported, and compared with themselves.

    module ─▶ evaluation mode ─▶ called with examples ─▶ ONNX, batch free where it can be ─▶ same answers? ─▶ GraphFile

The modules are as they were afterwards: mode, device and weights.

Shapes: B batch, Z latent, K classes, ... one sample.
"""

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # protobuf ships no types
from torch import Tensor, nn

from training.adopt.adoption import Say, Sources, adopt
from training.adopt.decisions import Adoption, Options
from training.adopt.graph_files import GraphFile
from training.errors import ExportError
from training.export.graphs import onnx_export
from training.export.graphs.interface import LABEL, LATENT, SAMPLE
from training.export.graphs.parity import magnitude
from training.export.graphs.runtime import Graph, rows_of
from training.export.publish import choose_version

ROWS: Final = 3  # of the examples; torch.export treats an axis of 0 or 1 as a constant
SEED: Final = 0
OUTPUT: Final = "output"  # says nothing of what it is, so that nothing is read from its name
# By type of the weights, relative to the largest value: rounding of a hundred layers, far below a wrong graph.
TOLERANCES: Final = {torch.float32: 1e-3, torch.float16: 3e-2}
FLAG: Final = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
ARGUMENTS: Final = {"range": "value_range", "set": "arguments"}  # others have the name of their flag
LONGEST_REASON: Final = 200  # characters of torch's own words


@dataclass(frozen=True, kw_only=True)
class Modules:
    """The networks of a GAN as torch modules, and how they are called.

    Attributes:
        generator: latents (and labels) to samples.
        latent: Z, or the shape of one latent; for Z, both [B, Z] and [B, Z, 1, 1] are tried.
        classes: K; 0 without labels. Both integers [B] and one-hot [B, K] are tried.
        discriminator: samples (and labels, if it takes two arguments) to numbers [B, ...].
        encoder: samples to latents.
        arguments: further arguments of the generator by name, the same in every call.
    """

    generator: nn.Module
    latent: int | tuple[int, ...]
    classes: int = 0
    discriminator: nn.Module | None = None
    encoder: nn.Module | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)


def publish(modules: Modules, options: Options, say: Say) -> Adoption:
    """Export modules, and publish them as a package.

    Args:
        say: is told each decision and what is being done, line by line.

    Raises:
        ExportError: what cannot be served, and what to do; then nothing is left behind.
        DataError: if the data cannot be read.
    """
    choose_version(options.models, options.name, options.version)  # answers before anything is exported
    try:
        graphs = export(modules)
        return adopt(graphs, dataclasses.replace(options, latent=LATENT), lambda line: say(_for_python(line)))
    except ExportError as error:
        raise ExportError(_for_python(str(error))) from error


def export(modules: Modules) -> Sources:
    """Export modules as foreign graphs, whose inputs are called as in a package.

    Raises:
        ExportError: which module cannot be served, and why.
    """
    given = (modules.generator, modules.discriminator, modules.encoder)
    networks = [_unwrapped(each) for each in given if each is not None]
    with _evaluating(networks), torch.no_grad():
        generator = _Called("generator", modules.generator, modules.arguments)
        latents, labels = _latents(modules.latent), _labels(modules.classes)
        inputs = generator.learn(
            [dict(zip((LATENT, LABEL), given, strict=False)) for given in itertools.product(latents, *labels)]
        )
        samples = generator.answer(inputs)
        judge, reader = None, None
        if modules.discriminator is not None:
            discriminator = _Called("discriminator", modules.discriminator)
            told: list[dict[str, Tensor]] = [{SAMPLE: samples, LABEL: label} for each in labels for label in each]
            judge = discriminator.file(discriminator.learn([*told, {SAMPLE: samples}]))
        if modules.encoder is not None:
            encoder = _Called("encoder", modules.encoder)
            reader = encoder.file(encoder.learn([{SAMPLE: samples}]))
        return Sources(generator=generator.file(inputs), discriminator=judge, encoder=reader)


class _Bound(nn.Module):
    """A network with some arguments given."""

    def __init__(self, network: nn.Module, arguments: Mapping[str, object]) -> None:
        super().__init__()
        self.network, self.arguments = network, dict(arguments)

    def forward(self, *tensors: Tensor) -> object:
        return self.network(*tensors, **self.arguments)


class _Called:
    """A module that is called with examples.

    Args:
        role: what it is, for messages.
    """

    def __init__(self, role: str, module: nn.Module, arguments: Mapping[str, object] | None = None) -> None:
        network = _unwrapped(module)
        self.role, self.title = role, type(network).__name__
        self._network = _Bound(network, arguments) if arguments else network
        first = next(itertools.chain(network.parameters(), network.buffers()), torch.zeros(()))
        floats = (each.dtype for each in network.parameters() if each.is_floating_point())
        self._device, self._dtype = first.device, next(floats, torch.float32)
        if self._dtype not in TOLERANCES:
            raise ExportError(
                f"the {role} {self.title} has weights of {self._dtype}, which are not served; "
                "convert it with .float() first"
            )

    def learn(self, ways: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Find the inputs that the module can be called with, on its device and of its type.

        Args:
            ways: inputs by name, the likeliest first.

        Raises:
            ExportError: if it takes none, in the words of its first failure.
        """
        failures: list[str] = []
        for way in ways:
            inputs = {name: self._placed(tensor) for name, tensor in way.items()}
            try:
                self._network(*inputs.values())
            except Exception as error:  # noqa: BLE001 - a user's own code may raise anything
                shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
                failures.append(f"with {shapes} it says: {_short(error)}")
            else:
                return inputs
        raise ExportError(f"the {self.role} {self.title} cannot be called: {failures[0]}")

    def answer(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Call the module twice.

        Returns:
            [B, ...].

        Raises:
            ExportError: if it answers no tensor, or another one the second time.
        """
        output, again = (self._network(*inputs.values()) for _ in range(2))
        rows = len(next(iter(inputs.values())))
        if not isinstance(output, Tensor):
            raise ExportError(
                f"the {self.role} {self.title} answers a {type(output).__name__}; wrap it in a module that returns one "
                "tensor alone"
            )
        if output.ndim == 0 or len(output) != rows:
            raise ExportError(
                f"the {self.role} {self.title} answers {list(output.shape)} for {rows} rows; the first axis must be "
                "the batch"
            )
        finite = torch.isfinite(output).reshape(rows, -1).all(dim=1)
        if self.role == "generator" and bool(finite[:-1].all()) and not bool(finite[-1]):  # the last latent is 0
            raise ExportError(
                f"the {self.role} {self.title} answers numbers that are not finite for a latent of zeros; where it "
                "divides by the length of its latent, add a small number to that"
            )
        if not bool(finite.all()):
            raise ExportError(f"the {self.role} {self.title} answers numbers that are not finite; check its weights")
        if _gap(output, again) > TOLERANCES[self._dtype]:
            raise ExportError(
                f"the {self.role} {self.title} answers the same input differently the second time, in evaluation mode "
                "too; its noise must be an argument, or switched off with `arguments`"
            )
        return output

    def file(self, inputs: Mapping[str, Tensor]) -> GraphFile:
        """Export the module, with a free batch where torch can trace one, and else for a batch of one.

        Raises:
            ExportError: if it has no graph, or its graph answers otherwise.
        """
        expected = self.answer(inputs)
        reasons = []
        for free_batch in (True, False):
            examples = [tensor if free_batch else tensor[:1] for tensor in inputs.values()]
            for optimize in (True, False):
                try:
                    content = self._converted(examples, list(inputs), free_batch=free_batch, optimize=optimize)
                except ExportError as error:
                    reasons.append(str(error))
                    break  # it cannot be traced, however simple the graph
                try:
                    self._compare(content, inputs, expected, rows=ROWS if free_batch else 1)
                except ExportError as error:
                    reasons.append(str(error))
                    continue
                return GraphFile.of(f"{self.role} {self.title}", content)
        raise ExportError(f"the {self.role} {self.title}: {reasons[-1]}")

    def _converted(
        self, examples: Sequence[Tensor], names: Sequence[str], *, free_batch: bool, optimize: bool
    ) -> bytes:
        model = onnx_export.convert(self._network, examples, names, [OUTPUT], free_batch=free_batch, optimize=optimize)
        try:
            content: bytes = model.SerializeToString(deterministic=True)
        except EncodeError as error:
            raise ExportError(
                f"the {self.role} {self.title} has more than 2 GiB of weights; a served graph has less: halve it with "
                ".half()"
            ) from error
        return content

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)

    def _compare(self, content: bytes, inputs: Mapping[str, Tensor], expected: Tensor, rows: int) -> None:
        """Refuse a graph that answers otherwise than its module, `rows` at a time."""
        fed = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
        try:
            graph = Graph(content)
            found = [graph.run(rows_of(fed, slice(row, row + rows)))[OUTPUT] for row in range(0, ROWS, rows)]
        except Exception as error:
            raise ExportError(
                f"ONNX Runtime cannot run the graph of the {self.role} {self.title}: {_short(error)}"
            ) from error
        gap = _gap(expected, torch.from_numpy(np.concatenate(found)))
        if not gap <= TOLERANCES[self._dtype]:  # so that NaN is refused too
            raise ExportError(
                f"the graph of the {self.role} {self.title} answers otherwise than the module, by {gap:.2g} of the "
                "largest value; a part of it cannot be traced, such as a branch on its data"
            )


def _gap(expected: Tensor, found: Tensor) -> float:
    """Largest difference, relative to the largest value where that is above 1."""
    ours, theirs = (tensor.double().cpu().numpy() for tensor in (expected, found))
    return float(np.abs(ours - theirs).max()) / magnitude(ours)


def _for_python(words: str) -> str:
    """What is said of flags, as it is said of the arguments of `ganymede.publish`."""
    return FLAG.sub(lambda flag: ARGUMENTS.get(flag[1], flag[1].replace("-", "_")), words)


def _latents(latent: int | tuple[int, ...]) -> list[Tensor]:
    """Latents of the shapes that a generator may take, the likeliest first."""
    shapes = [(latent,), (latent, 1, 1)] if isinstance(latent, int) else [tuple(latent)]
    if not shapes[0] or not all(isinstance(size, int) and size >= 1 for size in shapes[0]):
        raise ExportError(f"latent is the number of coordinates, or the shape of one latent; {latent} is neither")
    chance = torch.Generator().manual_seed(SEED)
    drawn = [torch.randn(ROWS, *shape, generator=chance) for shape in shapes]
    for latents in drawn:
        latents[-1] = 0  # where a division by the latent's length must stay finite
    return drawn


def _labels(classes: int) -> list[list[Tensor]]:
    """One choice of labels in the forms that a module may take, or no choice without classes."""
    if not classes:
        return []
    labels = torch.arange(ROWS) % classes
    return [[labels, nn.functional.one_hot(labels, classes).float()]]


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside `DataParallel`, `DistributedDataParallel` and `torch.compile`."""
    if not isinstance(module, nn.Module):
        raise ExportError(f"a {type(module).__name__} is no torch.nn.Module; wrap it in one")
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    compiled = getattr(module, "_orig_mod", None)
    return _unwrapped(compiled) if isinstance(compiled, nn.Module) else module


@contextlib.contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Put networks into evaluation mode, and each part back into its own mode."""
    modes = [(part, part.training) for network in networks for part in network.modules()]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for part, training in modes:
            part.training = training


def _short(error: Exception) -> str:
    """A library's own words on one line."""
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__
