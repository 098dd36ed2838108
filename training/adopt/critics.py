"""From a foreign discriminator or encoder to the package's: it is shown what the generator makes, in its own layout.

    samples of the package ─▶ quantised ─▶ the file, one by one ─▶ logits or probabilities ─┐
                                  └──────▶ the package's graph, in batches ─────────────────┴─▶ proof

Shapes: N rows, Z latent coordinates, K classes, C H W channels, height and width.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from training.adopt import batches, graph_files, roles
from training.adopt.batches import ONE_BY_ONE, ROWS, TOLERANCE, Original
from training.adopt.borders import SMALLEST_PROBABILITY, Borders
from training.adopt.decisions import Decision, Interval, Layout, Layouts, Options
from training.adopt.generators import (
    AdoptedGenerator,
    AdoptedGraph,
    Proof,
    as_taken,
    label_as_taken,
    run_original,
)
from training.adopt.graph_files import GraphFile, PlainGraph
from training.adopt.ranges import BYTES, interval
from training.adopt.ranges import told as told_range
from training.adopt.roles import Port
from training.errors import ExportError
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, LATENT, LOGIT, PIXELS, SAMPLE, TensorSpec
from training.export.graphs.parity import magnitude
from training.export.graphs.runtime import Arrays, Graph, rows_of

PASSED: Final = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"})  # behind a sigmoid
LATENT_OUTPUTS: Final = ("z", "mu", "mean", "latent", "latents", "code")
COUPLED_ROWS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Critic:
    """A graph that takes samples.

    Attributes:
        takes_label: whether it takes their labels too.
        coupled: whether an answer depends on the other samples of its batch.
        of_probability: whether the file answers probabilities.
    """

    graph: AdoptedGraph
    takes_label: bool
    coupled: bool = False
    of_probability: bool = False


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """The inputs of a graph that takes samples.

    Attributes:
        own: range of the images that it takes; None for vectors.
    """

    sample: Port
    layouts: Layouts
    own: Interval | None
    label: Port | None
    one_hot: bool
    bound: Mapping[str, NDArray[np.generic]]

    @property
    def batched(self) -> list[str]:
        """Names of the inputs whose first axis is the batch."""
        return [port.name for port in (self.sample, self.label) if port is not None]


def adopt_discriminator(
    file: GraphFile, generator: AdoptedGenerator, options: Options
) -> tuple[Critic, list[Decision]]:
    """Make a discriminator's graph the package's, from samples to one logit each.

    Raises:
        ExportError: what cannot be served or is not known, and what to do.
    """
    plain, taken, decisions = _opened(file, generator, options)
    shown = _shown(generator)
    original = Original((plain.reference,), taken.bound)
    answers = run_original(file.name, original, _feeds(taken, generator, shown))
    output, averaged = _logit_output(file.name, plain, answers)
    values = answers[output.name].reshape(ROWS, -1).astype(np.float64).mean(axis=1)
    of_probability, cut, reason = _form(plain.model.graph, output.name, answers[output.name], options)
    decisions.append(
        Decision("scores", "probabilities" if of_probability else "logits", reason, "--critic-output logit|probability")
    )
    if averaged:
        decisions.append(Decision("scores", "the mean of each map", f"{output} has more than one number a sample"))

    def bordered(model: ModelProto, batch: int | None) -> bytes:
        borders = _bordered(taken, generator, model, batch)
        inverts = of_probability and cut == output.name
        borders.make_numbers(cut, TensorSpec(LOGIT, "FP32"), of_probability=inverts, averaged=averaged)
        return borders.build()

    def probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-np.logaddexp(0, -logits)) if of_probability and not averaged else logits

    expected = values.astype(np.float32)
    if of_probability and averaged:  # the mean of logits is no function of the mean of probabilities
        clipped = np.clip(answers[output.name].astype(np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        expected = np.log(clipped / (1 - clipped)).reshape(ROWS, -1).mean(axis=1).astype(np.float32)
    proof = Proof(
        name=file.name, batched=taken.batched, bordered=bordered, expected={LOGIT: expected}, told=shown,
        seen=probability,
    )  # fmt: skip
    content, gap = proof.free(plain.model, original.batch)
    coupled = gap > TOLERANCE and _is_coupled(proof, content, original, taken, generator, shown)
    if coupled:
        alone = batches.largest_gap(proof.expected, content, shown, ONE_BY_ONE, probability)
        graph = AdoptedGraph(content=content, gap=alone, half=False, one_by_one=False)
        decisions.append(
            Decision("batch", "whole requests", "a score depends on the samples beside it (minibatch statistics)")
        )
        return Critic(graph=graph, takes_label=taken.label is not None, coupled=True), decisions
    graph, decision = proof.of(plain.model, original.batch)
    if graph.one_by_one:
        raise ExportError(
            f"{file.name} cannot be run in batches, which scores need ({decision.reason}); export it with a dynamic "
            "batch"
        )
    decisions.append(decision)
    critic = Critic(graph=graph, takes_label=taken.label is not None, of_probability=of_probability)
    return critic, decisions


def adopt_encoder(file: GraphFile, generator: AdoptedGenerator, options: Options) -> tuple[Critic, list[Decision]]:
    """Make an encoder's graph the package's, from samples to latents.

    Raises:
        ExportError: what cannot be served or is not known, and what to do.
    """
    plain, taken, decisions = _opened(file, generator, options)
    if taken.label is not None:
        raise ExportError(
            f"{file.name} takes a label, {taken.label}; give it a value with --set {taken.label.name}=VALUE"
        )
    shown = _shown(generator)
    original = Original((plain.reference,), taken.bound)
    answers = run_original(file.name, original, _feeds(taken, generator, shown))
    size = generator.face.latent_size
    fitting = [port for port in roles.ports(plain.model.graph.output) if answers[port.name][0].size == size]
    named = [port for port in fitting if port.name.lower() in LATENT_OUTPUTS]
    if not fitting or (len(fitting) > 1 and len(named) != 1):
        sizes = ", ".join(f"{name!r} of {values[0].size} numbers" for name, values in answers.items())
        raise ExportError(f"{file.name} makes {sizes}; an encoder of this package makes one latent of {size} numbers")
    output = fitting[0] if len(fitting) == 1 else named[0]
    decisions.append(Decision("latent", f"{output}", f"it has {size} numbers a sample"))

    def bordered(model: ModelProto, batch: int | None) -> bytes:
        borders = _bordered(taken, generator, model, batch)
        borders.make_numbers(output.name, TensorSpec(LATENT, "FP32", (size,)))
        return borders.build()

    expected = answers[output.name].reshape(ROWS, size).astype(np.float32)
    proof = Proof(name=file.name, batched=taken.batched, bordered=bordered, expected={LATENT: expected}, told=shown)
    graph, decision = proof.of(plain.model, original.batch)
    return Critic(graph=graph, takes_label=False), [*decisions, decision]


def as_shown(pixels: NDArray[np.uint8], value_range: Interval) -> NDArray[np.float32]:
    """Bytes [N, C, H, W] in the range of the package's samples, as the service gives them to a discriminator."""
    low, high = value_range
    return (low + (high - low) * (pixels.astype(np.float32) / np.float32(BYTES[1]))).astype(np.float32)


