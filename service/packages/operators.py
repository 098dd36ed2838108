"""Which operators the graphs of a package may hold: those that inference of GANs needs, and no others.

A list of what is allowed and not of what is forbidden, since every operator is code of ONNX Runtime that a stranger's
file could reach. It covers MLPs, convolutional networks and transformers, quantised ones too. Not on it: control flow
(which hides graphs in graphs), sequences and strings, and whatever draws noise, which is named for the sake of the
message: all noise of a package is an input, else a seed would not say which sample it means.
"""

from typing import Final

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
