"""TensorFlow's operations by what they do: the vocabulary of the tables of rules."""

# Functions of one number that bend.
CURVES = (
    "Elu",
    "Erf",
    "Erfc",
    "Exp",
    "Expm1",
    "LeakyRelu",
    "Log",
    "Log1p",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
)
# Each number of the result is one number of a source, or nothing.
MOVES = (
    "BatchToSpaceND",
    "BroadcastTo",
    "Concat",
    "ConcatV2",
    "DepthToSpace",
    "ExpandDims",
    "ExtractImagePatches",
    "GatherNd",
    "GatherV2",
    "MirrorPad",
    "Pack",
    "Pad",
    "PadV2",
    "Reshape",
    "ReverseV2",
    "Roll",
    "ScatterNd",
    "Slice",
    "SpaceToBatchND",
    "SpaceToDepth",
    "Split",
    "SplitV",
    "Squeeze",
    "StridedSlice",
    "Tile",
    "Transpose",
    "Unpack",
)
# Each number of the result is a sum of numbers of the sources, with fixed weights.
SUMS = (
    "Add",
    "AddN",
    "AddV2",
    "AvgPool",
    "AvgPool3D",
    "BiasAdd",
    "Cumsum",
    "Mean",
    "ResizeBicubic",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "ScaleAndTranslate",
    "Sub",
    "Sum",
)
# Linear in each of two sources.
PRODUCTS = (
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2dNative",
    "Einsum",
    "MatMul",
)
# Each number of the result is the largest of some of the source.
MAXIMA = ("Max", "MaxPool", "MaxPool3D")
# What has a body of its own.
NESTED = (
    "PartitionedCall",
    "StatefulPartitionedCall",
    "If",
    "StatelessIf",
    "Case",
    "StatelessCase",
    "While",
    "StatelessWhile",
)
# Nothing flows back through these, by their meaning.
STOPS = ("StopGradient", "PreventGradient", "ZerosLike", "OnesLike", "Sign", "Floor", "Ceil", "Round", "Rint")
