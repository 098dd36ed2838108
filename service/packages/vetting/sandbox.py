"""The first run of a graph, in the child that vets it: whatever it breaks, it breaks there.

A graph that reads well may still crash ONNX Runtime, exhaust memory or never end. So it is loaded and run once where
that costs nothing, with the session that the service itself would use. It is fed zeros, which are valid (class 0, id
0), and then, where it takes floating numbers, such as priors and data have. Its answers must be finite; whether they
are the right ones is not judged here, since the engine holds it to the golden vectors.
"""

import resource
from collections.abc import Sequence
from typing import Final

import numpy as np

from service.engine.backends.onnxruntime import Session
from service.engine.model_spec import Feeds, GraphSpec, Outputs, TensorSpec
from service.errors import GraphRefused, SessionFailed

# In a batch of one, an example batch that the exporter left in the graph could hide.
BATCH = 2
# Nearly all of a standard normal prior, and beyond the range of a uniform one or of pixels.
LARGEST = 3.0
MAX_REASON = 300  # characters of the library's own words


def smoke_run(model: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Load a graph and run it, on the CPU and on one thread.

    Args:
        model: the serialized graph.
        inputs: its stated inputs.
        outputs: its stated outputs.

    Raises:
        GraphRefused: ONNX Runtime cannot load or run it, or it answers other shapes than the stated ones, or numbers
            that are not finite.
        MemoryError: it needs more than there is.
    """
    spec = GraphSpec(model, tuple(inputs), tuple(outputs), golden={})
    try:
        session = Session("canary run", spec, device="cpu", threads=1)
        for feeds, what in ((_zeros(inputs), "zeros"), (_ordinary(inputs), f"numbers between ±{LARGEST:g}")):
            _hold_finite(session.compute(feeds, [tensor.name for tensor in outputs]), what)
    except (GraphRefused, SessionFailed) as error:
        reason = " ".join(f"{error}: {error.__cause__}".split()) if isinstance(error, SessionFailed) else str(error)
        if "bad_alloc" in reason or "allocat" in reason:  # ONNX Runtime words a lack of memory as a fault of the graph
            raise MemoryError from error
        raise GraphRefused(reason[:MAX_REASON]) from error


def _zeros(inputs: Sequence[TensorSpec]) -> Feeds:
    return {tensor.name: np.zeros((BATCH, *tensor.shape[1:]), tensor.dtype) for tensor in inputs}


def _ordinary(inputs: Sequence[TensorSpec]) -> Feeds:
    """Numbers within ±`LARGEST` for floating inputs, zeros for ids; without NumPy's generators, which open files."""
    feeds = _zeros(inputs)
    for values in feeds.values():
        if values.dtype.kind == "f":
            values[:] = LARGEST * np.sin(np.arange(1, values.size + 1)).reshape(values.shape)
    return feeds


def _hold_finite(answers: Outputs, fed: str) -> None:
    for name, values in answers.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise GraphRefused(f"canary run: fed with {fed}, it answers {name} with numbers that are not finite")


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Give up whatever this program does not need; it cannot be taken back."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open; nothing else opens
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


RANDOM_OPERATORS: Final = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
OPERATOR_FAMILIES: Final = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh Ceil Clip Cos Cosh Div Equal Erf Exp Floor Greater GreaterOrEqual",
    "IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sinh Sqrt Sub Sum",
    "Tan Where Xor",
    # activations
    "Celu Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu Shrink Sigmoid Softmax",
    "Softplus Softsign Swish Tanh ThresholdedRelu",
    # what has weights
    "Attention Conv ConvTranspose DeformConv Einsum Gemm MatMul RotaryEmbedding",
    "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization",
    "MeanVarianceNormalization RMSNormalization",
    # pooling and reduction
    "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool",
    "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd",
    "ReduceSum ReduceSumSquare TopK",
    # moving numbers about, and resampling
    "Cast CastLike Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity",
    "OneHot Pad Range Reshape ScatterElements ScatterND Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze",
    "AffineGrid CenterCropPad DepthToSpace GridSample Resize SpaceToDepth",
    # integer arithmetic
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear",
)
OPERATORS: Final = frozenset(name for family in OPERATOR_FAMILIES for name in family.split())