def _opened(
    file: GraphFile, generator: AdoptedGenerator, options: Options
) -> tuple[PlainGraph, _Taken, list[Decision]]:
    """A file and what its inputs mean."""
    plain = graph_files.plain(file, freeze_noise=options.freeze_noise)
    done = "; ".join(plain.done) or f"opset {plain.model.opset_import[0].version}, as it is"
    bound, left, decisions = roles.find_bound(plain.model, options)
    face = generator.face
    sample = _sample_port(file.name, left, face.sample_shape)
    layouts, reason = _layouts(file.name, sample, face.sample_shape, generator.layouts, options.layout)
    own = None
    decisions = [Decision("graph", file.name, done), *decisions]
    if layouts.is_image:
        decisions.append(Decision("input", f"{sample}, {layouts.layout}", reason, "--layout NCHW|NHWC"))
        own, why = _own_range(sample, face.value_range, options)
        decisions.append(Decision("range", told_range(own), why, "--critic-range LOW HIGH"))
    others = [port for port in left if port != sample]
    label, one_hot = _label(file.name, others, len(face.labels))
    taken = _Taken(sample=sample, layouts=layouts, own=own, label=label, one_hot=one_hot, bound=bound)
    return plain, taken, decisions


def _sample_port(name: str, left: Sequence[Port], shape: tuple[int, ...]) -> Port:
    size = math.prod(shape)
    fitting = [
        port
        for port in left
        if len(port.dims) > 1 and (None in port.dims[1:] or math.prod(filter(None, port.dims[1:])) == size)
    ]
    if len(fitting) != 1:
        raise ExportError(
            f"{name} takes {', '.join(map(str, left)) or 'nothing'}; the generator makes samples of "
            f"{'x'.join(map(str, shape))}, and one input must take those"
        )
    return fitting[0]


