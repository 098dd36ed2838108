"""The features inside an exported graph: what its last layer is given.

A package's encoder puts out latents or codes; what it has learnt to see is measured one layer earlier. The graph is cut
there instead of being written twice, so the features that are measured are those inside the graph that is served.
"""

import onnx

from training.errors import ExportError
from training.packaging.graphs import BATCH_NAME

LAST_LAYERS = {"Gemm", "MatMul"}


def before_last_layer(graph: bytes, name: str) -> bytes:
    """Cut a graph before its last layer.

    Args:
        graph: serialized, with one output, which a linear layer computes.
        name: what to call the features.

    Returns:
        A serialized graph of the same inputs whose one output are the features, [B, F].

    Raises:
        ExportError: if the output is no linear layer's.
    """
    model = onnx.load_model_from_string(graph)
    *before, last = model.graph.node
    if last.op_type not in LAST_LAYERS or last.output[0] != model.graph.output[0].name:
        raise ExportError(f"the graph ends in {last.op_type}, not in the linear layer that features go into")
    del model.graph.node[len(before) :]
    model.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], [name]))
    del model.graph.output[:]
    shape = [BATCH_NAME, None]
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    unused = set(last.input[1:])
    kept = [weights for weights in model.graph.initializer if weights.name not in unused]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    cut: bytes = model.SerializeToString(deterministic=True)
    return cut
