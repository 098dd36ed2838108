"""Graphs of item generators: reads their scores, and draws among the items that a user has not taken.

A generator of items is served as argmax(scores + noise). Without noise the argument of the argmax is the scores, so
they are read from the graph that is served. Since the latents are an input, an item is excluded by a very low latent:
the others are drawn by the generator's law, conditioned on the exclusion.

Shapes: N samples, U users, I items.
"""

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from training.data.image_data import Labels
from training.data.interaction_data import Relevance
from training.errors import ExportError
from training.export.graphs.interface import CONDITION, LATENT
from training.export.graphs.runtime import Arrays, Graph

DRAW: Final = "ArgMax"  # the operator that ends a generator of items
NO_CHANCE: Final = np.float32(-1e9)  # below any score plus noise, and finite, so that it can be added


def scores(model: bytes, users: int, items: int) -> NDArray[np.float32]:
    """Read the scores of all items for all users from a generator's graph.

    Args:
        users: U.
        items: I.

    Returns:
        [U, I] unnormalised log-probabilities.

    Raises:
        ExportError: if the graph does not end in one draw.
    """
    served = onnx.load_model_from_string(model)
    draws = [node for node in served.graph.node if node.op_type == DRAW]
    if len(draws) != 1:
        raise ExportError(f"a generator of items ends in one {DRAW}; this graph has {len(draws)}")
    noisy = draws[0].input[0]
    served.graph.output.append(onnx.helper.make_tensor_value_info(noisy, onnx.TensorProto.FLOAT, ["batch", items]))
    told: Arrays = {LATENT: np.zeros((users, items), np.float32), CONDITION: np.arange(users)}
    return Graph(served.SerializeToString()).output(noisy, told).astype(np.float32)


def among_the_unknown(latents: NDArray[np.generic], users: Labels, known: Relevance) -> NDArray[np.float32]:
    """Change latents so that no item which the user is known to have taken is drawn.

    Args:
        latents: [N, I], Gumbel.
        users: [N].
        known: [U, I].

    Returns:
        [N, I].
    """
    return np.where(known[users], NO_CHANCE, latents).astype(np.float32)
