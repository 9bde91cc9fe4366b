"""TensorFlow's operation types, grouped by what they do. No other file lists operation types by behaviour.

A table of rules maps these groups to rules; a pass over the graph asks whether an operation belongs to a group.
"""

# --- functions of single numbers ---

# One number to one number, not linear.
CURVES = (
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BesselI0",
    "BesselI0e",
    "BesselI1",
    "BesselI1e",
    "Cos",
    "Cosh",
    "Digamma",
    "Elu",
    "Erf",
    "Erfc",
    "Erfinv",
    "Exp",
    "Expm1",
    "LeakyRelu",
    "Lgamma",
    "Log",
    "Log1p",
    "Ndtri",
    "Relu",
    "Relu6",
    "Selu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
)
# Each number of the result is the one of two sources that a condition says.
CHOICES = ("Select", "SelectV2")
# A function of one number that contains one of these is more than a scale and a shift.
BENDS = (*CURVES, "Abs", "Maximum", "Minimum", *CHOICES)
# With a number beside them, they bound the other source.
CLIPS = ("Maximum", "Minimum")
# The result is one over the input, or one over its root.
INVERSES = ("Inv", "Reciprocal", "Rsqrt")
# The rest of the vocabulary of functions that treat every number by itself.
ARITHMETIC = (
    "Add",
    "AddN",
    "AddV2",
    "BiasAdd",
    "Cast",
    "Identity",
    "IdentityN",
    *INVERSES,
    "Mul",
    "Neg",
    "Pow",
    "RealDiv",
    "Square",
    "SquaredDifference",
    "Sub",
)
ELEMENTWISE = (*BENDS, *ARITHMETIC)
# A whole number near each number.
ROUNDINGS = ("Ceil", "Floor", "Rint", "Round")
# Functions of two numbers. With one of them fixed they are activations: a clip, or one over x.
QUOTIENTS = ("DivNoNan", "RealDiv")
BENDS_OF_TWO = ("Atan2", "Xdivy", "Xlogy")
BINARY_CURVES = ("Maximum", "Minimum", *QUOTIENTS, "SquaredDifference", *BENDS_OF_TWO)
# Whether two sources are equal; whether the first is above the second; whether the second is above the first.
EQUALITIES = ("Equal", "NotEqual")
FIRST_IS_ABOVE = ("Greater", "LessEqual")
SECOND_IS_ABOVE = ("GreaterEqual", "Less")
# Of what is true or false.
LOGIC = ("LogicalAnd", "LogicalNot", "LogicalOr")
# Tell small numbers from large ones.
JUDGEMENTS = (*EQUALITIES, *FIRST_IS_ABOVE, *SECOND_IS_ABOVE, "Sign")
# All that treat every number by itself.
NUMBER_BY_NUMBER = (
    *ELEMENTWISE,
    *BENDS_OF_TWO,
    "Bucketize",
    "CheckNumerics",
    *EQUALITIES,
    *FIRST_IS_ABOVE,
    *SECOND_IS_ABOVE,
    "DivNoNan",
    "EnsureShape",
    "FloorDiv",
    "FloorMod",
    "IsFinite",
    "IsNan",
    *LOGIC,
    "MulNoNan",
    "OnesLike",
    "PreventGradient",
    *ROUNDINGS,
    "Sign",
    "StopGradient",
    "ZerosLike",
)
# Of complex numbers.
COMPLEX = ("Angle", "Complex", "ComplexAbs", "Conj", "Imag", "Real")
# Pass positive numbers and suppress negative ones: exactly, clipped, leaky or smooth.
RECTIFIERS = ("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus")
# What turns logits into probabilities at the end of a network.
LINKS = ("Softmax", "LogSoftmax", "Sigmoid")

# --- numbers that move ---

