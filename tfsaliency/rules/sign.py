"""What a trace shows about the signs of tensors."""

from tfsaliency.rules.step import Step

# What is never negative, whatever it reads...
NOT_NEGATIVE = ("Abs", "Exp", "Relu", "Relu6", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Square")
# ... and what is not where nothing that it reads is.
KEEP_SIGN = (
    "Add",
    "AddN",
    "AddV2",
    "AvgPool",
    "AvgPool3D",
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


def never_negative(steps: list[Step]) -> set:
    """The tensors, as ``ref()``, that cannot be negative."""
    found = set()
    for step in steps:
        read = [source for source in step.sources if source.dtype.is_floating]
        if step.type in NOT_NEGATIVE or (step.type in KEEP_SIGN and all(source.ref() in found for source in read)):
            found |= {result.ref() for result in step.results}
    return found
