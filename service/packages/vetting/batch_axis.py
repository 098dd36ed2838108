"""Where a graph mixes the samples of a batch: the nodes that compute across its first axis.

    minibatch statistics   ReduceMean over axis 0, of the samples or of groups of them
    minibatch features     ReduceSum over axis 0, of each sample's distances to all others

A discriminator whose scores depend on the rest of the batch must say so in its manifest. This test reads the graph;
another runs it (`engine/loading/batch_invariance.py`) and finds what reading misses: a transposed batch, a product of
samples.

References:
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.2: minibatch discrimination.
    Karras et al., Progressive Growing of GANs (2018), section 3: minibatch standard deviation.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from service.errors import GraphRefused

BATCH_AXIS: Final = 0
# Operators whose output elements depend on a whole axis of the first input. Others keep samples apart or, as
# convolutions do, compute across other axes than the first.
ACROSS_AN_AXIS: Final = frozenset(
    operator
    for family in (
        "ArgMax ArgMin CumSum Hardmax LogSoftmax LpNormalization MeanVarianceNormalization Softmax TopK",
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
        "ReduceSumSquare",
    )
    for operator in family.split()
)
# Their outputs depend on a tensor's size and not on its values.
SIZES_ONLY: Final = frozenset({"Shape", "Size"})
# Operator → its default axis; those not listed compute across all.
DEFAULT_AXES: Final[Mapping[str, int]] = {
    "ArgMax": 0,
    "ArgMin": 0,
    "Hardmax": -1,
    "LogSoftmax": -1,
    "LpNormalization": -1,
    "Softmax": -1,
    "TopK": -1,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        op: its operator.
        inputs: names of its input tensors.
        outputs: names of its output tensors.
        axes: axes of the first input that it computes across, none negative; None for all of them, empty for none.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: tuple[int, ...] | None


def check_scores(graph: GraphProto) -> None:
    """Refuse a discriminator whose scores depend on the rest of the batch although its manifest denies it."""
    mixing = first_mixing_step(read_steps(graph), (value.name for value in graph.input))
    if mixing is not None:
        raise GraphRefused(
            f"node {mixing} ({graph.node[mixing].op_type}): computes across the first axis, where the samples of a "
            "batch stand; state batch_coupled: true, or export it with another axis first"
        )


def first_mixing_step(steps: Iterable[Step], graph_inputs: Iterable[str]) -> int | None:
    """Find the first node that computes across the first axis of a tensor that depends on the samples.

    Args:
        steps: the nodes in topological order.
        graph_inputs: names of the graph's inputs.

    Returns:
        Its index, or None where there is none.
    """
    of_samples = set(graph_inputs)
    for index, step in enumerate(steps):
        if step.op in SIZES_ONLY or of_samples.isdisjoint(step.inputs):
            continue
        across = step.axes is None or BATCH_AXIS in step.axes
        if step.op in ACROSS_AN_AXIS and across and step.inputs[0] in of_samples:
            return index
        of_samples.update(step.outputs)
    return None


def read_steps(graph: GraphProto) -> Iterator[Step]:
    """The nodes as plain data, negative axes resolved."""
    integers = {tensor.name: tensor for tensor in graph.initializer}
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in attributes:
            integers[node.output[0]] = attributes["value"].t
        axes: tuple[int, ...] | None = ()
        if node.op_type in ACROSS_AN_AXIS:
            axes = axes_across(node, attributes, integers)
            rank = ranks.get(node.input[0], 0)
            axes = None if axes is None else tuple(axis + rank if axis < 0 else axis for axis in axes)
        yield Step(node.op_type, tuple(node.input), tuple(node.output), axes)


def axes_across(
    node: NodeProto, attributes: Mapping[str, AttributeProto], integers: Mapping[str, TensorProto]
) -> tuple[int, ...] | None:
    """Axes that a node computes across, as an attribute or an input by the operator's version; None for all."""
    if "axes" in attributes:
        return tuple(attributes["axes"].ints)
    if "axis" in attributes:
        return (attributes["axis"].i,)
    if node.op_type in DEFAULT_AXES:
        return (DEFAULT_AXES[node.op_type],)
    named = integers.get(node.input[1]) if len(node.input) > 1 else None
    return None if named is None else tuple(onnx.numpy_helper.to_array(named).ravel().tolist())
