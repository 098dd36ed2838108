"""Whether a loaded graph's tensors are the ones that its package states.

The manifest says what a graph takes and gives, and every limit and buffer is made from that; what the backend found in
the graph's own bytes must be the same, and so must what each run answers where the graph left a size open. Each backend
translates what it found into these words, and none decides.

Shapes: B batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.graphs import TensorSpec
from service.engine.runners import Outputs
from service.errors import GraphRefused, SessionFailed


@dataclass(frozen=True, slots=True)
class FoundTensor:
    """One input or output as a backend found it.

    Attributes:
        name: in the graph.
        datatype: a `Datatype`, or the backend's own word where it is none.
        shape: an integer for each size that the graph fixes, anything else for one that it leaves open.
    """

    name: str
    datatype: str
    shape: Sequence[object]


def hold_to_stated(stated: Sequence[TensorSpec], found: Sequence[FoundTensor], what: str) -> None:
    """Refuse a graph whose tensors are not the stated ones; sizes that it leaves open are checked on each run.

    Args:
        stated: by the package, in order.
        found: in the graph, in order.
        what: the tensors, for messages, as in `generator inputs`.

    Raises:
        GraphRefused: they differ in number, name, type or shape, or the graph fixes the batch.
    """
    names = [tensor.name for tensor in found]
    stated_names = [tensor.name for tensor in stated]
    if names != stated_names:
        raise GraphRefused(f"{what} are {names}; stated are {stated_names}")
    for tensor, there in zip(stated, found, strict=True):
        if there.datatype != tensor.datatype:
            raise GraphRefused(f"{what}: {tensor.name} is {there.datatype}; stated is {tensor.datatype}")
        if len(there.shape) != len(tensor.shape):
            raise GraphRefused(f"{what}: {tensor.name} has shape {there.shape}; stated is {list(tensor.shape)}")
        batch, *sizes = there.shape
        if isinstance(batch, int):
            raise GraphRefused(f"{what}: {tensor.name} has a fixed batch of {batch}")
        if any(size != fixed for size, fixed in zip(sizes, tensor.shape[1:], strict=True) if isinstance(size, int)):
            raise GraphRefused(f"{what}: {tensor.name} has shape {there.shape}; stated is {list(tensor.shape)}")


def check_answered(graph: str, stated: Sequence[TensorSpec], batch: int, results: Outputs) -> None:
    """Refuse what a run answered in another shape than the stated one.

    Args:
        graph: whose run it was, for messages.
        stated: its outputs.
        batch: B.
        results: output name → array, for some of the outputs.

    Raises:
        SessionFailed: a shape is not [B, …] as stated.
    """
    for tensor in stated:
        array = results.get(tensor.name)
        if array is not None and array.shape != (batch, *tensor.shape[1:]):
            raise SessionFailed(f"the {graph}'s output {tensor.name} has shape {array.shape} for a batch of {batch}")
