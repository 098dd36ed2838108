"""From a foreign generator to the package's: its tensors found, its batch freed, its outputs the package's.

    file (and mapping network) ─▶ plain ─▶ inputs ─▶ 19 rows of the untouched graph ─▶ layout, range ─▶ borders ─▶ proof

Shapes: N rows, Z latent coordinates, K classes.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx.compose
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from training.adopt import batches, graph_files, roles
from training.adopt.batches import HALF_TOLERANCE, ONE_BY_ONE, ROWS, TOLERANCE, Original, Seen
from training.adopt.borders import Borders
from training.adopt.decisions import Decision, Layouts, Options
from training.adopt.graph_files import GraphFile, PlainGraph
from training.adopt.ranges import find_range
from training.adopt.roles import Inputs, Port
from training.data.pixels import HIGH, LOW
from training.errors import ExportError
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.interface import LABEL, LATENT, SAMPLE, Interface
from training.export.graphs.onnx_export import OPSET, opset_of
from training.export.graphs.runtime import Arrays


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
    given, decisions = _given(file, mapping, options)
    name, model = given.plain.name, given.plain.model
    inputs, found = roles.find_inputs(name, model, options)
    decisions += found
    prior = options.prior or "standard_normal"
    face = Interface(sample_shape=(), latent_size=inputs.latent_size, prior=prior, labels=inputs.labels)
    told = draw(Purpose.PARITY, ROWS, face)
    original = given.original(inputs.bound)
    answers = run_original(name, original, _feeds(inputs, told))
    output, reason = _choose_output(name, roles.ports(model.graph.output), answers, options)
    if reason:
        decisions.append(Decision("output", repr(output.name), reason, "--output NAME"))
    values = answers[output.name]
    if np.ptp(values.astype(np.float64), axis=0).max() == 0:
        raise ExportError(
            f"{name} makes one and the same {output.name!r} of {ROWS} latents when it is given one at a time; its "
            "samples depend on their batch or on nothing, so a seed would not choose one: export it in inference mode"
        )
    layouts, decision = roles.find_layout(name, output, values.shape[1:], options)
    decisions.append(decision)
    value_range, clip = None, False
    if layouts.is_image:
        value_range, clip, decision = find_range(name, model.graph, output.name, values, options)
        decisions.append(decision)
        if clip:
            decisions.append(Decision("clip", "values outside the range are clipped", "no operator bounds them"))
    face = replace(face, sample_shape=layouts.sample_shape, value_range=value_range or (LOW, HIGH))
    expected = layouts.arranged(values.astype(np.float32))
    if clip and value_range is not None:
        expected = expected.clip(*value_range)

    def bordered(plain: ModelProto, batch: int | None) -> bytes:
        borders = Borders(plain, batch)
        for constant, value in inputs.bound.items():
            borders.bind(constant, value)
        borders.take_latent(inputs.latent, inputs.latent_size)
        if inputs.label is not None:
            borders.take_label(inputs.label, len(inputs.labels), one_hot=inputs.one_hot)
        borders.make_sample(output.name, layouts, value_range, clip=clip)
        return borders.build()

    batched = [port.name for port in (inputs.latent, inputs.label) if port is not None]
    proof = Proof(name=name, batched=batched, bordered=bordered, expected={SAMPLE: expected}, told=told)
    graph, decision = proof.of(model, original.batch)
    decisions.append(decision)
    return AdoptedGenerator(graph=graph, face=face, layouts=layouts), decisions


@dataclass(frozen=True)
class _Given:
    """A generator as it was given, with its mapping network.

    Attributes:
        plain: both in one graph.
        references: what each stage is compared with.
        links: inputs of the generator by outputs of the mapping network.
    """

    plain: PlainGraph
    references: tuple[bytes, ...]
    links: Mapping[str, str]

    def original(self, bound: Mapping[str, NDArray[np.generic]]) -> Original:
        """The files, to be run as they are."""
        return Original(self.references, bound, self.links)


def _given(file: GraphFile, mapping: GraphFile | None, options: Options) -> tuple[_Given, list[Decision]]:
    generator = graph_files.plain(file, freeze_noise=options.freeze_noise)
    if mapping is None:
        return _Given(generator, (generator.reference,), {}), [_described(generator)]
    first = graph_files.plain(mapping, freeze_noise=options.freeze_noise)
    links = _links(first, generator)
    joined = _join(first, generator, links)
    shown = ", ".join(f"{made!r} of {first.name} is {taken!r} of {file.name}" for made, taken in links.items())
    decisions = [_described(first), _described(generator), Decision("mapping", shown, "by name or shape")]
    return _Given(joined, (first.reference, generator.reference), links), decisions


def _described(graph: PlainGraph) -> Decision:
    return Decision(
        "graph", graph.name, "; ".join(graph.done) or f"opset {graph.model.opset_import[0].version}, as it is"
    )


def _links(mapping: PlainGraph, generator: PlainGraph) -> dict[str, str]:
    """The inputs of a generator that a mapping network makes: by name, else by the only shape that fits.

    Raises:
        ExportError: if there is none, or more than one could be meant.
    """
    made, taken = roles.ports(mapping.model.graph.output), roles.ports(generator.model.graph.input)
    links = {port.name: port.name for port in made if any(port.name == each.name for each in taken)}
    if links:
        return links
    fitting = [(out, to) for out in made for to in taken if len(out.dims) > 1 and out.dims[1:] == to.dims[1:]]
    if len(fitting) != 1:
        raise ExportError(
            f"{mapping.name} makes {', '.join(map(str, made))}, and {generator.name} takes "
            f"{', '.join(map(str, taken))}: {'none of them fits' if not fitting else 'more than one fits'}; give the "
            "output the name of the input when exporting"
        )
    ((out, to),) = fitting
    return {out.name: to.name}


def _join(first: PlainGraph, second: PlainGraph, links: Mapping[str, str]) -> PlainGraph:
    """Make one graph of two.

    Args:
        links: inputs of the second by outputs of the first.

    Raises:
        ExportError: if an input of both has one name.
    """
    opset = max(graph.model.opset_import[0].version for graph in (first, second))
    models = []
    for prefix, graph in (("mapping/", first), ("synthesis/", second)):
        model = graph.model
        if model.opset_import[0].version < opset:
            model = onnx.version_converter.convert_version(model, opset)
        model = onnx.compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)
        model.ir_version = max(first.model.ir_version, second.model.ir_version)
        models.append(model)
    shared = {value.name for value in first.model.graph.input} & {value.name for value in second.model.graph.input}
    if shared:
        raise ExportError(
            f"{first.name} and {second.name} both have an input {min(shared)!r}; export one with another name"
        )
    # The links have one name on both sides, which merging would find twice.
    onnx_links = []
    for made, taken in links.items():
        _rename(models[0].graph, made, f"link/{made}")
        onnx_links.append((f"link/{made}", taken))
    outputs = [value.name for value in second.model.graph.output]
    joined = onnx.compose.merge_models(models[0], models[1], io_map=onnx_links, outputs=outputs)
    return PlainGraph(second.name, joined, [*first.done, *second.done], b"")


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Rename a tensor that nodes make."""
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    for value in graph.output:
        if value.name == old:
            value.name = new


