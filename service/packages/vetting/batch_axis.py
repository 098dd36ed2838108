"""Where a graph mixes the samples of a batch: the nodes that compute across its first axis.

    minibatch statistics   ReduceMean over axis 0, of the samples or of groups of them
    minibatch features     ReduceSum over axis 0, of each sample's distances to all others

A score that depends on what is scored beside it is no score of the sample alone, so a discriminator that mixes must say
so. This half of the test reads the graph; the other runs it (`loading/batch_invariance.py`) and finds what hides from a
reader: a transposed batch, a product of samples. Pure, on plain data: it knows no ONNX, whose files the vetting child
alone parses.

References:
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.2: minibatch discrimination.
    Karras et al., Progressive Growing of GANs (2018), section 3: minibatch standard deviation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

BATCH_AXIS: Final = 0
# Operators of which an output element depends on a whole axis of the first input; others keep samples apart or, like
# convolutions, have no first axis to compute across.
ACROSS_AN_AXIS: Final = frozenset(
    operator
    for family in (
        "ArgMax ArgMin CumSum Hardmax LogSoftmax LpNormalization MeanVarianceNormalization Softmax TopK",
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum",
        "ReduceSumSquare",
    )
    for operator in family.split()
)
# What only tells how large a tensor is says nothing of its values.
SIZES_ONLY: Final = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True)
class Step:
    """One node.

    Attributes:
        op: its operator.
        inputs: names of the tensors that it takes.
        outputs: names of those that it makes.
        axes: axes of the first input that it computes across, none of them negative; None where it does not say, which
            means all of them. Operators that compute across no axis leave it empty.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: tuple[int, ...] | None


def first_mixing_step(steps: Iterable[Step], graph_inputs: Iterable[str]) -> int | None:
    """Find the first node that computes across the first axis of something that the samples have a part in.

    Args:
        steps: the nodes, each after those that make what it takes.
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