def _layouts(
    name: str, port: Port, shape: tuple[int, ...], made: Layouts, stated: Layout | None
) -> tuple[Layouts, str]:
    """How a graph takes samples, and why."""
    sizes = port.dims[1:]

    def fits(axes: tuple[int, ...]) -> bool:
        return len(sizes) == len(axes) and all(size in {None, axis} for size, axis in zip(sizes, axes, strict=True))

    if not made.is_image:
        return Layouts(sample_shape=shape, axes=shape), "as the generator makes them"
    channels, height, width = shape
    first, last = fits(shape), fits((height, width, channels))
    if len(sizes) == 1 or (first and last):
        layout = stated or made.layout
        axes = (math.prod(shape),) if len(sizes) == 1 else shape
        return Layouts(sample_shape=shape, axes=axes, layout=layout), "as stated" if stated else "as the generator's"
    if channels == 1 and fits((height, width)):
        return Layouts(sample_shape=shape, axes=(height, width)), "it has no channels"
    if not first and not last:
        raise ExportError(f"{name} takes {port}, and the generator makes images of {channels}x{height}x{width}")
    return Layouts(sample_shape=shape, axes=shape, layout="NCHW" if first else "NHWC"), "by its shape"


def _own_range(port: Port, made: Interval, options: Options) -> tuple[Interval, str]:
    if options.critic_range is not None:
        return options.critic_range, "as stated"
    if port.elem_type == TensorProto.UINT8:
        return BYTES, "it takes bytes"
    return made, "the generator's"


def _label(name: str, others: Sequence[Port], classes: int) -> tuple[Port | None, bool]:
    """The label's port, and whether it is one-hot."""
    if not others:
        return None, False
    (port, *more) = others
    sizes = math.prod(size or 1 for size in port.dims[1:])
    one_hot = port.elem_type in roles.FLOATS and sizes == classes
    if more or not classes or not (one_hot or (port.elem_type in roles.INTEGERS and sizes == 1)):
        raise ExportError(
            f"{name}: the input {more[0] if more else port} is neither the sample nor the generator's label; give it a "
            f"value with --set {(more[0] if more else port).name}=VALUE"
        )
    return port, one_hot


def _shown(generator: AdoptedGenerator) -> Arrays:
    """Samples as the service scores them, with their labels: `ROWS` of them."""
    face, graph = generator.face, Graph(generator.graph.content)
    inputs = draw(Purpose.PARITY, ROWS, face)
    outputs = [graph.run(rows_of(inputs, slice(row, row + 1))) for row in range(ROWS)]
    if face.kind == "image":
        pixels = np.concatenate([each[PIXELS] for each in outputs]).transpose(0, 3, 1, 2).astype(np.uint8)
        shown: Arrays = {SAMPLE: as_shown(pixels, face.value_range)}
    else:
        shown = {SAMPLE: np.concatenate([each[SAMPLE] for each in outputs])}
    if face.labels:
        shown[LABEL] = inputs[LABEL]
    return shown