def run_original(name: str, original: Original, feeds: Arrays) -> Arrays:
    """Run a file as it is, one sample at a time.

    Raises:
        ExportError: if it does not run, or makes numbers that are not finite.
    """
    try:
        answers = original.rows(feeds)
    except Exception as error:
        words = " ".join(str(error).split())[: graph_files.LONGEST_REASON]
        raise ExportError(f"{name} does not run in ONNX Runtime: {words}; export it again") from error
    for output, values in answers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ExportError(f"{name} makes numbers that are not finite in {output!r}; its weights are damaged")
    return answers


def _feeds(inputs: Inputs, told: Arrays) -> Arrays:
    """Latents and labels as the file takes them."""
    feeds = {inputs.latent.name: as_taken(inputs.latent, told[LATENT])}
    if inputs.label is not None:
        feeds[inputs.label.name] = label_as_taken(inputs.label, told[LABEL], len(inputs.labels), one_hot=inputs.one_hot)
    return feeds


def label_as_taken(port: Port, labels: NDArray[np.generic], classes: int, *, one_hot: bool) -> NDArray[np.generic]:
    """Labels [N] in the type and shape of an input."""
    return as_taken(port, np.eye(classes, dtype=np.float32)[labels.astype(np.int64)] if one_hot else labels)


