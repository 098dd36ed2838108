"""A graph's tensors by role, which is how the engine looks them up.

The engine trusts what it is told of a graph: the package's reader has checked roles, types and shapes, and each backend
checks that the graph really has these tensors (`backends/base.py`).
"""

from collections.abc import Mapping, Sequence

from service.engine.model_spec import GraphSpec, Role, TensorSpec

Tensors = Mapping[Role, TensorSpec]


def tensors_by_role(spec: GraphSpec) -> tuple[Tensors, Tensors]:
    """Inputs and outputs by role; every role stands at most once on either side."""
    return _by_role(spec.inputs), _by_role(spec.outputs)


def _by_role(tensors: Sequence[TensorSpec]) -> Tensors:
    return {tensor.role: tensor for tensor in tensors}
