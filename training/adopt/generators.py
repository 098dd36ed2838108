"""From a foreign generator to the package's: its tensors found, its batch freed, its outputs the package's.

    file (and mapping network) ─▶ plain ─▶ inputs ─▶ 19 rows of the untouched graph ─▶ layout, range ─▶ borders ─▶ proof

Shapes: N rows, Z latent coordinates, K classes.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from training.adopt import batches, graph_files, roles
from training.adopt.batches import HALF_TOLERANCE, ROWS, TOLERANCE, Original
from training.adopt.borders import Borders
from training.adopt.decisions import Decision, Layouts, Options
from training.adopt.graph_files import GraphFile
from training.adopt.ranges import find_range
from training.adopt.roles import Inputs, Port
from training.data.pixels import HIGH, LOW
from training.errors import ExportError
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, LATENT, SAMPLE, Interface
from training.export.graphs.onnx_export import opset_of
from training.export.graphs.runtime import Arrays

Bordered = Callable[[ModelProto, int | None], bytes]


@dataclass(frozen=True, kw_only=True)
class AdoptedGraph:
    """A graph of the package.

    Attributes:
        content: serialized.
        gap: largest difference from the untouched graph, relative to the largest value where that is above 1.
        half: whether it computes with half precision.
        one_by_one: whether it takes one sample at a time.
    """

    content: bytes
    gap: float
    half: bool
    one_by_one: bool

    @property
    def opset(self) -> int:
        """Of its operators."""
        return opset_of(self.content)


@dataclass(frozen=True, kw_only=True)
class AdoptedGenerator:
    """The generator of a package."""

    graph: AdoptedGraph
    face: Interface
    layouts: Layouts


def adopt_generator(
    file: GraphFile, mapping: GraphFile | None, options: Options
) -> tuple[AdoptedGenerator, list[Decision]]:
    """Make a generator's graph the package's.

    Args:
        mapping: the network before it, from latents to its input; None for none.

    Raises:
        ExportError: what cannot be served or is not known, and what to do.
    """
    model, done = graph_files.plain(file, freeze_noise=options.freeze_noise)
    decisions = [Decision("graph", file.name, "; ".join(done) or f"opset {model.opset_import[0].version}, as it is")]
    inputs, found = roles.find_inputs(file.name, model, options)
    decisions += found
    prior = options.prior or "standard_normal"
    face = Interface(sample_shape=(), latent_size=inputs.latent_size, prior=prior, labels=inputs.labels)
    told = draw(Purpose.PARITY, ROWS, face)
    answers = _answers(file, inputs, told)
    output, reason = _choose_output(file.name, roles.ports(model.graph.output), answers, options)
    if reason:
        decisions.append(Decision("output", repr(output.name), reason, "--output NAME"))
    values = answers[output.name]
    layouts, decision = roles.find_layout(file.name, output, values.shape[1:], options)
    decisions.append(decision)
    value_range, clip = None, False
    if layouts.is_image:
        value_range, clip, decision = find_range(file.name, model.graph, output.name, values, options)
        decisions.append(decision)
        if clip:
            decisions.append(
                Decision("clip", "values outside the range are clipped", "nothing in the graph bounds them")
            )
    face = replace(face, sample_shape=layouts.sample_shape, value_range=value_range or (LOW, HIGH))
    expected = layouts.arranged(values.astype(np.float32))
    if clip and value_range is not None:
        expected = expected.clip(*value_range)

    def bordered(plain: ModelProto, batch: int | None) -> bytes:
        borders = Borders(plain, batch)
        for name, value in inputs.bound.items():
            borders.bind(name, value)
        borders.take_latent(inputs.latent, inputs.latent_size)
        if inputs.label is not None:
            borders.take_label(inputs.label, len(inputs.labels), one_hot=inputs.one_hot)
        borders.make_sample(output.name, layouts, value_range, clip=clip)
        return borders.build()

    batched = [port.name for port in (inputs.latent, inputs.label) if port is not None]
    graph, decision = prove(file.name, model, batched, bordered, {SAMPLE: expected}, told)
    decisions.append(decision)
    return AdoptedGenerator(graph=graph, face=face, layouts=layouts), decisions


def _answers(file: GraphFile, inputs: Inputs, told: Arrays) -> Arrays:
    """What the untouched graph makes of latents and labels, one by one."""
    feeds = {inputs.latent.name: _as_taken(inputs.latent, told[LATENT])}
    if inputs.label is not None:
        labels = told[LABEL]
        given = np.eye(len(inputs.labels), dtype=np.float32)[labels] if inputs.one_hot else labels
        feeds[inputs.label.name] = _as_taken(inputs.label, given)
    try:
        answers = Original(file.content, inputs.bound).rows(feeds)
    except Exception as error:
        words = " ".join(str(error).split())[: graph_files.LONGEST_REASON]
        raise ExportError(f"{file.name} does not run in ONNX Runtime: {words}; export it again") from error
    for name, values in answers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ExportError(f"{file.name} makes numbers that are not finite in {name!r}; its weights are damaged")
    return answers


def _as_taken(port: Port, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Values [N, ...] in the type and shape of an input."""
    sizes = [size for size in port.dims[1:] if size is not None]
    shape = sizes if len(sizes) == len(port.dims) - 1 else list(values.shape[1:])
    return values.reshape(len(values), *shape).astype(port.dtype)


def _choose_output(name: str, outputs: list[Port], answers: Arrays, options: Options) -> tuple[Port, str]:
    """The output that is the sample, and why if there are several."""
    if options.output is not None:
        for port in outputs:
            if port.name == options.output:
                return port, "as stated"
        raise ExportError(f"{name} has no output {options.output!r}; it has {', '.join(port.name for port in outputs)}")
    if len(outputs) == 1:
        return outputs[0], ""
    largest = max(outputs, key=lambda port: answers[port.name].size)
    if sum(answers[port.name].size == answers[largest.name].size for port in outputs) > 1:
        shown = ", ".join(map(str, outputs))
        raise ExportError(
            f"{name} has several outputs of one size: {shown}; say which is the sample with --output NAME"
        )
    return largest, f"the largest of {len(outputs)} outputs"


def prove(
    name: str, model: ModelProto, batched: Collection[str], bordered: Bordered, expected: Arrays, told: Arrays
) -> tuple[AdoptedGraph, Decision]:
    """Free a graph's batch where that leaves it the same function.

    Args:
        batched: its inputs whose first axis is the batch.
        bordered: serializes it with the package's tensors, for a batch of a size, or None for any.
        expected: [N, ...] of the untouched graph, by output of the package's.
        told: [N, ...] by input of the package's.

    Raises:
        ExportError: if it is not the same function.
    """
    half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    content = bordered(batches.free(model, batched), None)
    gap = batches.largest_gap(expected, content, told)
    if gap > tolerance:
        raise ExportError(
            f"{name} makes other samples in batches than one by one (they differ by {gap:.2g}); export it with a "
            "dynamic batch"
        )
    graph_files.check(name, onnx.load_model_from_string(content))
    return (
        AdoptedGraph(content=content, gap=gap, half=half, one_by_one=False),
        Decision("batch", "any", f"batches agree with single runs of the file within {gap:.1e}"),
    )