# The same numbers in another shape.
RESHAPES = ("Reshape", "Squeeze", "ExpandDims")
# The same numbers in another shape or order.
REORDERS = (*RESHAPES, "Transpose")
# Puts tensors together, or takes a part of one.
JOINS_AND_PARTS = ("ConcatV2", "GatherV2", "Pack", "Prod", "Slice", "StridedSlice")
# May give pictures an axis of channels.
GIVE_CHANNELS = ("ExpandDims", "Pack", "Reshape", "StridedSlice")
# Puts tensors together.
JOINS = ("Concat", "ConcatV2", "Pack")
# Adds zeros, or another constant.
PADS = ("Pad", "PadV2")
# Each number of the result is one number of the first source.
PARTS = (
    *REORDERS,
    "GatherNd",
    "GatherV2",
    "ReverseSequence",
    "ReverseV2",
    "Roll",
    "Slice",
    "Split",
    "SplitV",
    "StridedSlice",
    "Unpack",
)
# Each number of the result is one number of a source.
REARRANGEMENTS = (*PARTS, *JOINS)
# Reads or moves numbers along some axes, each of which stays as long as it was.
ALONG_AXES = ("Cumprod", "Cumsum", "LogSoftmax", "ReverseV2", "Roll", "Softmax")
# Makes other numbers of all numbers along the last axis, such as frequencies of times; and along the last two.
TRANSFORMS = ("FFT", "IFFT", "IRFFT", "RFFT")
TRANSFORMS_2D = ("FFT2D", "IFFT2D", "IRFFT2D", "RFFT2D")
# Hands on what it gets.
IDENTITIES = ("Identity", "Cast")
# Each number of the result is one number of a source, or zero.
MOVES = (
    *REARRANGEMENTS,
    *PADS,
    "BatchToSpaceND",
    "BroadcastTo",
    "DepthToSpace",
    "ExtractImagePatches",
    "MirrorPad",
    "SpaceToBatchND",
    "SpaceToDepth",
    "Tile",
)
# May stand between an affine operation and the scales and shifts that belong to it: behind it, and in front of it.
MOVES_AFTER_AFFINE = ("BatchToSpaceND", "Squeeze", "Reshape", "Identity")
MOVES_BEFORE_AFFINE = ("Pad", "SpaceToBatchND", "ExpandDims", "Identity")

# --- ids and categories ---

# A whole number for each number.
NUMBERS_TO_IDS = ("Bucketize", "Cast")
# A row of a table for each id.
GATHERS = ("Gather", "GatherV2", "ResourceGather")
# Put ids in a list, all of them or some.
LISTINGS = ("GatherNd", "GatherV2")
# Each of some ids once, and for every id the place where it then is.
DISTINCT = ("Unique",)
# An id for each number, letter or word.
HASHES = (
    "LookupTableFind",
    "LookupTableFindV2",
    "StringToHashBucket",
    "StringToHashBucketFast",
    "StringToHashBucketStrong",
)
# A text for each number or text.
SPELLINGS = (
    "AsString",
    "RegexReplace",
    "StaticRegexReplace",
    "StringJoin",
    "StringLower",
    "StringStrip",
    "StringUpper",
    "Substr",
    "UnicodeTranscode",
)
# Put a list into rows, and a number of their own where a row has none: which sources are the list and that number.
FILLED_UP = {"RaggedTensorToTensor": (1, 2), "SparseFillEmptyRows": (1, 3), "SparseToDense": (2, 3)}
# Make words, letters or groups of words of texts.
SPLITS = ("StringNGrams", "StringSplitV2", "UnicodeEncode")
# How often each id occurs in a row.
BAGS = ("DenseBincount", "RaggedBincount")

# --- sums, products, maxima ---

