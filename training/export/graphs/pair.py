"""The graphs of a package (generator, discriminator, optional encoder), compared with the networks of a run.

    run ──▶ batch statistics ──▶ ONNX ──▶ parity ──▶ Pair

Calibration, measurements and golden vectors use a `Pair`, never torch. Samples are as a caller receives them: images as
bytes, vectors as numbers.

Shapes: N samples, C H W channels, height and width, ... one sample.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import Data
from training.data.image_data import Bytes, Labels
from training.data.pixels import to_floats
from training.errors import ExportError
from training.export.graphs import inference_networks, onnx_export, parity
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import CONDITION, LABEL, LOGIT, PIXELS, SAMPLE, Interface, interface
from training.export.graphs.parity import Parity
from training.export.graphs.runtime import BATCH, Arrays, Graph
from training.state import players
from training.state.checkpoint import Run

Say = Callable[[str], None]
Floats = NDArray[np.float32]
Samples = Bytes | Floats | Labels

# Makes the standard error of a channel's mean a hundredth of its deviation, even on a map of one pixel.
STATISTICS_LATENTS = 10_000
MOST_FLOATS = 1 << 25  # of samples that are judged at once


@dataclass(frozen=True)
class LabelledSamples:
    """Samples as they are sent, with their labels.

    Attributes:
        samples: [N, ...], bytes if they are images, integers if they are items.
        labels: [N] classes, or ids where samples are items; None for an unconditional package.
    """

    samples: Samples
    labels: Labels | None

    def inputs(self) -> Arrays:
        """Inputs of a discriminator's graph, by name."""
        if self.labels is None:
            return {SAMPLE: floats(self.samples)}
        if self.samples.dtype == np.int64:
            return {SAMPLE: self.samples, CONDITION: self.labels}
        return {SAMPLE: floats(self.samples), LABEL: self.labels}

    def under_every_class(self, classes: int) -> Iterator["LabelledSamples"]:
        """Yield the same samples under each of K classes."""
        for label in range(classes):
            yield LabelledSamples(self.samples, np.full(len(self.samples), label, np.int64))

    def __getitem__(self, rows: slice) -> "LabelledSamples":
        """Select rows."""
        return LabelledSamples(self.samples[rows], None if self.labels is None else self.labels[rows])