def as_taken(port: Port, values: NDArray[np.generic]) -> NDArray[np.generic]:
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


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a graph of the package computes what its file does.

    Attributes:
        batched: the file's inputs whose first axis is the batch.
        bordered: serializes a graph with the package's tensors, for a batch of a size, or None for any.
        expected: [N, ...] of the file, by output of the package's graph.
        told: [N, ...] by input of the package's graph.
        seen: what of the graph's outputs is compared.
    """

    name: str
    batched: Collection[str]
    bordered: Callable[[ModelProto, int | None], bytes]
    expected: Arrays
    told: Arrays
    seen: Seen = np.asarray

    def of(self, model: ModelProto, batch: int) -> tuple[AdoptedGraph, Decision]:
        """Free the batch where that leaves the same function; else have samples computed one by one.

        Args:
            model: plain.
            batch: that the file takes.

        Raises:
            ExportError: if neither is the same function.
        """
        half = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
        tolerance = HALF_TOLERANCE if half else TOLERANCE
        content, gap = self.free(model, batch)
        if gap <= tolerance:
            graph = AdoptedGraph(content=content, gap=gap, half=half, one_by_one=False)
            return graph, Decision("batch", "any", f"batches agree with single runs of the file within {gap:.1e}")
        content = _sized(self.bordered(batches.with_batch(model, self.batched, batch), batch))
        alone = batches.largest_gap(self.expected, content, self.told, ONE_BY_ONE, self.seen)
        if alone > tolerance:
            raise ExportError(
                f"{self.name} computes something else after its operators were converted (it differs by {alone:.2g}); "
                f"export it again with opset {OPSET}"
            )
        _check(self.name, onnx.load_model_from_string(content))
        why = "it does not run in batches" if np.isinf(gap) else f"in batches its samples would differ by {gap:.2g}"
        decision = Decision("batch", "one sample at a time", why, "exporting it with a dynamic batch")
        return AdoptedGraph(content=content, gap=alone, half=half, one_by_one=True), decision

    def free(self, model: ModelProto, batch: int) -> tuple[bytes, float]:
        """The graph with a free batch, and its largest difference from the file; infinite where it is not valid."""
        content = _sized(self.bordered(batches.free(model, self.batched, batch), None))
        gap = batches.largest_gap(self.expected, content, self.told, seen=self.seen)
        try:
            _check(self.name, onnx.load_model_from_string(content))
        except ExportError:
            return content, float("inf")
        return content, gap


def _sized(content: bytes) -> bytes:
    """A graph with sizes folded where that is needed to know them."""
    model = onnx.load_model_from_string(content)
    if _has_known_sizes(model):
        return content
    smaller: bytes = graph_files.folded(model).SerializeToString(deterministic=True)
    return smaller


def _has_known_sizes(model: ModelProto) -> bool:
    """Whether shape inference knows every tensor's size once the batch is a number, as the package format asks."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 2  # a batch of one would hide constants of one
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return False
    known = {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
        and all(axis.HasField("dim_value") for axis in value.type.tensor_type.shape.dim)
    }
    return all(name in known for node in fixed.graph.node for name in node.output if name)


def _check(name: str, model: ModelProto) -> None:
    """Refuse what the library's own check refuses.

    Raises:
        ExportError: why.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name} is not valid ONNX: {graph_files.short(error)}; export it again") from error