AVERAGE_POOLS = ("AvgPool", "AvgPool3D")
RESIZES = ("ResizeBicubic", "ResizeBilinear", "ResizeNearestNeighbor")
MAX_POOLS = ("MaxPool", "MaxPoolV2", "MaxPool3D")
# May stand between a gate and the product that it gates: scaled, clipped, moved or enlarged, it is a gate still, and so
# is a power of it, and the mean or the largest of several.
MOVES_OF_GATES = (
    *MOVES,
    *RESIZES,
    *IDENTITIES,
    "EnsureShape",
    "IdentityN",
    *CLIPS,
    "Max",
    "Mean",
    "Min",
    "Mul",
    "RealDiv",
    "Neg",
    "Pow",
    "Sqrt",
    "Square",
)
# The sum of two sources, number by number.
ADDITIONS = ("Add", "AddV2")
# Each number of the result is a sum of numbers of the sources, with fixed weights.
SUMS = (
    *ADDITIONS,
    "AddN",
    *AVERAGE_POOLS,
    "BiasAdd",
    "Cumsum",
    "Mean",
    *RESIZES,
    "ScaleAndTranslate",
    "ScatterNd",
    "SegmentMean",
    "SegmentSum",
    "SparseSegmentMean",
    "SparseSegmentSqrtN",
    "SparseSegmentSum",
    "Sub",
    "Sum",
    "UnsortedSegmentSum",
)
# Each number of the result is made of all numbers along some axes.
REDUCTIONS = ("All", "Any", "ArgMax", "ArgMin", "EuclideanNorm", "Max", "Mean", "Min", "Prod", "Sum")
# Those that make a zero of zeros and a one of ones.
OF_EQUALS = ("All", "Any", "Cumprod", "Max", "Mean", "Min", "Prod")
# Zero for zeros, and for some also elsewhere: how large the numbers along some axes are.
SIZES = ("Abs", "EuclideanNorm", "Max", "Mean", "Pow", "Sqrt", "Square", "Sum")
# Each number of the result is made of the numbers before it.
RUNNING = ("Cumprod", "Cumsum")
# Each number of the result is the largest, or smallest, of some numbers of the source.
MAXIMA = ("Max", *MAX_POOLS, "SegmentMax", "UnsortedSegmentMax")
MINIMA = ("Min", "SegmentMin", "UnsortedSegmentMin")
CONVOLUTIONS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
TRANSPOSED_CONVOLUTIONS = ("Conv2DBackpropInput", "Conv3DBackpropInputV2")
MATRIX_PRODUCTS = ("MatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")
# Linear in each of two sources.
PRODUCTS = (*CONVOLUTIONS, *MATRIX_PRODUCTS)
# What may follow the pooling of a network for a class activation map in the sense of its paper: one dense layer, and
# the choice of a class.
DENSE_HEAD = (
    "MatMul",
    "BiasAdd",
    "AddV2",
    "Sub",
    "Mul",
    "GatherV2",
    "GatherNd",
    "Reshape",
    "Squeeze",
    *IDENTITIES,
    "IdentityN",
)

# --- signs ---

# Never negative, whatever the sources are.
NOT_NEGATIVE = ("Abs", "Exp", "Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square")
# Not negative where no source is.
KEEP_SIGN = (
    "Add",
    "AddN",
    "AddV2",
    *AVERAGE_POOLS,
    "BatchToSpaceND",
    "ConcatV2",
    "ExpandDims",
    "Identity",
    "Max",
    "MaxPool",
    "MaxPool3D",
    "Mean",
    "Pad",
    "Reshape",
    "SpaceToBatchND",
    "Squeeze",
    "Sum",
    "Transpose",
)

# --- chance ---

# ``log sum exp (z - c)``, from its end on.
LOG_OF_SUM = ("Log", "Sum", "Exp", "Sub")
# The beginning of the type of every operation that draws random numbers, and the types that begin otherwise.
DRAWS = ("Random", "StatefulRandom", "StatefulUniform", "StatefulStandardNormal", "StatefulTruncatedNormal")
OTHER_DRAWS = (
    "Multinomial",
    "RngReadAndSkip",
    "ParameterizedTruncatedNormal",
    "TruncatedNormal",
    "StatefulRandomBinomial",
)
# Draw the same numbers for the same seed.
SEEDED_DRAWS = "Stateless"

# --- what rules cannot follow ---

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
CONDITIONS = ("If", "StatelessIf", "Case", "StatelessCase")
LOOPS = ("While", "StatelessWhile")
PYTHON_CODE = ("EagerPyFunc", "PyFunc", "PyFuncStateless")
# Read from the lists that a loop writes to.
LIST_READERS = ("TensorListConcatV2", "TensorListGather", "TensorListGetItem", "TensorListStack")
# Operations with a body of their own.
NESTED = (*CALLS, *CONDITIONS, *LOOPS)
# Nothing flows back through these, by their meaning.
STOPS = ("StopGradient", "PreventGradient", "ZerosLike", "OnesLike", "Sign", *ROUNDINGS)
# Make a tensor of a given shape, without reading another.
FILLS = ("Fill",)
# Come and go with gradients and functions.
COMPUTE_NOTHING = ("Const", "Identity", "NoOp", "ReadVariableOp", "ZerosLike", *FILLS, "Shape")
# Read the shape of a tensor and none of its numbers.
SHAPE_READERS = ("Shape", "Size", "Rank")
# One number in the shape of another tensor.
OF_ONE_NUMBER = ("OnesLike", "ZerosLike")