@dataclass(frozen=True)
class Pair:
    """The two graphs of a package, loaded.

    Attributes:
        generator: latents (and labels) to samples, and pixels where they are images.
        discriminator: samples (and labels) to logits.
        parity: differences from the networks.
        encoder_bytes: serialized; None without an encoder.
        encoder: samples to latents or codes; None without an encoder.
    """

    interface: Interface
    generator_bytes: bytes
    discriminator_bytes: bytes
    generator: Graph
    discriminator: Graph
    parity: Parity
    encoder_bytes: bytes | None = None
    encoder: Graph | None = None

    def inputs(self, purpose: Purpose, count: int) -> Arrays:
        """Draw the generator's inputs for one purpose, [count, ...] by name."""
        return draw(purpose, count, self.interface)

    def generated(self, purpose: Purpose, count: int) -> LabelledSamples:
        """Generate samples as they are sent, with their requested labels."""
        return draw_samples(self.generator, self.interface, purpose, count)

    def real(self, samples: Samples, labels: Labels | None) -> LabelledSamples:
        """Combine real samples with their labels, if the package is conditional.

        Args:
            samples: [N, ...], bytes if they are images.
            labels: [N].

        Returns:
            What the discriminator is shown.
        """
        return LabelledSamples(samples, labels if self.interface.told else None)

    def logits(self, shown: LabelledSamples) -> Floats:
        """Compute the logits of samples; [N]."""
        # As floats the samples take four times the memory; the graph's own batches stay the same.
        rows = BATCH * max(1, MOST_FLOATS // (BATCH * max(1, math.prod(shown.samples.shape[1:]))))
        parts = [shown[start : start + rows] for start in range(0, len(shown.samples), rows)]
        logits = [self.discriminator.output(LOGIT, part.inputs()) for part in parts]
        return np.concatenate(logits).astype(np.float32)

    def logits_of_every_class(self, shown: LabelledSamples) -> Floats:
        """Compute the logits of samples under each class; [N, K]."""
        return np.stack([self.logits(each) for each in shown.under_every_class(len(self.interface.labels))], axis=1)


def build(run: Run, data: Data, say: Say) -> Pair:
    """Export the networks and check that the graphs compute the same.

    Args:
        run: the trained networks; batch statistics of the averaged generator and encoder are replaced.

    Raises:
        ExportError: if a graph would not be faithful.
    """
    face = interface(run.config, data)
    renew_statistics(run, face, say)
    if players.ENCODER in run.ema:
        inference_networks.reestimate(
            run.ema[players.ENCODER], torch.from_numpy(floats(data.train[:STATISTICS_LATENTS]))
        )
    say(f"graphs: writing ONNX, opset {onnx_export.OPSET}")
    generator_network, discriminator_network = inference_networks.generator(run), inference_networks.discriminator(run)
    generator_bytes = onnx_export.write(generator_network, face.generator_inputs, face.generator_outputs)
    discriminator_bytes = onnx_export.write(
        discriminator_network, face.discriminator_inputs, face.discriminator_outputs
    )
    generator, discriminator = Graph(generator_bytes), Graph(discriminator_bytes)
    inputs = draw(Purpose.PARITY, parity.INPUTS_NEEDED, face)
    sample, pixels = parity.check_generator(inference_networks.plain(run.generator), generator, inputs)
    judged = half_real(draw_samples(generator, face, Purpose.PARITY, parity.INPUTS_NEEDED), data)
    logit = parity.check_discriminator(discriminator_network, discriminator, judged.inputs())
    encoder_network, encoder_bytes, encoder, encoded = inference_networks.encoder(run), None, None, None
    if encoder_network is not None:
        encoder_bytes = onnx_export.write(encoder_network, face.encoder_inputs, face.encoder_outputs)
        encoder = Graph(encoder_bytes)
        encoded = parity.check_encoder(encoder_network, encoder, judged.inputs(), face.encoder_outputs[0].name)
    found = Parity(sample, pixels, logit, encoded)
    say(f"parity: {found}")
    return Pair(face, generator_bytes, discriminator_bytes, generator, discriminator, found, encoder_bytes, encoder)


def renew_statistics(run: Run, face: Interface, say: Say) -> None:
    """Replace the batch statistics of a run's averaged generator, where it has any, in place."""
    if inference_networks.has_batch_statistics(run.generator):
        say(f"batch statistics: gathering them anew over {STATISTICS_LATENTS:,} latents")
        told = draw(Purpose.BATCH_STATISTICS, STATISTICS_LATENTS, face).values()
        inference_networks.reestimate(run.generator, *(torch.from_numpy(values) for values in told))


def draw_samples(generator: Graph, face: Interface, purpose: Purpose, count: int) -> LabelledSamples:
    """Draw samples of a generator's graph, as they are sent.

    Args:
        generator: its inputs to samples, and to pixels [N, H, W, C] where they are images.

    Returns:
        The samples, with their requested labels.
    """
    inputs = draw(purpose, count, face)
    samples: Samples
    if face.kind == "image":
        pixels = generator.output(PIXELS, inputs).transpose(0, 3, 1, 2)
        samples = np.ascontiguousarray(pixels).astype(np.uint8, copy=False)
    else:
        drawn = generator.output(SAMPLE, inputs)
        samples = drawn.astype(np.int64) if face.kind == "item" else drawn.astype(np.float32, copy=False)
    labels = inputs.get(face.told)
    return LabelledSamples(samples, None if labels is None else labels.astype(np.int64, copy=False))


def floats(samples: Samples) -> Floats:
    """Convert samples [N, ...] to a discriminator's input: bytes to their range, floats unchanged."""
    if samples.dtype != np.uint8:
        return samples.astype(np.float32, copy=False)
    values: Floats = to_floats(torch.from_numpy(samples.copy())).numpy()
    return values


def half_real(generated: LabelledSamples, data: Data) -> LabelledSamples:
    """Replace every second sample by a held-out one, so that logits of both kinds occur.

    Raises:
        ExportError: if the package is conditional and the held-out samples have no labels.
    """
    samples = generated.samples.copy()
    rows = np.arange(len(samples[::2])) % len(data.held_out)
    samples[::2] = data.held_out[rows]
    if generated.labels is None:
        return LabelledSamples(samples, None)
    if data.held_out_labels is None:
        raise ExportError(f"the held-out samples of {data.name} have no labels for a conditional discriminator")
    labels = generated.labels.copy()
    labels[::2] = data.held_out_labels[rows]
    return LabelledSamples(samples, labels)
