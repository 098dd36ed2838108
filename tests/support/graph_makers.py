"""Small graphs with one property each, which sessions or their verification must accept or refuse.

Shapes: B batch.
"""

import numpy as np

from service.engine.model_spec import Array, GraphSpec, TensorSpec, Tolerance
from tests.support.toy_models import GraphWriter

WIDTH = 3
INPUTS = (TensorSpec("latent", "FP32", (-1, WIDTH), "latent"),)
OUTPUTS = (TensorSpec("sample", "FP32", (-1, WIDTH), "sample"),)
GOLDEN_LATENT = np.linspace(-1, 1, 5 * WIDTH, dtype=np.float32).reshape(5, WIDTH)
TOLERANCE = Tolerance(provider="CPUExecutionProvider", precision="fp32", sample=1e-4, pixels=1, logit=1e-4)


class Maker(GraphWriter):
    """A graph from `latent` [B, 3] to `sample` [B, 3]."""

    def __init__(self) -> None:
        super().__init__(np.random.default_rng(0))

    def number(self, value: float) -> str:
        return self.constant(np.asarray(value, dtype=np.float32))

    def batch_size(self) -> str:
        """B as a float."""
        shape = self.node("Shape", "latent", start=0, end=1)
        return self.node("Cast", shape, to=1)

    def spec(self, golden_sample: Array) -> GraphSpec:
        golden: dict[str, Array] = {"latent": GOLDEN_LATENT, "sample": golden_sample}
        return GraphSpec(self.model(INPUTS, OUTPUTS), INPUTS, OUTPUTS, golden)


def identity() -> GraphSpec:
    """Each sample is its latent."""
    maker = Maker()
    maker.node("Identity", "latent", output="sample")
    return maker.spec(GOLDEN_LATENT)


def transposed() -> GraphSpec:
    """Each sample is its latent, through a transposed convolution that changes nothing."""
    maker = Maker()
    pixels = maker.node("Reshape", "latent", maker.constant(np.array([0, WIDTH, 1, 1])))
    kernel = maker.constant(np.eye(WIDTH, dtype=np.float32).reshape(WIDTH, WIDTH, 1, 1))
    maker.node("Flatten", maker.node("ConvTranspose", pixels, kernel), output="sample")
    return maker.spec(GOLDEN_LATENT)


def shifted_from(batch: int, shift: float) -> GraphSpec:
    """Each sample is its latent; in batches of at least `batch`, plus `shift`."""
    maker = Maker()
    is_large = maker.node("GreaterOrEqual", maker.batch_size(), maker.number(batch))
    maker.node("Add", "latent", maker.node("Where", is_large, maker.number(shift), maker.number(0)), output="sample")
    return maker.spec(GOLDEN_LATENT)


def shifted_by_slot(shift: float) -> GraphSpec:
    """Each sample is its latent plus `shift` times its index in the batch."""
    maker = Maker()
    batch = maker.node("Squeeze", maker.node("Shape", "latent", start=0, end=1))
    integers = (maker.constant(np.asarray(value)) for value in (0, 1))
    zero, one = integers
    slots = maker.node("Cast", maker.node("Range", zero, batch, one), to=1)
    column = maker.node("Unsqueeze", slots, maker.constant(np.array([1])))
    maker.node("Add", "latent", maker.node("Mul", column, maker.number(shift)), output="sample")
    return maker.spec(GOLDEN_LATENT)


def mixed_with_mates(share: float) -> GraphSpec:
    """Each sample is its latent plus a share of the difference to its batch's mean."""
    maker = Maker()
    mean = maker.node("ReduceMean", "latent", maker.constant(np.array([0])), keepdims=1)
    away = maker.node("Sub", mean, "latent")
    maker.node("Add", "latent", maker.node("Mul", away, maker.number(share)), output="sample")
    return maker.spec(GOLDEN_LATENT)


def noisy(scale: float) -> GraphSpec:
    """Each sample is its latent plus noise drawn inside the graph."""
    maker = Maker()
    noise = maker.node("Mul", maker.node("RandomUniformLike", "latent"), maker.number(scale))
    maker.node("Add", "latent", noise, output="sample")
    return maker.spec(GOLDEN_LATENT)


def slow_above_one(side: int) -> GraphSpec:
    """Each sample is its latent, after a product of two matrices of 1 + side · max(first coordinate − 1, 0) rows.

    For the golden rows the matrices have one element.
    """
    maker = Maker()
    first = maker.node("Gather", "latent", maker.constant(np.array(0)), axis=1)
    above = maker.node("ReduceMax", maker.node("Relu", maker.node("Sub", first, maker.number(1))), keepdims=0)
    sized = maker.node("Add", maker.node("Mul", above, maker.number(side)), maker.number(1))
    rows = maker.node("Reshape", maker.node("Cast", sized, to=7), maker.constant(np.array([1])))
    shape = maker.node("Concat", rows, rows, axis=0)
    matrix = maker.node("ConstantOfShape", shape)  # of zeros
    product = maker.node("ReduceSum", maker.node("MatMul", matrix, matrix), keepdims=0)
    maker.node("Add", "latent", product, output="sample")
    return maker.spec(GOLDEN_LATENT)


def not_a_number() -> GraphSpec:
    """Every sample is NaN."""
    maker = Maker()
    maker.node("Mul", "latent", maker.number(np.nan), output="sample")
    return maker.spec(GOLDEN_LATENT)