def _feeds(taken: _Taken, generator: AdoptedGenerator, shown: Arrays) -> Arrays:
    """Samples and labels as a file takes them."""
    made, samples = generator.face.value_range, shown[SAMPLE].astype(np.float64)
    if taken.own is not None:
        samples = taken.own[0] + (taken.own[1] - taken.own[0]) * (samples - made[0]) / (made[1] - made[0])
    if taken.layouts.is_image and taken.layouts.layout == "NHWC":
        samples = samples.transpose(0, 2, 3, 1)
    samples = np.rint(samples) if taken.sample.elem_type == TensorProto.UINT8 else samples
    feeds = {taken.sample.name: as_taken(taken.sample, samples)}
    if taken.label is not None:
        classes = len(generator.face.labels)
        feeds[taken.label.name] = label_as_taken(taken.label, shown[LABEL], classes, one_hot=taken.one_hot)
    return feeds


def _bordered(taken: _Taken, generator: AdoptedGenerator, model: ModelProto, batch: int | None) -> Borders:
    borders = Borders(model, batch)
    for name, value in taken.bound.items():
        borders.bind(name, value)
    borders.take_sample(taken.sample, taken.layouts, taken.own, generator.face.value_range)
    if taken.label is not None:
        borders.take_label(taken.label, len(generator.face.labels), one_hot=taken.one_hot)
    return borders


def _logit_output(name: str, plain: PlainGraph, answers: Arrays) -> tuple[Port, bool]:
    """The output with the scores, and whether it is a map of them."""
    found = roles.ports(plain.model.graph.output)
    single = [port for port in found if answers[port.name][0].size == 1]
    if len(single) == 1:
        return single[0], False
    maps = [port for port in found if answers[port.name].ndim == 4 and answers[port.name].shape[1] == 1]  # noqa: PLR2004
    if not single and len(maps) == 1:
        return maps[0], True
    shown = ", ".join(f"{port.name!r} of {answers[port.name][0].size} numbers" for port in found)
    raise ExportError(
        f"{name} makes {shown}; a discriminator makes one logit or probability a sample, or one map of them: export it "
        "with that output alone"
    )


def _form(graph: GraphProto, output: str, values: NDArray[np.generic], options: Options) -> tuple[bool, str, str]:
    """Whether scores are probabilities, the tensor that is taken, and why."""
    stated = options.critic_output
    producers = {made: node for node in graph.node for made in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in PASSED:
        node = producers.get(node.input[0])
    if node is not None and node.op_type == "Sigmoid" and stated != "logit":
        return True, node.input[0], "it ends in a sigmoid, whose input is taken"
    if stated is not None:
        return stated == "probability", output, "as stated"
    bounds = interval(graph, output)
    if bounds is not None and bounds[0] >= 0 and bounds[1] <= 1:
        return True, output, "its last operators keep it within [0, 1]"
    low, high = float(values.min()), float(values.max())
    return False, output, f"it ends in no sigmoid, and {len(values)} of them lie in [{low:.3g}, {high:.3g}]"


def _is_coupled(
    proof: Proof,
    content: bytes,
    original: Original,
    taken: _Taken,
    generator: AdoptedGenerator,
    shown: Arrays,
) -> bool:
    """Whether the file itself scores samples otherwise when they are together, as the package's graph does."""
    if original.is_fixed:
        return False
    together = {key: values[:COUPLED_ROWS] for key, values in shown.items()}
    try:
        answers = original.run(_feeds(taken, generator, together))
        found = Graph(content).run(together)[LOGIT].astype(np.float64)
    except Exception:  # noqa: BLE001 - ONNX Runtime's own types: it does not run in batches, which is no coupling
        return False
    alone = proof.expected[LOGIT][:COUPLED_ROWS].astype(np.float64)
    for values in answers.values():
        if values.size == COUPLED_ROWS:
            theirs = values.reshape(-1).astype(np.float64)
            changes = np.abs(theirs - alone).max() > TOLERANCE * magnitude(alone)
            return bool(changes and np.abs(theirs - proof.seen(found)).max() <= TOLERANCE * magnitude(theirs))
    return False
